"""The stand-in software update point: what a scan is answered, and what is a fault ([MS-WUSP])."""

from __future__ import annotations

import base64
from collections.abc import Mapping
from dataclasses import replace
from datetime import UTC, datetime
from importlib.resources import files
from xml.etree import ElementTree as ET

import pytest
import yaml

from ibcm_bridge.lab.clients.device import Device
from ibcm_bridge.lab.clients.update_scan import SCAN
from ibcm_bridge.lab.pki.authorities import LabPki
from ibcm_bridge.lab.protocol import wsus
from ibcm_bridge.lab.protocol.client import Request, Response
from ibcm_bridge.lab.protocol.content import ServerResponse
from ibcm_bridge.lab.site_systems.server_request import ServerRequest, split_target
from ibcm_bridge.lab.site_systems.update_point import OPERATIONS, software_update_point
from ibcm_bridge.policy.soap_actions import SoapService
from ibcm_bridge.policy_file.tables.soap_actions import read_soap_table

NOW = datetime(2026, 7, 1, tzinfo=UTC)
FAULT = "{http://schemas.xmlsoap.org/soap/envelope/}Body/*/detail/ErrorCode"


def shipped() -> Mapping[str, SoapService]:
    text = files("ibcm_bridge.config").joinpath("soap_actions.yaml").read_text("utf-8")
    return read_soap_table(yaml.safe_load(text)).services


def asked(request: Request) -> ServerResponse:
    headers = {name.lower(): value for name, value in request.headers}
    return software_update_point(
        ServerRequest(request.method, *split_target(request.target), request.body or b"", headers)
    )


def answered(request: Request) -> bytes:
    answer = asked(request)
    assert isinstance(answer.body, bytes)
    assert answer.status == 200, answer.body
    return answer.body


def fault(request: Request) -> str | None:
    answer = asked(request)
    assert isinstance(answer.body, bytes)
    return ET.fromstring(answer.body).findtext(FAULT) if answer.status == 500 else None


@pytest.fixture(scope="module")
def device() -> Device:
    return Device.of(LabPki.make(now=NOW).computer("pc1.corp.example"), "pc1.corp.example")


@pytest.fixture(scope="module")
def cookie(device: Device) -> str:
    """What a client has after the first three questions."""
    for step in SCAN[:3]:
        answer = asked(step.request(device))
        assert isinstance(answer.body, bytes)
        device = step.update(device, Response(200, "OK", (), answer.body))
    return device.cookie


def test_every_operation_that_is_published_is_answered() -> None:
    published = {
        (path, operation) for path, service in shipped().items() for operation in service.operations
    }
    # Not in [MS-WUSP], so what it would answer is not known.
    assert published - OPERATIONS.keys() == {(wsus.CLIENT, "GetConfig2")}
    assert not OPERATIONS.keys() - published


@pytest.mark.parametrize(("service", "operation"), OPERATIONS)
def test_answers_are_of_the_namespace_of_their_service(
    service: str, operation: str, cookie: str
) -> None:
    inner = f"<cookie><EncryptedData>{cookie}</EncryptedData></cookie><clientId>x</clientId>"
    if operation == "GetCookie":
        body = answered(wsus.first_cookie(_authorization()))
    else:
        body = answered(wsus.ask(service, operation, inner))
    (answer,) = ET.fromstring(body)[0]
    assert answer.tag == f"{{{shipped()[service].namespace}}}{operation}Response"


def _authorization() -> str:
    body = answered(wsus.authorization("pc1.corp.example"))
    return body.partition(b"<CookieData>")[2].partition(b"<")[0].decode()


def test_the_scan_says_what_an_agent_of_windows_11_says(device: Device) -> None:
    """protocol.md 8.2; that it passes, tests/integration/test_life_cycle.py shows."""
    asks = {step.name: step.request(replace(device, cookie="AA==")) for step in SCAN}
    texts = {name: (request.body or b"").decode() for name, request in asks.items()}
    assert "<protocolVersion>2.90<" in texts["configuration"]
    assert "<protocolVersion>2.90<" in texts["cookie"]
    assert "<MobileOperator>" in texts["registration for updates"]
    for name in ("categories of updates", "updates", "more of an update"):
        assert ";UpdateServiceUrl=https://" in texts[name]
    assert "Id=&lt;&lt;PROCESS&gt;&gt;: inventory.exe;" in texts["categories of updates"]
    for text in ("AppName=CcmExec", "AppName=&lt;&lt;PROCESS&gt;&gt;: inventory.exe", "WUfBOn=0"):
        assert f"<string>{text}</string>" in texts["report of the scan"]
    assert all("MS-CV" in dict(request.headers) for request in asks.values())


def test_a_client_is_told_first_of_the_category_and_then_of_the_update(cookie: str) -> None:
    first = answered(wsus.synchronization(cookie))
    assert b"<ID>1</ID><Deployment>" in first
    assert b"<ID>2</ID>" not in first
    second = answered(wsus.synchronization(cookie, wsus.CATEGORY))
    assert b"<ID>2</ID><Deployment>" in second
    assert b"<ID>1</ID>" not in second


def test_a_file_is_found_by_its_digest_over_http(cookie: str) -> None:
    assert b"<Url>http://" in answered(wsus.file_locations(cookie))
    other = wsus.ask(
        wsus.CLIENT,
        "GetFileLocations",
        f"<cookie><EncryptedData>{cookie}</EncryptedData></cookie><fileDigests/>",
    )
    assert b"<Url>" not in answered(other)


@pytest.mark.parametrize("data", ["", "bm90IG1pbmU=", "%%%", base64.b64encode(bytes(40)).decode()])
def test_a_cookie_of_anothers_is_a_fault(data: str) -> None:
    assert fault(wsus.first_cookie(data)) == "InvalidAuthorizationCookie"
    assert fault(wsus.registration(data, "pc1")) == "InvalidCookie"
    assert fault(wsus.synchronization(data)) == "InvalidCookie"
    assert fault(wsus.report(data)) == "InvalidCookie"


def test_one_kind_of_cookie_is_not_the_other(cookie: str) -> None:
    assert fault(wsus.first_cookie(cookie)) == "InvalidAuthorizationCookie"
    assert fault(wsus.synchronization(_authorization())) == "InvalidCookie"


def test_what_is_no_xml_is_a_fault() -> None:
    request = wsus.configuration()
    cut = Request("POST", request.target, request.headers, (request.body or b"")[:-9])
    assert fault(cut) == "InvalidParameters"


def test_it_goes_by_the_action_of_the_head(cookie: str) -> None:
    action = f"{wsus.NAMESPACES[wsus.CLIENT]}/GetConfig"
    request = wsus.ask(wsus.CLIENT, "GetServers", action=action)
    assert b"<GetConfigResult>" in answered(request)
