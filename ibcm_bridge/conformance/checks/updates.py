"""The software update point: the scan of Windows Update Agent, and nothing else of WSUS."""

from __future__ import annotations

import base64

from ibcm_bridge.conformance.exchange import Exchange
from ibcm_bridge.conformance.judgement import Judgement, passed, refused
from ibcm_bridge.conformance.kit import Client
from ibcm_bridge.conformance.subject import Subject
from ibcm_bridge.lab.cases.requests import MakeRequest, plain
from ibcm_bridge.lab.protocol import wsus
from ibcm_bridge.lab.protocol.wsus import CLIENT, NAMESPACES, REPORTING

_SERIALIZED = b"\x00\x01\x00\x00\x00" + b"\xff" * 4 + b"\x01" + bytes(7) + b"\x0c\x02" + bytes(64)
"""[MS-NRBF] 2.6.1: the header of a .NET BinaryFormatter stream, without content."""


def scan(subject: Subject) -> Judgement:
    """The first request of a scan, without a client certificate, MUST be forwarded.

    Requirement: SUP-WSUS. Source: MS-WUSP 2.2.2.2.
    """
    return passed(_send(subject, lambda _who: wsus.configuration()))


def administration(subject: Subject) -> Judgement:
    """The administration service MUST NOT be published.

    Requirement: SUP-WSUS. Source: WSUS, Appendix D.
    """
    service, target = "apiremoting30/webservice.asmx", "/ApiRemoting30/WebService.asmx"
    return refused(_send(subject, _operation(service, "GetServers", target)))


def synchronization(subject: Subject) -> Judgement:
    """The service for downstream servers MUST NOT be published.

    Requirement: SUP-WSUS. Source: WSUS, Appendix D.
    """
    service = "serversyncwebservice/serversyncwebservice.asmx"
    target = "/ServerSyncWebService/ServerSyncWebService.asmx"
    return refused(_send(subject, _operation(service, "GetConfigData", target)))


def rollup(subject: Subject) -> Judgement:
    """Operations for downstream servers in the reporting service SHOULD be refused.

    Requirement: SUP-WSUS. Source: MS-WUSP 2.2.2.3.
    """
    return refused(_send(subject, _operation(REPORTING, "GetRollupConfiguration")))


def two_operations(subject: Subject) -> Judgement:
    """A SOAPAction that differs from the body MUST be refused.

    Requirement: SUP-WSUS. Source: SOAP 1.1, 6.1.1.
    """
    action = f"{NAMESPACES[CLIENT]}/GetConfig"
    return refused(_send(subject, _operation(CLIENT, "GetServers", action=action)))


def serialized_object(subject: Subject) -> Judgement:
    """A cookie with a serialized .NET object MUST be refused.

    Requirement: SUP-WSUS. Source: CVE-2025-59287.
    """
    cookie = base64.b64encode(_SERIALIZED).decode()
    return refused(_send(subject, lambda _who: wsus.first_cookie(cookie)))


def script(subject: Subject) -> Judgement:
    """A script beside the agent's files MUST NOT be published.

    Requirement: SUP-WSUS. Source: WSUS, Appendix D.
    """
    return refused(_send(subject, plain("GET", "/SelfUpdate/wuident.asp")))


def inventory_directory(subject: Subject) -> Judgement:
    """The inventory directory of WSUS MUST NOT be published.

    Requirement: SUP-WSUS. Source: WSUS, Appendix D.
    """
    return refused(_send(subject, plain("GET", "/Inventory/")))


def _send(subject: Subject, make: MakeRequest) -> Exchange:
    return subject.send(make, to="software-update-point", client=Client.NONE)


def _operation(service: str, operation: str, target: str = "", action: str = "") -> MakeRequest:
    return lambda _who: wsus.operation_request(service, operation, action=action, target=target)
