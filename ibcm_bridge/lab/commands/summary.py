"""A summary of a lab: names and addresses, files, and command lines to paste."""

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
    """A published name."""

    name: str
    mode: str
    address: str
    roles: list[str]


class CommandLine(TypedDict):
    """A command line, and its purpose."""

    purpose: str
    line: str
    """For a POSIX shell."""
    powershell: str
    """The same for PowerShell; empty if there is none."""


class LabSummary(TypedDict):
    """The summary, as `lab up --json` prints it."""

    names: list[PublishedName]
    files: dict[str, str]
    curl: list[CommandLine]
    site_systems: dict[str, str]


_AGENT = (("User-Agent", "SMS CCM 5.0"),)
_MP_LIST = Request("GET", "/SMS_MP/.sms_aut?MPLIST", _AGENT)
_DELETE = Request("DELETE", "/SMS_MP/", _AGENT)

_REQUESTS = (
    ("A client request through the bridge: 200.", _MP_LIST, BRIDGE),
    ("A verb that Microsoft does not list, through the bridge: 405.", _DELETE, BRIDGE),
    ("The same through the tunnel: the site system returns 200.", _DELETE, MP_TUNNEL),
)


def lab_summary(perimeter: Perimeter, files: LabFiles, preview: RequestPreview) -> LabSummary:
    """Return the summary of a running lab."""
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
                purpose=purpose,
                line=preview.line("summary", ClientCertificate.COMPUTER, request, destination),
                powershell=preview.powershell(
                    f"summary-{number}", ClientCertificate.COMPUTER, request, destination
                ),
            )
            for number, (purpose, request, destination) in enumerate(_REQUESTS, 1)
        ]
        + [
            CommandLine(purpose=purpose, line=line, powershell="")
            for purpose, line in _firewall_commands(perimeter.namespaces)
        ],
        site_systems={role: address_text(to) for role, to in perimeter.site.addresses.items()},
    )


def _firewall_commands(namespaces: Namespaces) -> tuple[tuple[str, str], ...]:
    return () if namespaces == NO_NAMESPACES else firewall.COMMANDS


def _name(publication: Publication | PlaintextPublication, at: str) -> PublishedName:
    if isinstance(publication, TunnelPublication):
        roles = list(publication.roles)  # as stated in the policy
    else:
        directories = publication.directories.values()
        roles = list(dict.fromkeys(role.profile.name for role in directories))
    mode = _MODES[type(publication)]
    return PublishedName(name=publication.name, mode=mode, address=at, roles=roles)


_MODES = {BridgePublication: "bridge", TunnelPublication: "tunnel", PlaintextPublication: "HTTP"}
