"""What the demonstration publishes beside the shipped policy.

Users' publications, an application catalog, NDES, a second name for the site systems, tunnels to
compare them with, and two publications whose site system is not who it should be: one has another's
name, one another authority.
"""

from __future__ import annotations

import textwrap
from pathlib import Path
from typing import Any

import yaml

from ibcm_bridge.lab.cases.case import Destination
from ibcm_bridge.lab.pki.authorities import LabPki
from ibcm_bridge.lab.pki.files import shipped_policy
from ibcm_bridge.lab.protocol.reply_documents import PUBLISHED
from ibcm_bridge.lab.site_systems.published import TLS_PORT, TUNNELED
from ibcm_bridge.lab.site_systems.stand_ins import STAND_INS
from ibcm_bridge.policy.addresses import address_text

USERS = Destination("users.internet.example")
CATALOG = Destination("catalog.internet.example")
SCEP = Destination("scep.internet.example")
"""NDES bridged; the shipped policy tunnels it."""

SECOND = Destination(PUBLISHED[1])
"""The same site systems once more: of names of the Internet, a client picks one (CLIENT-PICK)."""

WRONG_NAME = Destination("wrong-name.internet.example")
FORGED = Destination("forged.internet.example")
BRIDGED_NAMES = tuple(way.name for way in (USERS, CATALOG, SCEP, SECOND, WRONG_NAME, FORGED))
"""Each needs a certificate, in the files pki/NAME.pem and pki/NAME.key."""

UPDATE_TUNNEL = Destination("sup-tunnel.internet.example")
CATALOG_TUNNEL = Destination("catalog-tunnel.internet.example")
SCEP_TUNNEL = Destination("ndes.internet.example")
WRONG_NAME_TUNNEL = Destination("mp-wrong-tunnel.internet.example")
FORGED_TUNNEL = Destination("mp-forged-tunnel.internet.example")

_SHIPPED_TUNNELS = ("enroll.internet.example", SCEP_TUNNEL.name)
TUNNEL_NAMES = frozenset(
    (
        *TUNNELED.values(),
        *_SHIPPED_TUNNELS,
        *(way.name for way in (UPDATE_TUNNEL, CATALOG_TUNNEL, WRONG_NAME_TUNNEL, FORGED_TUNNEL)),
    )
)

_TRUST = {
    "anchors": ["pki/root.pem"],
    "issuing": ["pki/issuing.pem"],
    "crls": ["pki/root.crl", "pki/issuing.crl"],
}
_SIGNED_IN = {"because": "the catalog shows each user what was published for them"}


_MESSAGES = {
    "identity": "enforce",
    "signatures": "enforce",
    "bindings": "bindings.sqlite",
    "host_names": "enforce",
    "intranet_only": "enforce",
}
"""All that a policy may hold clients and site systems to (BRIDGE-IDENTITY, BRIDGE-INSPECT)."""


def demo_policy(clamav: tuple[str, int] | None = None) -> str:
    """The shipped policy, more publications at its end, and what becomes of messages.

    `clamav` is where a daemon of ClamAV's kind listens (`lab.clamd`), if there is one.
    """
    computer = {"trust": _TRUST}
    rows = [
        _bridged(USERS, {"certificate": "user", "trust": _TRUST}, _role("management-point")),
        _bridged(
            CATALOG,
            {},
            _role("application-catalog-website-point", windows_authentication=_SIGNED_IN),
        ),
        _bridged(SCEP, {}, _role("policy-module")),
        _bridged(SECOND, computer, _role("management-point") | _role("distribution-point")),
        _bridged(WRONG_NAME, computer, _role("management-point", at="distribution-point")),
        _bridged(FORGED, computer, _role("management-point", at="impostor")),
        _tunneled(UPDATE_TUNNEL, "software-update-point"),
        _tunneled(CATALOG_TUNNEL, "application-catalog-website-point"),
        _tunneled(WRONG_NAME_TUNNEL, "distribution-point"),
        _tunneled(FORGED_TUNNEL, "impostor"),
    ]
    publications = textwrap.indent(yaml.dump(rows, Dumper=_Plain), "  ")
    more: dict[str, Any] = {"messages": _MESSAGES}
    if clamav is not None:
        more["engines"] = {"clamav": {"address": address_text(clamav), "seconds": 5.0}}
    return shipped_policy() + publications + yaml.dump(more)


def write_more(pki: LabPki, directory: Path) -> None:
    """The certificates that it names beyond those of the shipped policy."""
    for name in BRIDGED_NAMES:
        pki.server(name).write(directory, name)


def _bridged(way: Destination, clients: dict[str, Any], roles: dict[str, Any]) -> dict[str, Any]:
    return {
        "name": way.name,
        "mode": "bridge",
        "listen": f"127.0.0.1:{TLS_PORT}",
        "certificate": _credential(way.name),
        "clients": clients,
        "site_systems": {"certificate": _credential("bridge-client"), "trust": _TRUST},
        "roles": roles,
    }


def _role(role: str, *, at: str | None = None, **more: Any) -> dict[str, Any]:
    name = f"https://{STAND_INS[role].names[0]}"
    return {role: {"site_system": name, "connect": _address(at or role), **more}}


def _tunneled(way: Destination, role: str) -> dict[str, Any]:
    return {
        "name": way.name,
        "mode": "tunnel",
        "listen": f"127.0.0.1:{TLS_PORT}",
        "site_system": _address(role),
    }


def _credential(name: str) -> dict[str, str]:
    return {"chain": f"pki/{name}.pem", "key": f"pki/{name}.key"}


def _address(role: str) -> str:
    return f"127.0.0.1:{STAND_INS[role].port}"


class _Plain(yaml.SafeDumper):
    """A policy file has no anchors and aliases."""

    def ignore_aliases(self, data: Any) -> bool:
        return True
