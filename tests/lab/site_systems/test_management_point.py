"""The simulated management point: authorization and replies (protocol.md 1.7, 3 and 5)."""

from __future__ import annotations

import dataclasses
from datetime import UTC, datetime
from xml.etree import ElementTree as ET

import pytest
from cryptography.hazmat.primitives.asymmetric import rsa

from ibcm_bridge.lab.clients.device import Device
from ibcm_bridge.lab.clients.life_cycle import has_root, replies_with
from ibcm_bridge.lab.pki.authorities import LabPki
from ibcm_bridge.lab.protocol import ccm, documents, reply_documents
from ibcm_bridge.lab.protocol.client import Request, Response
from ibcm_bridge.lab.site_systems.message_replies import MessageReplies
from ibcm_bridge.lab.site_systems.registrations import client_guid
from ibcm_bridge.lab.site_systems.server_request import ServerRequest, split_target
from ibcm_bridge.lab.site_systems.stand_ins import Site, management_point

NOW = datetime(2026, 7, 1, 12, 0, 0, 250_000, UTC)
PC = "pc1.corp.example"
SECRET = "/SMS_MP/.sms_pol?LAB20000-LAB00002-6F6BCC28.1_00"


@pytest.fixture(scope="module", params=["PKI certificate", "self-signed certificate"])
def device(request: pytest.FixtureRequest) -> Device:
    if request.param == "PKI certificate":
        credential = LabPki.make(now=NOW).computer(PC)
        return Device.of(credential, PC, lambda: NOW)
    return Device.with_own_key(PC, lambda: NOW)


def reply_document(replies: MessageReplies, request: Request) -> str:
    """Return the document of the reply."""
    assert request.body is not None
    reply = replies.reply(request.body)
    return (ccm.parse_reply(reply)[1] or "") if reply else ""


def registered(replies: MessageReplies, device: Device) -> dict[str, str]:
    return ET.fromstring(reply_document(replies, device.registration())).attrib


def body_of(site: Site, request: Request) -> bytes:
    headers = {name.lower(): value for name, value in request.headers}
    response = management_point(
        ServerRequest("GET", *split_target(request.target), b"", headers), site
    )
    assert isinstance(response.body, bytes)
    return response.body


def impostor(device: Device) -> Device:
    """Return the same client with another key."""
    key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    return dataclasses.replace(device, key=key)


# Registration


def test_a_renewed_registration_gets_the_same_guid(device: Device) -> None:
    replies = MessageReplies()
    first = registered(replies, device)
    assert (first["Status"], first["ApprovalStatus"]) == ("0", "1")
    assert first["SMSID"] == client_guid(device.certificate)
    assert registered(replies, device.with_guid(first["SMSID"])) == first


def test_a_guid_is_refused_for_another_key(device: Device) -> None:
    replies = MessageReplies()
    guid = registered(replies, device)["SMSID"]
    thief = Device.with_own_key("pc2.corp.example").with_guid(guid)
    assert registered(replies, thief)["Status"] == "3"
    mine = device.with_guid(guid)
    assert reply_document(replies, mine.post("MP_PolicyManager", documents.policy_request(guid)))


def test_an_unapproved_client_is_pending_and_gets_an_empty_reply(device: Device) -> None:
    replies = MessageReplies()
    replies.clients.pending.add(PC)
    response = registered(replies, device)
    assert (response["Status"], response["ApprovalStatus"]) == ("1", "0")
    waiting = device.with_guid(response["SMSID"])
    request = waiting.post("MP_PolicyManager", documents.policy_request(waiting.guid))
    assert reply_document(replies, request) == ""
    replies.clients.pending.clear()
    assert registered(replies, waiting)["Status"] == "0"
    assert reply_document(replies, request)


def test_a_wrong_key_type_is_refused(device: Device) -> None:
    wrong = dataclasses.replace(device, key_type=3 - device.key_type)
    assert reply_document(MessageReplies(), wrong.registration()) == ""


