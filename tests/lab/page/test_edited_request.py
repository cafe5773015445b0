"""A request as texts, and the edited texts as a request again."""

from __future__ import annotations

import datetime

import pytest

from ibcm_bridge.decisions.denial import Deny
from ibcm_bridge.lab.cases.case import ClientCertificate, credentials, senders
from ibcm_bridge.lab.cases.requests import Senders
from ibcm_bridge.lab.cases.table import CASES
from ibcm_bridge.lab.page.edited_request import MAX_TEXT, NotARequest, editable_body, edited_body
from ibcm_bridge.lab.pki.authorities import LabPki
from ibcm_bridge.lab.protocol import ccm, signing
from ibcm_bridge.lab.protocol.client import Request
from ibcm_bridge.messages.ccm import read_ccm_request

LIMIT = 1_000_000


@pytest.fixture(scope="module")
def senders_by_client() -> dict[ClientCertificate, Senders]:
    return senders(credentials(LabPki.make(now=datetime.datetime.now(datetime.UTC))))


@pytest.fixture(scope="module")
def who(senders_by_client: dict[ClientCertificate, Senders]) -> Senders:
    return senders_by_client[ClientCertificate.COMPUTER]


def request_of(case: str, who: Senders) -> Request:
    return next(known for known in CASES if known.id == case).request(who)


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.id)
def test_an_unchanged_body_keeps_its_bytes(
    senders_by_client: dict[ClientCertificate, Senders], case: object
) -> None:
    assert isinstance(case, type(CASES[0]))
    client = senders_by_client[case.client]
    request = case.request(client)
    texts = [text.text for text in editable_body(request).texts]
    assert edited_body(request, texts, client.me.key) == request.body


def test_a_message_has_a_header_and_a_payload(who: Senders) -> None:
    body = editable_body(request_of("inventory-report", who))
    header, payload = body.texts
    assert (header.title, payload.title) == ("Message header", "Message payload")
    assert "<TargetEndpoint>MP_HinvEndpoint</TargetEndpoint>" in header.text
    assert "<Report" in payload.text
    assert body.signed
    assert body.note == ""


@pytest.mark.parametrize("signed", [True, False])
def test_a_changed_payload_is_a_message_with_the_right_length(who: Senders, signed: bool) -> None:
    request = request_of("inventory-report", who)
    header, payload = [text.text for text in editable_body(request).texts]
    changed = payload.replace("</Report>", "<New>value</New></Report>")
    assert changed != payload
    body = edited_body(request, [header, changed], who.me.key if signed else None)
    assert body is not None
    read = read_ccm_request(ccm.CONTENT_TYPE.encode(), body, LIMIT)
    assert not isinstance(read, Deny)
    assert "<New>value</New>" in read.documents[0].text
    properties = ccm.read_message(body).hook_properties()
    key = who.me.key.public_key()
    valid = signing.verifies(key, properties["PayloadSignature"], read.payload.body)
    assert valid is signed


def test_another_client_guid_is_signed_with_the_own_key(who: Senders) -> None:
    request = request_of("inventory-report", who)
    header, payload = [text.text for text in editable_body(request).texts]
    me, other = signing.smsid(who.me.guid), signing.smsid(who.other.guid)
    assert me in header
    body = edited_body(request, [header.replace(me, other), payload], who.me.key)
    assert body is not None
    signature = ccm.read_message(body).hook_properties()["ClientIDSignature"]
    key = who.me.key.public_key()
    assert signing.verifies(key, signature, signing.terminated(other))
    assert not signing.verifies(key, signature, signing.terminated(me))


def test_line_ends_of_a_browser_become_those_of_the_body() -> None:
    request = Request("POST", "/x", (), b"one\r\ntwo\r\n")
    assert edited_body(request, ["one\ntwo\n"], None) == b"one\r\ntwo\r\n"
    assert edited_body(request, ["one\nnew\n"], None) == b"one\r\nnew\r\n"


def test_a_text_in_utf_16_stays_in_utf_16() -> None:
    request = Request("POST", "/x", (), "\ufeff<r/>".encode("utf-16-le"))
    assert editable_body(request).texts[0].text == "<r/>"
    assert edited_body(request, ["<new/>"], None) == "\ufeff<new/>".encode("utf-16-le")


def test_a_request_without_a_body_gets_one_by_its_text() -> None:
    request = Request("GET", "/x")
    assert edited_body(request, [""], None) is None
    assert edited_body(request, ["new"], None) == b"new"


@pytest.mark.parametrize("body", [b"\x00\x01\x02", b"\xff\xff", b"x" * (MAX_TEXT + 1)])
def test_a_body_that_is_not_text_is_sent_unchanged(body: bytes) -> None:
    request = Request("POST", "/x", (), body)
    shown = editable_body(request)
    assert shown.texts == ()
    assert shown.note == f"The body is not text: its {len(body):,} bytes are sent unchanged."
    assert edited_body(request, [], None) == body


@pytest.mark.parametrize(
    ("texts", "why"),
    [
        ([], "begin again"),
        (["x" * (MAX_TEXT + 1)], "longer than 24,000"),
        (["\ud800"], "surrogate"),
    ],
)
def test_texts_that_are_not_a_body_get_a_sentence(texts: list[str], why: str) -> None:
    with pytest.raises(NotARequest, match=why):
        edited_body(Request("POST", "/x", (), b"text"), texts, None)
