"""A lab in short: names and addresses, where certificates lie, command lines to paste."""

from __future__ import annotations

from typing import TypedDict

from ibcm_bridge.lab.cases.case import BRIDGE, MP_TUNNEL, ClientCertificate
from ibcm_bridge.lab.namespaces import NO_NAMESPACES, Namespaces
from ibcm_bridge.lab.page.request_preview import LabFiles, RequestPreview
from ibcm_bridge.lab.perimeter import firewall
from ibcm_bridge.lab.perimeter.perimeter import Perimeter
from ibcm_bridge.lab.protocol.client import Request
from ibcm_bridge.policy.addresses import address_text
from ibcm_bridge.policy.publications import (
    BridgePublication,
    PlaintextPublication,
    Publication,
    TunnelPublication,
)
from ibcm_bridge.policy_file import load_policy


class PublishedName(TypedDict):
    """Something published."""

    name: str
    mode: str
    address: str
    roles: list[str]


class CommandLine(TypedDict):
    """A command, and what it shows."""

    what: str
    line: str


class LabSummary(TypedDict):
    """All of it; JSON as it is."""

    names: list[PublishedName]
    files: dict[str, str]
    curl: list[CommandLine]
    site_systems: dict[str, str]


_AGENT = (("User-Agent", "SMS CCM 5.0"),)
_MP_LIST = Request("GET", "/SMS_MP/.sms_aut?MPLIST", _AGENT)
_DELETE = Request("DELETE", "/SMS_MP/", _AGENT)

_REQUESTS = (
    ("What a client may ask, through the bridge: 200.", _MP_LIST, BRIDGE),
    ("A verb that is not on Microsoft's list, through the bridge: 405.", _DELETE, BRIDGE),
    ("The same through the tunnel: the site system answers.", _DELETE, MP_TUNNEL),
)


def lab_summary(perimeter: Perimeter, files: LabFiles, preview: RequestPreview) -> LabSummary:
    """Of a lab that is up."""
    publications = load_policy(perimeter.bridge.policy_file).publications()
    return LabSummary(
        names=[_name(publication, address_text(at)) for at, publication in publications],
        files={
            "root certificate": str(files.root),
            "client certificates": str(files.clients),
            "policy": str(perimeter.bridge.policy_file),
            "audit": str(perimeter.bridge.audit_file),
        },
        curl=[
            CommandLine(
                what=what, line=preview.line("about", ClientCertificate.COMPUTER, request, way)
            )
            for what, request, way in _REQUESTS
        ]
        + [
            CommandLine(what=what, line=line)
            for what, line in _firewall_commands(perimeter.namespaces)
        ],
        site_systems={role: address_text(to) for role, to in perimeter.site.addresses.items()},
    )


def _firewall_commands(namespaces: Namespaces) -> tuple[tuple[str, str], ...]:
    return () if namespaces == NO_NAMESPACES else firewall.COMMANDS


def _name(publication: Publication | PlaintextPublication, at: str) -> PublishedName:
    if isinstance(publication, TunnelPublication):
        roles = list(publication.roles)  # as its operator says
    else:
        directories = publication.directories.values()
        roles = list(dict.fromkeys(role.profile.name for role in directories))
    mode = _MODES[type(publication)]
    return PublishedName(name=publication.name, mode=mode, address=at, roles=roles)


_MODES = {BridgePublication: "bridge", TunnelPublication: "tunnel", PlaintextPublication: "HTTP"}