# Signatures


def test_policy_requires_a_signature(device: Device) -> None:
    replies = MessageReplies()
    mine = device.with_guid(registered(replies, device)["SMSID"])
    xml = documents.policy_request(mine.guid)
    assert (
        reply_document(replies, mine.post("MP_PolicyManager", xml)) == reply_documents.ASSIGNMENTS
    )
    unsigned = ccm.ccm_post_body(endpoint="MP_PolicyManager", body_xml=xml, client_guid=mine.guid)
    assert replies.reply(unsigned) == b""
    assert reply_document(replies, impostor(mine).post("MP_PolicyManager", xml)) == ""


def test_a_secret_policy_requires_a_registered_client(device: Device) -> None:
    site = Site(0)
    mine = device.with_guid(client_guid(device.certificate))
    assert body_of(site, mine.get(SECRET, signed=True)) == reply_documents.ERROR_PAGE, (
        "not registered"
    )
    registered(site.messages, device)
    assert body_of(site, mine.get(SECRET, signed=True)).startswith(b"<Policy ")
    assert body_of(site, mine.get(SECRET)) == reply_documents.ERROR_PAGE
    assert body_of(site, impostor(mine).get(SECRET, signed=True)) == reply_documents.ERROR_PAGE
    assert body_of(site, mine.get("/SMS_MP/.sms_pol?{LAB00001}.1_00")).startswith(b"<Policy ")


def test_times_are_those_of_the_client(device: Device) -> None:
    written = "2026-07-01T12:00:00Z"
    fields = dict(device.with_guid(client_guid(device.certificate)).signed_fields())
    assert written in (fields.get("CCMClientTimestamp") or fields["ClientToken"])
    registration = device.registration().body
    assert registration is not None
    message = ccm.read_message(registration)
    assert ET.fromstring(message.header_xml).findtext("SentTime") == written
    assert f'TimeStamp="{written}"' in (message.body_text() or "")


# Users (USER-WINDOWS-AUTH)


@pytest.mark.parametrize("user", ["CORP\\alice", "alice@CORP.EXAMPLE", "corp\\ALICE"])
def test_a_user_policy_is_assigned_only_to_that_user(device: Device, user: str) -> None:
    replies = MessageReplies()
    mine = device.with_guid(registered(replies, device)["SMSID"])
    xml = documents.policy_request(mine.guid, user="CORP\\alice")
    request = mine.post("MP_PolicyManager", xml)
    assert request.body is not None
    text = ccm.parse_reply(replies.reply(request.body, user))[1]
    assert text == reply_documents.user_assignments()
    for other in ("", "CORP\\bob", "OTHER\\alice", "alice@OTHER.EXAMPLE", "alice"):
        assert replies.reply(request.body, other) == b""


def test_a_user_policy_requires_an_authenticated_user() -> None:
    target = f"/SMS_MP_WindowsAuth/.sms_pol?{reply_documents.USER_POLICY}.1_00"
    for user, begins in (("CORP\\alice", b"<Policy "), ("", b"<html>")):
        request = ServerRequest("GET", *split_target(target), b"", {}, user)
        response = management_point(request, Site(0))
        assert isinstance(response.body, bytes)
        assert response.body.startswith(begins)


# Replies


def test_a_heartbeat_has_an_attached_header_and_body(device: Device) -> None:
    header, body = documents.heartbeat(client_guid(device.certificate), name=PC)
    request = device.report("MP_DdrEndpoint", body, attached=header)
    assert request.body is not None
    message = ccm.read_message(request.body)
    assert message.body_text() == device.xml_style.document(body)
    assert len(ET.fromstring(message.header_xml).findall("Attachment")) == 2
    assert MessageReplies().reply(request.body) == ccm.NO_REPLY


