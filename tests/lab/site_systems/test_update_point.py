"""The simulated software update point: the responses to a scan, and faults ([MS-WUSP])."""

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


def response_to(request: Request) -> ServerResponse:
    headers = {name.lower(): value for name, value in request.headers}
    return software_update_point(
        ServerRequest(request.method, *split_target(request.target), request.body or b"", headers)
    )


def body_of(request: Request) -> bytes:
    response = response_to(request)
    assert isinstance(response.body, bytes)
    assert response.status == 200, response.body
    return response.body


def fault(request: Request) -> str | None:
    response = response_to(request)
    assert isinstance(response.body, bytes)
    return ET.fromstring(response.body).findtext(FAULT) if response.status == 500 else None


@pytest.fixture(scope="module")
def device() -> Device:
    return Device.of(LabPki.make(now=NOW).computer("pc1.corp.example"), "pc1.corp.example")


@pytest.fixture(scope="module")
def cookie(device: Device) -> str:
    """Return the cookie of a client after the first three steps."""
    for step in SCAN[:3]:
        response = response_to(step.request(device))
        assert isinstance(response.body, bytes)
        device = step.update(device, Response(200, "OK", (), response.body))
    return device.cookie


def test_each_published_operation_is_implemented() -> None:
    published = {
        (path, operation) for path, service in shipped().items() for operation in service.operations
    }
    # Not in [MS-WUSP], so its response is not known.
    assert published - OPERATIONS.keys() == {(wsus.CLIENT, "GetConfig2")}
    assert not OPERATIONS.keys() - published


@pytest.mark.parametrize(("service", "operation"), OPERATIONS)
def test_responses_have_the_namespace_of_their_service(
    service: str, operation: str, cookie: str
) -> None:
    inner = f"<cookie><EncryptedData>{cookie}</EncryptedData></cookie><clientId>x</clientId>"
    if operation == "GetCookie":
        body = body_of(wsus.first_cookie(_authorization()))
    else:
        body = body_of(wsus.operation_request(service, operation, inner))
    (response,) = ET.fromstring(body)[0]
    assert response.tag == f"{{{shipped()[service].namespace}}}{operation}Response"


def _authorization() -> str:
    body = body_of(wsus.authorization("pc1.corp.example"))
    return body.partition(b"<CookieData>")[2].partition(b"<")[0].decode()


def test_the_scan_has_the_values_of_windows_11(device: Device) -> None:
    """protocol.md 8.2. tests/integration/test_life_cycle.py sends it through the bridge."""
    requests = {step.name: step.request(replace(device, cookie="AA==")) for step in SCAN}
    texts = {name: (request.body or b"").decode() for name, request in requests.items()}
    assert "<protocolVersion>2.90<" in texts["configuration"]
    assert "<protocolVersion>2.90<" in texts["cookie"]
    assert "<MobileOperator>" in texts["update registration"]
    for name in ("update categories", "updates", "update details"):
        assert ";UpdateServiceUrl=https://" in texts[name]
    assert "Id=&lt;&lt;PROCESS&gt;&gt;: inventory.exe;" in texts["update categories"]
    for text in ("AppName=CcmExec", "AppName=&lt;&lt;PROCESS&gt;&gt;: inventory.exe", "WUfBOn=0"):
        assert f"<string>{text}</string>" in texts["scan report"]
    assert all("MS-CV" in dict(request.headers) for request in requests.values())


def test_a_client_gets_the_category_first_and_then_the_update(cookie: str) -> None:
    first = body_of(wsus.synchronization(cookie))
    assert b"<ID>1</ID><Deployment>" in first
    assert b"<ID>2</ID>" not in first
    second = body_of(wsus.synchronization(cookie, wsus.CATEGORY))
    assert b"<ID>2</ID><Deployment>" in second
    assert b"<ID>1</ID>" not in second


def test_a_file_is_found_by_its_digest_over_http(cookie: str) -> None:
    assert b"<Url>http://" in body_of(wsus.file_locations(cookie))
    other = wsus.operation_request(
        wsus.CLIENT,
        "GetFileLocations",
        f"<cookie><EncryptedData>{cookie}</EncryptedData></cookie><fileDigests/>",
    )
    assert b"<Url>" not in body_of(other)


@pytest.mark.parametrize("data", ["", "bm90IG1pbmU=", "%%%", base64.b64encode(bytes(40)).decode()])
def test_a_foreign_cookie_is_a_fault(data: str) -> None:
    assert fault(wsus.first_cookie(data)) == "InvalidAuthorizationCookie"
    assert fault(wsus.registration(data, "pc1")) == "InvalidCookie"
    assert fault(wsus.synchronization(data)) == "InvalidCookie"
    assert fault(wsus.report(data)) == "InvalidCookie"


def test_the_two_types_of_cookies_are_different(cookie: str) -> None:
    assert fault(wsus.first_cookie(cookie)) == "InvalidAuthorizationCookie"
    assert fault(wsus.synchronization(_authorization())) == "InvalidCookie"


def test_invalid_xml_is_a_fault() -> None:
    request = wsus.configuration()
    cut = Request("POST", request.target, request.headers, (request.body or b"")[:-9])
    assert fault(cut) == "InvalidParameters"


def test_the_action_in_the_head_selects_the_operation(cookie: str) -> None:
    action = f"{wsus.NAMESPACES[wsus.CLIENT]}/GetConfig"
    request = wsus.operation_request(wsus.CLIENT, "GetServers", action=action)
    assert b"<GetConfigResult>" in body_of(request)
