"""What a lab says of itself: names and addresses, where certificates lie, lines to paste."""

from __future__ import annotations

from typing import TypedDict

from ibcm_bridge.lab.cases.case import BRIDGE, MP_TUNNEL, Client
from ibcm_bridge.lab.namespaces import NO_WALLS, Namespaces
from ibcm_bridge.lab.page.prepared import Files, Preparing
from ibcm_bridge.lab.perimeter import walls
from ibcm_bridge.lab.perimeter.perimeter import Perimeter
from ibcm_bridge.lab.protocol.client import Request
from ibcm_bridge.policy.addresses import shown
from ibcm_bridge.policy.publications import (
    BridgePublication,
    PlaintextPublication,
    Publication,
    TunnelPublication,
)
from ibcm_bridge.policy_file import load_policy


class Name(TypedDict):
    """Something published."""

    name: str
    mode: str
    address: str
    roles: list[str]


class Line(TypedDict):
    """A command, and what it shows."""

    what: str
    line: str


class About(TypedDict):
    """All of it; JSON as it is."""

    names: list[Name]
    files: dict[str, str]
    curl: list[Line]
    site_systems: dict[str, str]


_AGENT = (("User-Agent", "SMS CCM 5.0"),)
_LIST = Request("GET", "/SMS_MP/.sms_aut?MPLIST", _AGENT)
_DELETE = Request("DELETE", "/SMS_MP/", _AGENT)

_LINES = (
    ("What a client may ask, through the bridge: 200.", _LIST, BRIDGE),
    ("A verb that is not on Microsoft's list, through the bridge: 405.", _DELETE, BRIDGE),
    ("The same through the tunnel: the site system answers.", _DELETE, MP_TUNNEL),
)


def about(perimeter: Perimeter, files: Files, preparing: Preparing) -> About:
    """Of a lab that is up."""
    publications = load_policy(perimeter.bridge.policy_file).publications()
    return About(
        names=[_name(publication, shown(at)) for at, publication in publications],
        files={
            "root certificate": str(files.root),
            "client certificates": str(files.clients),
            "policy": str(perimeter.bridge.policy_file),
            "audit": str(perimeter.bridge.audit_file),
        },
        curl=[
            Line(what=what, line=preparing.line("about", Client.COMPUTER, request, way))
            for what, request, way in _LINES
        ]
        + [Line(what=what, line=line) for what, line in _walls(perimeter.namespaces)],
        site_systems={role: shown(to) for role, to in perimeter.site.addresses.items()},
    )


def _walls(namespaces: Namespaces) -> tuple[tuple[str, str], ...]:
    return () if namespaces == NO_WALLS else walls.LINES


def _name(publication: Publication | PlaintextPublication, at: str) -> Name:
    if isinstance(publication, TunnelPublication):
        roles = list(publication.roles)  # as its operator says
    else:
        directories = publication.directories.values()
        roles = list(dict.fromkeys(role.profile.name for role in directories))
    mode = _MODES[type(publication)]
    return Name(name=publication.name, mode=mode, address=at, roles=roles)


_MODES = {BridgePublication: "bridge", TunnelPublication: "tunnel", PlaintextPublication: "HTTP"}
