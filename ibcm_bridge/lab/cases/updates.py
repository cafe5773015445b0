"""Cases about a software update point: what a scan asks it, and what nobody else is to ask."""

from __future__ import annotations

import base64

from ibcm_bridge.lab.cases.case import (
    OK,
    Case,
    ClientCertificate,
    Destination,
    Disposition,
    Expected,
    refused,
)
from ibcm_bridge.lab.cases.policy import UPDATE_TUNNEL
from ibcm_bridge.lab.cases.requests import MakeRequest, Senders, plain
from ibcm_bridge.lab.protocol import wsus
from ibcm_bridge.lab.protocol.client import Request
from ibcm_bridge.lab.protocol.wsus import CLIENT, NAMESPACES, REPORTING
from ibcm_bridge.lab.site_systems.published import BRIDGED, UPDATE_PORT


def _scan(_who: Senders) -> Request:
    return wsus.configuration()


def _asked(service: str, operation: str, target: str = "", action: str = "") -> MakeRequest:
    return lambda _who: wsus.ask(service, operation, action=action, target=target)


def _cookie(data: bytes) -> MakeRequest:
    return lambda _who: wsus.first_cookie(base64.b64encode(data).decode())


_SERIALIZED = b"\x00\x01\x00\x00\x00" + b"\xff" * 4 + b"\x01" + bytes(7) + b"\x0c\x02" + bytes(64)
"""[MS-NRBF] 2.6.1: the header of a .NET BinaryFormatter stream. Nothing is in it."""


def _case(
    name: str,
    title: str,
    lesson: str,
    request: MakeRequest,
    bridge: Expected,
    *,
    tunnel: Disposition = Disposition.ANSWERED,
) -> Case:
    return Case(
        name,
        title,
        "SUP-WSUS",
        lesson,
        request,
        bridge,
        tunnel,
        client=ClientCertificate.NOBODY,
        to=Destination(BRIDGED, UPDATE_PORT),
        tunnel_to=UPDATE_TUNNEL,
    )


UPDATES = (
    _case(
        "update-scan",
        "scan for updates",
        "Windows Update shows no certificate, so this port asks for none; what passes is a page of "
        "web services, and of their operations those of a scan.",
        _scan,
        OK,
    ),
    _case(
        "update-administration",
        "administration of WSUS (ApiRemoting30)",
        "Beside the services of clients, and just as ready to answer.",
        _asked("apiremoting30/webservice.asmx", "GetServers", "/ApiRemoting30/WebService.asmx"),
        refused(404),
    ),
    _case(
        "update-synchronization",
        "synchronization of servers",
        "For downstream servers, which are not on the Internet.",
        _asked(
            "serversyncwebservice/serversyncwebservice.asmx",
            "GetConfigData",
            "/ServerSyncWebService/ServerSyncWebService.asmx",
        ),
        refused(404),
    ),
    _case(
        "update-rollup",
        "operation of servers, at a client's service",
        "The web service to which clients report has operations of downstream servers too.",
        _asked(REPORTING, "GetRollupConfiguration"),
        refused(403),
    ),
    _case(
        "update-two-actions",
        "one action in the head, another in the body",
        "Web services choose by the one or by the other; what was looked at must be what is done.",
        _asked(CLIENT, "GetServers", action=f"{NAMESPACES[CLIENT]}/GetConfig"),
        refused(403),
    ),
    _case(
        "update-large-cookie",
        "cookie of 64 KB",
        "Only the server can read a cookie. How long one is, anybody can say.",
        _cookie(bytes(range(256)) * 256),
        refused(403),
        tunnel=Disposition.REFUSED_THERE,
    ),
    _case(
        "update-serialized-cookie",
        "objects of .NET in a cookie (CVE-2025-59287)",
        "WSUS deserialized what it found there. This stand-in takes no cookie but its own; a WSUS "
        "that was not patched would have run it.",
        _cookie(_SERIALIZED),
        refused(403),
        tunnel=Disposition.REFUSED_THERE,
    ),
    _case(
        "update-inventory",
        "directory of inventory",
        "Inventory is the management point's. WSUS has a directory for it all the same.",
        plain("GET", "/Inventory/"),
        refused(404),
    ),
)
