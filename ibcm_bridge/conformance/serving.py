"""`ibcm-bridge conformance serve`: the site systems for the proxy, until a signal stops them."""

from __future__ import annotations

import re
import sys
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from importlib.resources import files
from ipaddress import IPv4Address
from pathlib import Path
from types import MappingProxyType

import yaml

from ibcm_bridge.conformance.evidence import RecordsServer
from ibcm_bridge.conformance.kit import make_kit, now, write_addresses
from ibcm_bridge.conformance.own_names import site_names, stand_ins, write_certificates
from ibcm_bridge.conformance.subject_file import KIT_LIMITS, SCHEMA
from ibcm_bridge.lab.bridge.process import (
    Listen,
    create_bindings,
    with_listen_address,
    with_site_systems,
)
from ibcm_bridge.lab.cases.policy import demo_policy
from ibcm_bridge.lab.command_line import pasted
from ibcm_bridge.lab.commands.signals import end_on_signals
from ibcm_bridge.lab.errors import LabError, error_message
from ibcm_bridge.lab.namespaces import Namespace
from ibcm_bridge.lab.site_systems.server_thread import ServerThread
from ibcm_bridge.lab.site_systems.site_systems import SiteSystems
from ibcm_bridge.lab.site_systems.stand_ins import STAND_INS
from ibcm_bridge.lab.site_systems.user_authentication import AnyUserOfAConnection
from ibcm_bridge.os_errors import listening_at
from ibcm_bridge.policy.addresses import address_text

RECORDS_PORT = 9439
"""Below the ports of the site systems (`STAND_INS`)."""

CHECKED = (
    *("management-point", "distribution-point", "software-update-point"),
    *("fallback-status-point", "application-catalog-website-point", "policy-module"),
)
"""The site systems that a proxy publishes for the checks. The others are for `POLICY`."""

POLICY = "bridge.yaml"
"""The file in the kit with a policy of ibcm-bridge itself."""


def conformance_serve(
    address: IPv4Address, folder: Path, authorities: Path | None, names: Mapping[str, str]
) -> int:
    """Serve until a signal; return the exit status. `names`: those of the proxy, by role."""
    try:
        with end_on_signals(), serving(address, folder, authorities, names=names) as site:
            _print(site, folder, names)
            threading.Event().wait()
    except KeyboardInterrupt:
        return 0
    except (LabError, OSError) as error:
        why = error_message(error, folder, "choose another folder: --kit DIR")
        print(f"ibcm-bridge conformance: {why}", file=sys.stderr)
        return 1
    return 0


def kit_policy() -> str:
    """Return `quick_policy` with a first publication whose clients resume TLS sessions."""
    return _first_clients(quick_policy(), "resumption: allow")


def _first_clients(policy: str, line: str) -> str:
    """Add a line to `clients` of the first publication."""
    clients = re.compile(r"^    clients:[^\n]*\n(?=      trust:|      ca_names:)", re.MULTILINE)
    return clients.sub(rf"\g<0>      {line}\n", policy, count=1)


def quick_policy() -> str:
    """Return the demo's policy with short time limits, and names of authorities.

    With these limits, checks of slowness are quick.
    """
    limits = {f"{name}_seconds": float(seconds) for name, seconds in KIT_LIMITS.items()}
    policy = _first_clients(demo_policy(), "ca_names: send")
    return policy + yaml.safe_dump({"limits": limits})


@contextmanager
def serving(
    address: IPv4Address,
    folder: Path,
    authorities: Path | None = None,
    *,
    names: Mapping[str, str] = MappingProxyType({}),
    fixed_ports: bool = True,
) -> Iterator[SiteSystems]:
    """Run the site systems and the server with their records. LabError, OSError."""
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    kit, pki = make_kit(folder, authorities, now())
    here = Namespace(address=str(address))
    # `leaks`: replies about one site have intranet names, which some checks ask for.
    write_certificates(pki, folder / "pki", names)
    with SiteSystems(
        pki,
        stand_ins=stand_ins(names),
        names=site_names(names),
        leaks=True,
        user_authentication=AnyUserOfAConnection,
        namespace=here,
        fixed_ports=fixed_ports,
        unfinished=True,
    ) as site:
        at = (str(address), RECORDS_PORT if fixed_ports else 0)
        with listening_at(at):
            server = RecordsServer(at, kit, site)
        with ServerThread(server):
            if names:
                # It has the kit's names, which differ from those in replies.
                (folder / POLICY).unlink(missing_ok=True)
            else:
                policy = with_site_systems(kit_policy(), site)
                own = with_listen_address(policy, Listen(IPv4Address("127.0.0.1")))
                create_bindings(own, folder)
                (folder / POLICY).write_text(own, "utf-8")
            schema = files("ibcm_bridge.config.schema").joinpath(SCHEMA).read_bytes()
            (folder / SCHEMA).write_bytes(schema)
            control = (str(address), server.server_address[1])
            write_addresses(folder, control, site.addresses, names)
            yield site


def _print(site: SiteSystems, folder: Path, names: Mapping[str, str]) -> None:
    own = "".join(
        f"  {f'{name}.pem, .key':34} server certificate for {name}\n"
        for name in sorted({*names.values()})
        if (folder / "pki" / f"{name}.pem").exists()
    )
    policy = f"policy of ibcm-bridge: {folder / POLICY}\n" if not names else ""
    print("site systems:")
    for role in CHECKED:
        address, name = address_text(site.addresses[role]), STAND_INS[role].names[0]
        print(f"  {role:34} {address:22} {name}")
    print(f"""\
files for the proxy, in {folder / "pki"}:
  bridge-server.pem, .key            server certificate for bridge.internet.example
  bridge-client.pem, .key            client certificate for the site systems
  root.pem, issuing.pem, *.crl       authorities of the clients and site systems, and their CRLs
{own}{policy}\
Next: {pasted(["ibcm-bridge", "conformance", "init", "SUBJECT.yaml", "--kit", folder])}
Ctrl-C stops the site systems.""")
    sys.stdout.flush()
