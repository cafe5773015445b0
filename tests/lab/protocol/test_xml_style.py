"""Each message of a client in each XML style is forwarded, and gets a reply.

The XML style must make no difference to the bridge or to the simulated site systems.
"""

from __future__ import annotations

import datetime
from collections.abc import Callable
from dataclasses import replace
from importlib.resources import files
from xml.etree import ElementTree as ET

import pytest
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from hypothesis import given, settings
from hypothesis import strategies as st

from ibcm_bridge.authentication.certificate import certificate_facts
from ibcm_bridge.authentication.client import AuthenticatedClient, authenticate
from ibcm_bridge.decisions.denial import Deny, Reason
from ibcm_bridge.identity.approval import Approved, approve
from ibcm_bridge.identity.bindings import Binding, Source
from ibcm_bridge.inspection.engines import YaraEngine
from ibcm_bridge.inspection.verdict import Inspected, inspect
from ibcm_bridge.lab.clients import life_cycle
from ibcm_bridge.lab.clients.device import Device
from ibcm_bridge.lab.clients.life_cycle import LIFE, UPDATE_LOCATION, Step, replies_with
from ibcm_bridge.lab.pki.authorities import LabPki
from ibcm_bridge.lab.protocol import ccm, documents
from ibcm_bridge.lab.protocol.client import Request, Response
from ibcm_bridge.lab.protocol.xml_style import DECLARATION, STYLES, Empty, XmlStyle
from ibcm_bridge.lab.site_systems.message_replies import MessageReplies
from ibcm_bridge.lab.site_systems.registrations import client_guid
from ibcm_bridge.policy.message_policy import Enforcement, MessagePolicy
from ibcm_bridge.policy.publications import BridgePublication
from ibcm_bridge.policy.roles import RoleTable
from ibcm_bridge.request.authorization import Authorized
from ibcm_bridge.request.head import RequestHead

NOW = datetime.datetime(2026, 7, 1, 12, 0, 0, tzinfo=datetime.UTC)
PC = "pc1.corp.example"

Send = Callable[[Request], Approved | Deny]


@pytest.fixture(scope="module", params=["TLS key", "separate key"])
def device(request: pytest.FixtureRequest, pki: LabPki) -> Device:
    found = Device.with_own_key(PC, lambda: NOW)
    if request.param == "TLS key":
        found = Device.of(pki.computer(PC), PC, lambda: NOW)
    return found.with_guid(client_guid(found.certificate))


@pytest.fixture(scope="module")
def send(
    device: Device,
    pki: LabPki,
    publication: BridgePublication,
    decide: Callable[[RequestHead], Authorized | Deny],
    request_head: Callable[..., RequestHead],
) -> Send:
    """Send to the bridge, which enforces GUID and signatures, with all YARA rules."""
    client = authenticate(publication, certificate_facts(pki.computer(PC).certificate))
    assert isinstance(client, AuthenticatedClient)
    signing_key = device.key.public_key().public_bytes(
        Encoding.DER, PublicFormat.SubjectPublicKeyInfo
    )
    bound_to = client.certificate.key_sha256
    binding = Binding(device.guid, Source.REGISTRATION, NOW, bound_to, signing_key=signing_key)
    enforce = Enforcement.ENFORCE
    rules = MessagePolicy(identity=enforce, signatures=enforce)
    shipped = (
        file for file in files("ibcm_bridge.config.rules").iterdir() if file.name[-4:] == ".yar"
    )
    engine = YaraEngine([(file.name, file.read_text("utf-8")) for file in shipped])

    def run(request: Request) -> Approved | Deny:
        body = request.body or b""
        fields = [f"{name}: {value}" for name, value in request.headers]
        head = request_head("CCM_POST", request.target, *fields, f"Content-Length: {len(body)}")
        authorized = decide(head)
        if isinstance(authorized, Deny):
            return authorized
        inspected = inspect(authorized, body, [engine])
        if isinstance(inspected, Deny):
            return inspected
        assert isinstance(inspected, Inspected)
        return approve(inspected, client, {binding.guid: binding}.get, rules, NOW)

    return run


def upload(endpoint: str) -> Step:
    return Step(
        f"upload request for {endpoint}",
        lambda device: device.post(endpoint, documents.upload_request()),
        replies_with("UploadReply"),
    )


REGISTERED = Device.with_own_key(PC, lambda: NOW).with_guid("0a1b2c3d-0000-4000-8000-00000000000f")
MESSAGES = {
    step.name: step
    for step in (
        *(step for step in LIFE if step.request(REGISTERED).method == "CCM_POST"),
        UPDATE_LOCATION,
        Step(
            "first registration",
            lambda device: device.with_guid("").registration(),
            replies_with("ClientRegistrationResponse"),
        ),
        *map(upload, ("MP_DdrEndpoint", "MP_SinvEndpoint", "MP_RelayEndpoint", "StatusReceiver")),
    )
}
"""The messages of a client."""

XML_STYLES = st.builds(
    XmlStyle,
    declaration=st.sampled_from([style.declaration for style in STYLES.values()]),
    empty=st.sampled_from(Empty),
    without_empty=st.booleans(),
    order=st.none() | st.integers(0, 1_000),
    lines=st.booleans(),
    quote=st.sampled_from("\"'"),
    namespaces=st.booleans(),
    property_text=st.booleans(),
    cdata=st.booleans(),
    trailing_crlf=st.booleans(),
)