ROOTS = {
    "MPLIST": "MPList",
    "MPLIST1": "MPList",
    "MPLIST2": "MPList",
    "MPCERT": "MPCertificate",
    "MPCERT2": "MPCertificates",
    "SITESIGNCERT": "X509Data",
    "MPKEYINFORMATION": "MPKEYINFORMATION",
    "MPKEYINFORMATIONEX": "MPKEYINFORMATION",
    "MPTRK": "KEYDATA",
}


@pytest.mark.parametrize("query", ROOTS)
def test_lists_and_keys_have_the_root_elements_of_microsofts_sdk(
    device: Device, query: str
) -> None:
    """protocol.md 4."""
    for written in (query, query.lower(), f"{query}&LAB"):
        reply = body_of(Site(0), device.get(f"/SMS_MP/.sms_aut?{written}"))
        assert ET.fromstring(reply).tag == ROOTS[query]
        assert has_root(ROOTS[query])(Response(200, "OK", (), reply))


def test_the_application_reply_has_the_root_element_of_microsofts_sdk(device: Device) -> None:
    request = device.post("MP_AppStateManager", documents.application_state())
    assert request.body is not None
    reply = MessageReplies().reply(request.body)
    assert replies_with("AppstateManagerReply")(Response(200, "OK", (), reply))
    assert not replies_with("AppstateManager")(Response(200, "OK", (), reply))


@pytest.mark.parametrize(("endpoint", "root"), reply_documents.BARE)
def test_a_request_of_unknown_content_gets_an_empty_document(
    device: Device, endpoint: str, root: str
) -> None:
    replies = MessageReplies()
    assert reply_document(replies, device.post(endpoint, f"<{root}/>")).startswith("<")
    assert reply_document(replies, device.post(endpoint, "<Anything/>")) == ""


LEAKY = [
    ("MP_LocationManager", documents.location_request(root, site=reply_documents.LEAKY_SITE))
    for root in reply_documents.LOCATIONS
]


@pytest.mark.parametrize(("endpoint", "xml"), LEAKY)
def test_only_a_leaking_site_leaks_names_and_only_about_its_site_code(
    device: Device, endpoint: str, xml: str
) -> None:
    leaky, tight = MessageReplies(leaks=True), MessageReplies()
    request = device.post(endpoint, xml)
    assert ".corp.example" in reply_document(leaky, request)
    assert ".corp.example" not in reply_document(tight, request)
    harmless = xml.replace(reply_documents.LEAKY_SITE, "LAB")
    assert ".corp.example" not in reply_document(leaky, device.post(endpoint, harmless))
    assert "bridge.internet.example" in reply_document(tight, request)


NETWORKS = [
    ("MP_LocationManager", documents.location_request(root), 'OnInternet="1"', 'OnInternet="0"')
    for root in reply_documents.LOCATIONS
] + [("MP_HinvEndpoint", documents.upload_request(), "Type>1<", "Type>0<")]


@pytest.mark.parametrize(("endpoint", "xml", "outside", "inside"), NETWORKS)
def test_a_reply_has_the_names_of_the_network_in_the_request(
    device: Device, endpoint: str, xml: str, outside: str, inside: str
) -> None:
    """CLIENT-MODE."""
    assert ".corp.example" not in reply_document(MessageReplies(), device.post(endpoint, xml))
    moved = device.post(endpoint, xml.replace(outside, inside))
    assert ".corp.example" in reply_document(MessageReplies(), moved)


def test_only_a_leaking_site_assigns_an_intranet_only_policy(device: Device) -> None:
    leaky, tight = MessageReplies(leaks=True), MessageReplies()
    guid = client_guid(device.certificate)
    mine = device.with_guid(guid)
    request = mine.post(
        "MP_PolicyManager", documents.policy_request(guid, site=reply_documents.LEAKY_SITE)
    )
    assert 'PolicyFlags="8"' in reply_document(leaky, request)
    assert reply_document(tight, request) == reply_documents.ASSIGNMENTS
