"""Cases about a software update point: the requests of a scan, and requests to refuse."""

from __future__ import annotations

import base64

from ibcm_bridge.decisions.denial import Reason
from ibcm_bridge.lab.cases.case import (
    Case,
    ClientCertificate,
    Destination,
    Disposition,
    Expected,
    accepted,
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


def _operation(service: str, operation: str, target: str = "", action: str = "") -> MakeRequest:
    return lambda _who: wsus.operation_request(service, operation, action=action, target=target)


def _cookie(data: bytes) -> MakeRequest:
    return lambda _who: wsus.first_cookie(base64.b64encode(data).decode())


_SERIALIZED = b"\x00\x01\x00\x00\x00" + b"\xff" * 4 + b"\x01" + bytes(7) + b"\x0c\x02" + bytes(64)
"""[MS-NRBF] 2.6.1: the header of a .NET BinaryFormatter stream, without content."""


def _case(
    name: str,
    title: str,
    lesson: str,
    request: MakeRequest,
    bridge: Expected,
    *,
    tunnel: Disposition = Disposition.ACCEPTED,
) -> Case:
    return Case(
        name,
        title,
        "SUP-WSUS",
        lesson,
        request,
        bridge,
        tunnel,
        client=ClientCertificate.NONE,
        to=Destination(BRIDGED, UPDATE_PORT),
        tunnel_to=UPDATE_TUNNEL,
    )


UPDATES = (
    _case(
        "update-scan",
        "Windows Update Agent scan",
        "Windows Update Agent presents no certificate, so this port requires none. The bridge "
        "allows a list of web services, and only the operations of a scan.",
        _scan,
        accepted("software-update-point.verbs.POST"),
    ),
    _case(
        "update-administration",
        "WSUS administration (ApiRemoting30)",
        "An administration service on the same port as the client services.",
        _operation("apiremoting30/webservice.asmx", "GetServers", "/ApiRemoting30/WebService.asmx"),
        refused(404, Reason.RESOURCE, "software-update-point.directories.apiremoting30"),
    ),
    _case(
        "update-synchronization",
        "WSUS server synchronization",
        "This service is for downstream servers, which are not on the Internet.",
        _operation(
            "serversyncwebservice/serversyncwebservice.asmx",
            "GetConfigData",
            "/ServerSyncWebService/ServerSyncWebService.asmx",
        ),
        refused(404, Reason.RESOURCE, "software-update-point.directories.serversyncwebservice"),
    ),
    _case(
        "update-rollup",
        "WSUS rollup operation in a client service",
        "The web service for client reports also has operations for downstream servers.",
        _operation(REPORTING, "GetRollupConfiguration"),
        refused(403, Reason.SOAP_ACTION, "soap_actions.refused"),
    ),
    _case(
        "update-two-actions",
        "SOAPAction differs from the body",
        "Web services dispatch on one or the other. The bridge requires that both name the same "
        "operation.",
        _operation(CLIENT, "GetServers", action=f"{NAMESPACES[CLIENT]}/GetConfig"),
        refused(403, Reason.SOAP_ACTION, "soap_actions.agreement"),
    ),
    _case(
        "update-large-cookie",
        "WSUS cookie of 64 KiB",
        "Only the server can decrypt a cookie, but the bridge can limit its size.",
        _cookie(bytes(range(256)) * 256),
        refused(403, Reason.SOAP_CONTENT, "bodies.soap.cookiedata"),
        tunnel=Disposition.REFUSED_BY_SITE_SYSTEM,
    ),
    _case(
        "update-serialized-cookie",
        "serialized .NET object (CVE-2025-59287)",
        "An unpatched WSUS deserializes and runs the content of this cookie. The simulated "
        "software update point accepts only its own cookies.",
        _cookie(_SERIALIZED),
        refused(403, Reason.SOAP_CONTENT, "bodies.soap.cookiedata"),
        tunnel=Disposition.REFUSED_BY_SITE_SYSTEM,
    ),
    _case(
        "update-script",
        "script beside the agent's files",
        "Appendix D of the WSUS documentation denies file extensions. The bridge denies them for "
        "every path of the role.",
        plain("GET", "/SelfUpdate/wuident.asp"),
        refused(404, Reason.RESOURCE, "software-update-point.denied_extensions"),
        tunnel=Disposition.REFUSED_BY_SITE_SYSTEM,
    ),
    _case(
        "update-inventory",
        "WSUS inventory directory",
        "ConfigMgr clients send inventory to the management point, not to WSUS.",
        plain("GET", "/Inventory/"),
        refused(404, Reason.RESOURCE, "software-update-point.directories.inventory"),
    ),
)
