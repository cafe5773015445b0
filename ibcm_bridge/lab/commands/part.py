"""`ibcm-bridge lab part`: one part of a lab whose parts are apart, as in deploy/compose.yaml.

1. `site-systems` has the stand-ins, and the lab's runtime folder, which all parts share: it writes
   the certificates, the policy that `ibcm-bridge run` reads, and the state for `lab client`.
2. `engine` is the stand-in for ClamAV's daemon, `microsoft-update` that for Microsoft Update.
3. A part listens on the address it is given, in a container or namespace of its own.
"""

from __future__ import annotations

import datetime
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from ipaddress import IPv4Address

from ibcm_bridge.lab.bridge.process import Listen, leading_to, listening
from ibcm_bridge.lab.cases.case import credentials
from ibcm_bridge.lab.cases.policy import demo_policy, write_more
from ibcm_bridge.lab.commands.signals import end_on_signals
from ibcm_bridge.lab.errors import LabError, in_one_sentence
from ibcm_bridge.lab.namespaces import Namespace
from ibcm_bridge.lab.page.request_preview import LabFiles
from ibcm_bridge.lab.perimeter.firewall import PUBLISHED_PORTS
from ibcm_bridge.lab.perimeter.runtime import OTHER_FOLDER, Runtime, runtime_folder, runtime_parent
from ibcm_bridge.lab.pki.authorities import LabPki
from ibcm_bridge.lab.simulated.running_lab import LabAddresses, RunningLab
from ibcm_bridge.lab.site_systems.clamd import ScanDaemon
from ibcm_bridge.lab.site_systems.microsoft_update import PORT, MicrosoftUpdate
from ibcm_bridge.lab.site_systems.site_systems import SiteSystems
from ibcm_bridge.policy.addresses import address_text

ENGINE_PORT = 3310
"""As ClamAV's daemon has it (clamd.conf(5))."""


@dataclass(frozen=True)
class OtherParts:
    """Where the other parts are."""

    bridge: IPv4Address
    engine: IPv4Address
    microsoft_update: IPv4Address


def lab_part(name: str, address: IPv4Address, others: OtherParts | None) -> int:
    """Run it until it is told to end; the exit status."""
    try:
        with end_on_signals(), _part(name, address, others) as what:
            print(f"ibcm-bridge lab: {what}", file=sys.stderr, flush=True)
            threading.Event().wait()
    except KeyboardInterrupt:
        return 0
    except (LabError, OSError) as error:
        why = in_one_sentence(error, runtime_parent(), OTHER_FOLDER)
        print(f"ibcm-bridge lab: {why}", file=sys.stderr)
        return 1
    return 0


@contextmanager
def _part(name: str, address: IPv4Address, others: OtherParts | None) -> Iterator[str]:
    here = Namespace(address=str(address))
    if not here.own:
        raise LabError("a part listens in a container of its own; on one machine: lab up")
    match name:
        case "engine":
            with ScanDaemon((here.address, ENGINE_PORT)) as engine:
                at = address_text((here.address, engine.address[1]))
                yield f"the malware engine listens on {at}"
        case "microsoft-update":
            with MicrosoftUpdate(here):
                yield f"Microsoft Update's stand-in listens on {address_text((here.address, PORT))}"
        case _:
            if others is None:
                raise LabError("site-systems wants --bridge, --engine and --microsoft-update")
            with _site_systems(here, others) as folder:
                yield f"the site systems listen on {here.address}; the lab's files are in {folder}"


@contextmanager
def _site_systems(here: Namespace, others: OtherParts) -> Iterator[str]:
    pki = LabPki.make(now=datetime.datetime.now(datetime.UTC))
    clients = credentials(pki)
    with Runtime(runtime_folder()) as runtime:
        runtime.files.mkdir(mode=0o700)
        with SiteSystems(pki, leaks=True, namespace=here) as site:
            pki.write(runtime.files / "pki")
            write_more(pki, runtime.files / "pki")
            LabFiles(runtime.files).write(clients)
            listen = Listen(others.bridge, PUBLISHED_PORTS)
            update = (str(others.microsoft_update), PORT)
            lab = RunningLab.at(LabAddresses(listen.addresses, site.addresses, update), pki)
            runtime.write(lab.written(runtime.files))
            policy = leading_to(demo_policy((str(others.engine), ENGINE_PORT)), site)
            # The last to be there: whoever waits for it finds the rest.
            new = runtime.files / "bridge.yaml.new"
            new.write_text(listening(policy, listen), "utf-8")
            new.rename(runtime.files / "bridge.yaml")
            yield str(runtime.files)
