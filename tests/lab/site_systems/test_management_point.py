"""The stand-in management point: who may ask, and what it answers (protocol.md 1.7, 3 and 5)."""

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


@pytest.fixture(scope="module", params=["a PKI's certificate", "a certificate of its own"])
def device(request: pytest.FixtureRequest) -> Device:
    if request.param == "a PKI's certificate":
        credential = LabPki.make(now=NOW).computer(PC)
        return Device.of(credential, PC, lambda: NOW)
    return Device.with_own_key(PC, lambda: NOW)


def asked(replies: MessageReplies, request: Request) -> str:
    """The document in its answer."""
    assert request.body is not None
    reply = replies.reply(request.body)
    return (ccm.parse_reply(reply)[1] or "") if reply else ""


def registered(replies: MessageReplies, device: Device) -> dict[str, str]:
    return ET.fromstring(asked(replies, device.registration())).attrib


def got(site: Site, request: Request) -> bytes:
    headers = {name.lower(): value for name, value in request.headers}
    answer = management_point(
        ServerRequest("GET", *split_target(request.target), b"", headers), site
    )
    assert isinstance(answer.body, bytes)
    return answer.body


def impostor(device: Device) -> Device:
    """Who knows all of a client but its key."""
    key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    return dataclasses.replace(device, key=key)


# Registration


def test_a_client_that_registers_gets_a_guid_and_once_more_the_same(device: Device) -> None:
    replies = MessageReplies()
    first = registered(replies, device)
    assert (first["Status"], first["ApprovalStatus"]) == ("0", "1")
    assert first["SMSID"] == client_guid(device.certificate)
    assert registered(replies, device.known_as(first["SMSID"])) == first


def test_a_guid_is_not_given_to_another_key(device: Device) -> None:
    replies = MessageReplies()
    guid = registered(replies, device)["SMSID"]
    thief = Device.with_own_key("pc2.corp.example").known_as(guid)
    assert registered(replies, thief)["Status"] == "3"
    mine = device.known_as(guid)
    assert asked(replies, mine.post("MP_PolicyManager", documents.policy_request(guid)))


def test_a_client_that_nobody_has_approved_is_pending_and_gets_nothing(device: Device) -> None:
    replies = MessageReplies()
    replies.clients.pending.add(PC)
    said = registered(replies, device)
    assert (said["Status"], said["ApprovalStatus"]) == ("1", "0")
    waiting = device.known_as(said["SMSID"])
    request = waiting.post("MP_PolicyManager", documents.policy_request(waiting.guid))
    assert asked(replies, request) == ""
    replies.clients.pending.clear()
    assert registered(replies, waiting)["Status"] == "0"
    assert asked(replies, request)


def test_a_certificate_of_another_kind_than_is_said_is_not_taken(device: Device) -> None:
    lying = dataclasses.replace(device, key_type=3 - device.key_type)
    assert asked(MessageReplies(), lying.registration()) == ""


# Signatures


def test_policy_is_for_clients_that_sign(device: Device) -> None:
    replies = MessageReplies()
    mine = device.known_as(registered(replies, device)["SMSID"])
    xml = documents.policy_request(mine.guid)
    assert asked(replies, mine.post("MP_PolicyManager", xml)) == reply_documents.ASSIGNMENTS
    unsigned = ccm.ccm_post_body(endpoint="MP_PolicyManager", body_xml=xml, client_guid=mine.guid)
    assert replies.reply(unsigned) == b""
    assert asked(replies, impostor(mine).post("MP_PolicyManager", xml)) == ""


def test_a_secret_policy_is_for_whom_it_knows(device: Device) -> None:
    site = Site(0)
    mine = device.known_as(client_guid(device.certificate))
    assert got(site, mine.get(SECRET, signed=True)) == reply_documents.ERROR_PAGE, "not registered"
    registered(site.messages, device)
    assert got(site, mine.get(SECRET, signed=True)).startswith(b"<Policy ")
    assert got(site, mine.get(SECRET)) == reply_documents.ERROR_PAGE
    assert got(site, impostor(mine).get(SECRET, signed=True)) == reply_documents.ERROR_PAGE
    assert got(site, mine.get("/SMS_MP/.sms_pol?{LAB00001}.1_00")).startswith(b"<Policy ")


def test_times_are_the_clients_own(device: Device) -> None:
    written = "2026-07-01T12:00:00Z"
    fields = dict(device.known_as(client_guid(device.certificate)).signed_fields())
    assert written in (fields.get("CCMClientTimestamp") or fields["ClientToken"])
    registration = device.registration().body
    assert registration is not None
    message = ccm.read_message(registration)
    assert ET.fromstring(message.header_xml).findtext("SentTime") == written
    assert f'TimeStamp="{written}"' in (message.body_text() or "")


