"""`ibcm-bridge lab part`: one part of a lab in several containers, as in deploy/compose.yaml.

1. `site-systems` runs the simulated site systems. It writes the certificates, the policy for
   `ibcm-bridge run`, and the state for `lab client` to the runtime folder, which all parts share.
2. `engine` is the simulated clamd, `microsoft-update` the simulated Microsoft Update.
3. A part listens on the given address, in a separate container or network namespace.
"""

from __future__ import annotations

import datetime
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from ipaddress import IPv4Address

from ibcm_bridge.lab.bridge.process import (
    Listen,
    create_bindings,
    with_listen_address,
    with_site_systems,
)
from ibcm_bridge.lab.cases.case import credentials
from ibcm_bridge.lab.cases.policy import demo_policy, write_more
from ibcm_bridge.lab.commands.signals import end_on_signals
from ibcm_bridge.lab.domain.files import DomainFiles, applied
from ibcm_bridge.lab.errors import LabError, error_message
from ibcm_bridge.lab.namespaces import Namespace
from ibcm_bridge.lab.page.request_preview import LabFiles
from ibcm_bridge.lab.perimeter.firewall import PUBLISHED_PORTS
from ibcm_bridge.lab.perimeter.runtime import OTHER_FOLDER, Runtime, runtime_folder, runtime_parent
from ibcm_bridge.lab.pki.authorities import LabPki
from ibcm_bridge.lab.simulated.running_lab import DOMAIN, LabAddresses, RunningLab
from ibcm_bridge.lab.site_systems.clamd import ScanDaemon
from ibcm_bridge.lab.site_systems.microsoft_update import PORT, MicrosoftUpdate
from ibcm_bridge.lab.site_systems.site_systems import SiteSystems
from ibcm_bridge.policy.addresses import address_text

ENGINE_PORT = 3310
"""The default of clamd (clamd.conf(5))."""

OPERATIONS = "operations: {listen: 127.0.0.1:9100}\n"
"""For the health check of the bridge's container."""


@dataclass(frozen=True)
class OtherParts:
    """The addresses of the other parts."""

    bridge: IPv4Address
    engine: IPv4Address
    microsoft_update: IPv4Address


def lab_part(name: str, address: IPv4Address, others: OtherParts | None) -> int:
    """Run a part until a signal stops it; return the exit status."""
    try:
        with end_on_signals(), _part(name, address, others) as message:
            print(f"ibcm-bridge lab: {message}", file=sys.stderr, flush=True)
            threading.Event().wait()
    except KeyboardInterrupt:
        return 0
    except (LabError, OSError) as error:
        why = error_message(error, runtime_parent(), OTHER_FOLDER)
        print(f"ibcm-bridge lab: {why}", file=sys.stderr)
        return 1
    return 0


@contextmanager
def _part(name: str, address: IPv4Address, others: OtherParts | None) -> Iterator[str]:
    here = Namespace(address=str(address))
    if not here.own:
        raise LabError("a part needs its own container or namespace; on one machine, use: lab up")
    match name:
        case "engine":
            with ScanDaemon((here.address, ENGINE_PORT)) as engine:
                at = address_text((here.address, engine.address[1]))
                yield f"the malware engine listens on {at}"
        case "microsoft-update":
            with MicrosoftUpdate(here):
                yield f"simulated Microsoft Update listens on {address_text((here.address, PORT))}"
        case _:
            if others is None:
                raise LabError("site-systems needs --bridge, --engine and --microsoft-update")
            with _site_systems(here, others) as folder:
                yield f"the site systems listen on {here.address}; the lab's files are in {folder}"


@contextmanager
def _site_systems(here: Namespace, others: OtherParts) -> Iterator[str]:
    pki = LabPki.make(now=datetime.datetime.now(datetime.UTC))
    clients = credentials(pki)
    with Runtime(runtime_folder()) as runtime:
        runtime.files.mkdir(mode=0o700)
        users = DomainFiles(runtime.files / DOMAIN).environment
        with applied(users), SiteSystems(pki, leaks=True, namespace=here) as site:
            pki.write(runtime.files / "pki")
            write_more(pki, runtime.files / "pki")
            LabFiles(runtime.files).write(clients)
            listen = Listen(others.bridge, PUBLISHED_PORTS)
            update = (str(others.microsoft_update), PORT)
            lab = RunningLab.at(LabAddresses(listen.addresses, site.addresses, update), pki)
            runtime.write(lab.state(runtime.files))
            policy = with_site_systems(demo_policy((str(others.engine), ENGINE_PORT)), site)
            create_bindings(policy, runtime.files)
            # Written last: the other parts wait for it.
            new = runtime.files / "bridge.yaml.new"
            new.write_text(with_listen_address(policy, listen) + OPERATIONS, "utf-8")
            new.rename(runtime.files / "bridge.yaml")
            yield str(runtime.files)