def assert_forwarded_and_replied(step: Step, device: Device, send: Send) -> None:
    request = step.request(device)
    assert request.body is not None
    sent = send(request)
    assert isinstance(sent, Approved), sent
    assert sent.body == request.body
    assert sent.observed == ()
    reply = MessageReplies().reply(request.body)
    assert step.good(Response(200, "OK", (), reply)), reply


def test_there_is_a_message_for_each_endpoint(table: RoleTable) -> None:
    messages = table.bodies["ccm-message"].messages
    assert messages is not None
    written = [ccm.read_message(step.request(REGISTERED).body or b"") for step in MESSAGES.values()]
    headers = [ET.fromstring(message.header_xml) for message in written]
    found = {header.findtext("TargetEndpoint", "").lower() for header in headers}
    assert found == messages.endpoints.keys()
    roots = {ccm.root(message.body_text() or "").lower() for message in written}
    # The header of a report is attached to its body, which is last.
    every = {root for endpoint in messages.endpoints.values() for root in endpoint.roots}
    assert roots == every - {"reportheader"}


@pytest.mark.parametrize("xml_style", STYLES)
@pytest.mark.parametrize("name", MESSAGES)
def test_each_message_is_forwarded_in_each_style(
    device: Device, send: Send, name: str, xml_style: str
) -> None:
    assert_forwarded_and_replied(MESSAGES[name], replace(device, xml_style=STYLES[xml_style]), send)


@settings(max_examples=60)
@given(st.sampled_from(sorted(MESSAGES)), XML_STYLES)
def test_each_message_is_forwarded_in_mixed_styles(
    device: Device, send: Send, name: str, xml_style: XmlStyle
) -> None:
    assert_forwarded_and_replied(MESSAGES[name], replace(device, xml_style=xml_style), send)


REFUSED = {
    "MP_PolicyManager": documents.policy_request(REGISTERED.guid, user="CORP\\alice"),
    "MP_LocationManager": documents.location_request(
        "ContentLocationRequest", package="<ClientPackage />"
    ),
}


@settings(max_examples=60)
@given(st.sampled_from(sorted(REFUSED)), XML_STYLES)
def test_a_refused_message_is_refused_in_each_style(
    device: Device, send: Send, endpoint: str, xml_style: XmlStyle
) -> None:
    # Without its empty elements, this would be another request.
    mine = replace(device, xml_style=replace(xml_style, without_empty=False))
    denial = send(mine.post(endpoint, REFUSED[endpoint]))
    assert isinstance(denial, Deny)
    assert denial.reason is Reason.MESSAGE
    assert denial.requirement in ("NO-USER-DEPLOYMENT", "NO-CLIENT-DEPLOYMENT")


# Styles


def test_the_sdk_writes_an_empty_user_for_a_computer() -> None:
    request = life_cycle.POLICY_REQUEST.request(REGISTERED)
    text = ccm.read_message(request.body or b"").body_text() or ""
    assert text.startswith(f"{DECLARATION}<RequestAssignments ")
    assert "<SID /></Machine><User /></Identification>" in text


def test_the_children_of_a_header_are_in_the_order_of_protocol_1_4() -> None:
    request = life_cycle.POLICY_REQUEST.request(REGISTERED)
    header = ET.fromstring(ccm.read_message(request.body or b"").header_xml)
    names = [child.tag for child in header]
    assert names == sorted(names)


@given(XML_STYLES)
def test_a_document_has_the_same_content_in_each_style(xml_style: XmlStyle) -> None:
    xml = documents.policy_request("a&b'\"c", fqdn="<pc>.corp.example")
    text = xml_style.document(xml)
    assert text == xml_style.document(xml)
    plain, other = ET.fromstring(xml), ET.fromstring(text)
    assert other.findtext("Identification/Machine/ClientID") == "GUID:A&B'\"C"
    assert (other.find("Identification/User") is None) == xml_style.without_empty
    kept = [
        element for element in plain.iter() if not xml_style.without_empty or not _is_empty(element)
    ]
    assert sorted(map(_content, other.iter())) == sorted(map(_content, kept))


def _is_empty(element: ET.Element) -> bool:
    return not (element.attrib or element.text or len(element))


def _content(element: ET.Element) -> tuple[str, list[tuple[str, str]], str]:
    return element.tag, sorted(element.items()), (element.text or "").strip()


WRITTEN = {
    "no declaration": "<User />",
    "no space in empty elements": "<User/>",
    "empty elements with end tag": "<User></User>",
    "lines": "</Machine>\r\n    <User />\r\n  </Identification>",
    "single quotes": "ResourceType='Machine'",
    "declared namespaces": 'xmlns:xsd="http://www.w3.org/2001/XMLSchema"',
    "CDATA": "<PolicySource><![CDATA[SMS:LAB]]></PolicySource>",
    "declaration without encoding": "<?xml version='1.0'?>\r\n<RequestAssignments",
}


@pytest.mark.parametrize("name", WRITTEN)
def test_each_style_differs(name: str) -> None:
    text = documents.policy_request(REGISTERED.guid)
    assert WRITTEN[name] in STYLES[name].document(text)


def test_a_property_value_can_be_text() -> None:
    xml_style = STYLES["property values as text"]
    assert xml_style.element('<a><Property Name="b" Value="c" /></a>') == (
        '<a><Property Name="b">c</Property></a>'
    )
    assert xml_style.element('<a><Property Name="b">c</Property></a>') == (
        '<a><Property Name="b">c</Property></a>'
    )