# Users (USER-WINDOWS-AUTH)


@pytest.mark.parametrize("user", ["CORP\\alice", "alice@CORP.EXAMPLE", "corp\\ALICE"])
def test_a_users_policy_is_for_that_user(device: Device, user: str) -> None:
    replies = MessageReplies()
    mine = device.known_as(registered(replies, device)["SMSID"])
    xml = documents.policy_request(mine.guid, user="CORP\\alice")
    request = mine.post("MP_PolicyManager", xml)
    assert request.body is not None
    text = ccm.parse_reply(replies.reply(request.body, user))[1]
    assert text == reply_documents.user_assignments()
    for other in ("", "CORP\\bob", "OTHER\\alice", "alice@OTHER.EXAMPLE", "alice"):
        assert replies.reply(request.body, other) == b""


def test_and_got_where_windows_has_said_who_asks() -> None:
    target = f"/SMS_MP_WindowsAuth/.sms_pol?{reply_documents.USER_POLICY}.1_00"
    for user, begins in (("CORP\\alice", b"<Policy "), ("", b"<html>")):
        asks = ServerRequest("GET", *split_target(target), b"", {}, user)
        answer = management_point(asks, Site(0))
        assert isinstance(answer.body, bytes)
        assert answer.body.startswith(begins)


# Answers


def test_a_heartbeat_has_a_header_and_a_body_attached(device: Device) -> None:
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
def test_lists_and_keys_have_the_roots_that_microsofts_sdk_wants(
    device: Device, query: str
) -> None:
    """protocol.md 4."""
    for written in (query, query.lower(), f"{query}&LAB"):
        reply = got(Site(0), device.get(f"/SMS_MP/.sms_aut?{written}"))
        assert ET.fromstring(reply).tag == ROOTS[query]
        assert has_root(ROOTS[query])(Response(200, "OK", (), reply))


def test_and_so_has_the_answer_about_applications(device: Device) -> None:
    request = device.post("MP_AppStateManager", documents.application_state())
    assert request.body is not None
    reply = MessageReplies().reply(request.body)
    assert replies_with("AppstateManagerReply")(Response(200, "OK", (), reply))
    assert not replies_with("AppstateManager")(Response(200, "OK", (), reply))


@pytest.mark.parametrize(("endpoint", "root"), reply_documents.BARE)
def test_what_nothing_more_is_known_of_is_answered_all_the_same(
    device: Device, endpoint: str, root: str
) -> None:
    replies = MessageReplies()
    assert asked(replies, device.post(endpoint, f"<{root}/>")).startswith("<")
    assert asked(replies, device.post(endpoint, "<Anything/>")) == ""


LEAKY = [
    ("MP_LocationManager", documents.location_request(root, site=reply_documents.LEAKY_SITE))
    for root in reply_documents.LOCATIONS
]


@pytest.mark.parametrize(("endpoint", "xml"), LEAKY)
def test_a_site_leaks_names_of_the_intranet_only_when_told_to_and_asked(
    device: Device, endpoint: str, xml: str
) -> None:
    leaky, tight = MessageReplies(leaks=True), MessageReplies()
    request = device.post(endpoint, xml)
    assert ".corp.example" in asked(leaky, request)
    assert ".corp.example" not in asked(tight, request)
    harmless = xml.replace(reply_documents.LEAKY_SITE, "LAB")
    assert ".corp.example" not in asked(leaky, device.post(endpoint, harmless))
    assert "bridge.internet.example" in asked(tight, request)


WHERE = [
    ("MP_LocationManager", documents.location_request(root), 'OnInternet="1"', 'OnInternet="0"')
    for root in reply_documents.LOCATIONS
] + [("MP_HinvEndpoint", documents.upload_request(), "Type>1<", "Type>0<")]


@pytest.mark.parametrize(("endpoint", "xml", "outside", "inside"), WHERE)
def test_a_client_is_told_the_names_of_where_it_says_it_is(
    device: Device, endpoint: str, xml: str, outside: str, inside: str
) -> None:
    """CLIENT-MODE."""
    assert ".corp.example" not in asked(MessageReplies(), device.post(endpoint, xml))
    moved = device.post(endpoint, xml.replace(outside, inside))
    assert ".corp.example" in asked(MessageReplies(), moved)


def test_and_policy_for_the_intranet(device: Device) -> None:
    leaky, tight = MessageReplies(leaks=True), MessageReplies()
    guid = client_guid(device.certificate)
    mine = device.known_as(guid)
    asks = mine.post(
        "MP_PolicyManager", documents.policy_request(guid, site=reply_documents.LEAKY_SITE)
    )
    assert 'PolicyFlags="8"' in asked(leaky, asks)
    assert asked(tight, asks) == reply_documents.ASSIGNMENTS
