"""The publications of the demo, in addition to the shipped policy.

A user publication, an application catalog, NDES, a second name for the site systems, a management
point at which users sign in, tunnels to compare them with, and two publications with a wrong
site-system certificate: one with another name, one from an untrusted CA.
"""

from __future__ import annotations

import textwrap
from pathlib import Path
from typing import Any

import yaml

from ibcm_bridge.lab.cases.case import Destination
from ibcm_bridge.lab.pki.authorities import LabPki
from ibcm_bridge.lab.pki.files import shipped_policy
from ibcm_bridge.lab.protocol.other_sites import SECOND_PUBLISHED
from ibcm_bridge.lab.protocol.reply_documents import PUBLISHED
from ibcm_bridge.lab.site_systems.published import (
    SIGN_IN,
    TLS_PORT,
    TUNNELED,
    USER_CERTIFICATES,
)
from ibcm_bridge.lab.site_systems.second_site import SECOND_SITE
from ibcm_bridge.lab.site_systems.stand_ins import STAND_INS, StandIn
from ibcm_bridge.policy.addresses import address_text

USERS = Destination(USER_CERTIFICATES)
CATALOG = Destination("catalog.internet.example")
SCEP = Destination("scep.internet.example")
"""NDES, bridged. The shipped policy tunnels it."""

SECOND = Destination(PUBLISHED[1])
"""A second Internet name for the same site systems: a client selects one (CLIENT-PICK)."""

USER_SIGN_IN = Destination(SIGN_IN)
"""A management point with Windows authentication, for the scenes of users."""

WRONG_NAME = Destination("wrong-name.internet.example")
FORGED = Destination("forged.internet.example")
BRIDGED_NAMES = tuple(
    place.name for place in (USERS, CATALOG, SCEP, SECOND, USER_SIGN_IN, WRONG_NAME, FORGED)
)
"""Each needs a certificate in pki/NAME.pem and pki/NAME.key."""

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
        UPDATE_TUNNEL.name,
        CATALOG_TUNNEL.name,
        WRONG_NAME_TUNNEL.name,
        FORGED_TUNNEL.name,
    )
)

_TRUST = {
    "anchors": ["pki/root.pem"],
    "issuing": ["pki/issuing.pem"],
    "crls": ["pki/root.crl", "pki/issuing.crl"],
}
_SIGNED_IN = {"because": "the catalog shows each user their own applications"}
_USER_POLICY = {"because": "users get their own policy"}


_MESSAGES = {
    "identity": "enforce",
    "signatures": "enforce",
    "bindings": "bindings.sqlite",
    "host_names": "enforce",
    "intranet_only": "enforce",
}
"""Enforces all message checks (BRIDGE-IDENTITY, BRIDGE-INSPECT)."""


def demo_policy(clamav: tuple[str, int] | None = None, *, second_site: bool = False) -> str:
    """Return the shipped policy with the demo's publications and all message checks enforced.

    `clamav` is the address of a clamd, real or simulated (`site_systems.clamd`). `second_site`:
    also publish the site EUR.
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
        _bridged(
            USER_SIGN_IN,
            computer,
            _role(
                "management-point",
                of="management-point-of-users",
                windows_authentication=_USER_POLICY,
            ),
        ),
        _bridged(WRONG_NAME, computer, _role("management-point", at="distribution-point")),
        _bridged(FORGED, computer, _role("management-point", at="impostor")),
        _tunneled(UPDATE_TUNNEL, "software-update-point"),
        _tunneled(CATALOG_TUNNEL, "application-catalog-website-point"),
        _tunneled(WRONG_NAME_TUNNEL, "distribution-point"),
        _tunneled(FORGED_TUNNEL, "impostor"),
    ]
    if second_site:
        rows += (
            _bridged(Destination(stand_in.names[0]), computer, _both_roles(stand_in))
            for stand_in in SECOND_SITE.values()
        )
    publications = textwrap.indent(yaml.dump(rows, Dumper=_Plain), "  ")
    more: dict[str, Any] = {"messages": _MESSAGES}
    if clamav is not None:
        more["engines"] = {"clamav": {"address": address_text(clamav), "seconds": 5.0}}
    return shipped_policy() + publications + yaml.dump(more)


def write_more(pki: LabPki, directory: Path) -> None:
    """Write the certificates of `BRIDGED_NAMES`, and of the second site."""
    for name in (*BRIDGED_NAMES, *SECOND_PUBLISHED):
        pki.server(name).write(directory, name)


def _bridged(
    destination: Destination, clients: dict[str, Any], roles: dict[str, Any]
) -> dict[str, Any]:
    return {
        "name": destination.name,
        "mode": "bridge",
        "listen": f"127.0.0.1:{TLS_PORT}",
        "certificate": _credential(destination.name),
        "clients": clients,
        "site_systems": {"certificate": _credential("bridge-client"), "trust": _TRUST},
        "roles": roles,
    }


def _role(
    role: str, *, of: str | None = None, at: str | None = None, **more: Any
) -> dict[str, Any]:
    """Publish a role of a site system (`of`) at the address of another (`at`)."""
    site_system = of or role
    name = f"https://{STAND_INS[site_system].names[0]}"
    return {role: {"site_system": name, "connect": _address(at or site_system), **more}}


def _both_roles(stand_in: StandIn) -> dict[str, Any]:
    """A server of the second site: it has one name on the Internet, and two roles."""
    place = {
        "site_system": f"https://{stand_in.names[0]}",
        "connect": f"127.0.0.1:{stand_in.port}",
    }
    return {role: place.copy() for role in ("management-point", "distribution-point")}


def _tunneled(destination: Destination, role: str) -> dict[str, Any]:
    return {
        "name": destination.name,
        "mode": "tunnel",
        "listen": f"127.0.0.1:{TLS_PORT}",
        "site_system": _address(role),
    }


def _credential(name: str) -> dict[str, str]:
    return {"chain": f"pki/{name}.pem", "key": f"pki/{name}.key"}


def _address(role: str) -> str:
    return f"127.0.0.1:{STAND_INS[role].port}"


class _Plain(yaml.SafeDumper):
    """Writes no anchors and aliases, which a policy file does not allow."""

    def ignore_aliases(self, data: Any) -> bool:
        return True
