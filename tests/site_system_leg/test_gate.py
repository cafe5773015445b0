"""The last gate: only an approved request passes, and only unchanged."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest

from ibcm_bridge.decisions.denial import Deny, Reason
from ibcm_bridge.decisions.rules import Rule
from ibcm_bridge.identity.approval import Approved
from ibcm_bridge.inspection.verdict import Inspected, inspect
from ibcm_bridge.request.authorization import Authorized
from ibcm_bridge.request.head import RequestHead
from ibcm_bridge.site_system_leg.gate import gate
from ibcm_bridge.uploads.session import UploadPart

Decide = Callable[[RequestHead], Authorized | Deny]
Head = Callable[..., RequestHead]
Speak = Callable[[Inspected], Approved | Deny]

BODY = b'<propfind xmlns="DAV:"><allprop/></propfind>'
PACKAGE = "/SMS_DP_SMSPKG$/Content_11111111-2222-3333-4444-555555555555.1"
LINES = ("Content-Type: text/xml", f"Content-Length: {len(BODY)}", "Depth: 1", "X-Unlisted: 1")
LISTING = ("PROPFIND", PACKAGE, *LINES)


@pytest.fixture(scope="module")
def head(request_head: Head) -> RequestHead:
    return request_head(*LISTING)


@pytest.fixture(scope="module")
def approved(decide: Decide, speak: Speak, head: RequestHead) -> Approved:
    authorized = decide(head)
    assert isinstance(authorized, Authorized)
    inspected = inspect(authorized, BODY, [])
    assert isinstance(inspected, Inspected)
    decision = speak(inspected)
    assert isinstance(decision, Approved)
    return decision


def defect(result: Approved | Deny) -> str:
    assert isinstance(result, Deny)
    assert result.reason is Reason.BRIDGE_DEFECT
    return result.detail


def test_an_approved_request_passes(approved: Approved, head: RequestHead) -> None:
    assert approved.authorized.dropped == ("X-Unlisted",)
    assert gate(approved, head, BODY) is approved


def test_nothing_passes_without_a_decision(head: RequestHead) -> None:
    assert "not approved" in defect(gate(None, head, BODY))


def test_an_authorized_head_alone_does_not_pass(approved: Approved, head: RequestHead) -> None:
    assert "not approved" in defect(gate(approved.authorized, head, BODY))  # type: ignore[arg-type]


def test_an_inspected_request_without_an_approved_identity_does_not_pass(
    approved: Approved, head: RequestHead
) -> None:
    assert "not approved" in defect(gate(approved.inspected, head, BODY))  # type: ignore[arg-type]


def test_a_denial_is_returned_unchanged(head: RequestHead) -> None:
    denial = Deny(Reason.VERB, Rule("rule"))
    assert gate(denial, head, BODY) is denial


@pytest.mark.parametrize("body", [b"", BODY[:-1], BODY + b"x", b"<PROPFIND/>"])
def test_another_body_does_not_pass(approved: Approved, head: RequestHead, body: bytes) -> None:
    assert "another body" in defect(gate(approved, head, body))


@pytest.mark.parametrize(
    "line",
    [
        ("GET", *LISTING[1:]),
        ("propfind", *LISTING[1:]),
        ("PROPFIND", f"{PACKAGE}0", *LINES),
        ("PROPFIND", PACKAGE.lower(), *LINES),
        ("PROPFIND", f"{PACKAGE}/", *LINES),
        ("PROPFIND", f"{PACKAGE}?", *LINES),
        ("PROPFIND", PACKAGE, LINES[0], "Content-Length: 12", *LINES[2:]),
        ("PROPFIND", PACKAGE, LINES[0], *LINES[2:]),
    ],
)
def test_another_request_does_not_pass(
    approved: Approved, request_head: Head, line: tuple[str, ...]
) -> None:
    assert "another request" in defect(gate(approved, request_head(*line), BODY))


@pytest.mark.parametrize(
    "fields",
    [
        lambda fields: fields[1:],
        lambda fields: fields[::-1],
        lambda fields: tuple((name.lower(), value) for name, value in fields),
        lambda fields: tuple((name, value + b"0") for name, value in fields),
        lambda _: (),
    ],
)
def test_other_header_fields_do_not_pass(
    approved: Approved,
    head: RequestHead,
    fields: Callable[[tuple[tuple[bytes, bytes], ...]], tuple[tuple[bytes, bytes], ...]],
) -> None:
    received = replace(head, fields=fields(head.fields))
    assert "other header fields" in defect(gate(approved, received, BODY))


def test_an_approval_cannot_add_a_field(approved: Approved, head: RequestHead) -> None:
    sent = approved.authorized.head
    for added in ((b"X-Added", b"1"), sent.fields[0]):
        wider = replace(sent, fields=(*sent.fields, added))
        authorized = replace(approved.authorized, head=wider)
        forged = replace(approved, inspected=replace(approved.inspected, authorized=authorized))
        assert "other header fields" in defect(gate(forged, head, BODY))


def test_the_approval_of_one_request_is_not_valid_for_the_next(
    approved: Approved, head: RequestHead, request_head: Head
) -> None:
    assert gate(approved, head, BODY) is approved
    second = request_head("PROPFIND", f"{PACKAGE}2", *LINES)
    assert "another request" in defect(gate(approved, second, BODY))


# A request without a body and without a length

PING = ("BITS_POST", "/CCM_Incoming/x.msg", "BITS-Packet-Type: Ping", "Accept: */*")


@pytest.fixture(scope="module")
def stated(decide: Decide, speak: Speak, request_head: Head) -> Approved:
    """The approval of a packet without a length, which is forwarded with a length."""
    authorized = decide(request_head(*PING))
    assert isinstance(authorized, Authorized)
    assert authorized.head.fields[-1] == (b"Content-Length", b"0")
    assert authorized.packet is not None
    inspected = inspect(authorized, b"", [], UploadPart(authorized.packet, None))
    assert isinstance(inspected, Inspected)
    decision = speak(inspected)
    assert isinstance(decision, Approved)
    return decision


def test_a_length_of_zero_may_be_added_to_a_request_without_one(
    stated: Approved, request_head: Head
) -> None:
    assert gate(stated, request_head(*PING), b"") is stated
    assert gate(stated, request_head(*PING, "Content-Length: 0"), b"") is stated


def test_a_length_of_zero_requires_an_empty_body(stated: Approved, request_head: Head) -> None:
    assert "another body" in defect(gate(stated, request_head(*PING), b"x"))
    longer = request_head(*PING, "Content-Length: 1")
    assert "another request" in defect(gate(stated, longer, b""))


def test_no_other_field_may_be_added(stated: Approved, request_head: Head) -> None:
    sent = stated.authorized.head
    length, others = sent.fields[-1], sent.fields[:-1]
    for fields in (
        (length, *others),
        (*others, length, length),
        (*others, (b"Content-Length", b"1")),
        (*others, (b"Content-Length", b"00")),
        (*others, length, (b"X-Added", b"1")),
        (*others, (b"X-Added", b"1"), length),
    ):
        authorized = replace(stated.authorized, head=replace(sent, fields=fields))
        forged = replace(stated, inspected=replace(stated.inspected, authorized=authorized))
        assert "other header fields" in defect(gate(forged, request_head(*PING), b""))


def test_an_approval_cannot_remove_the_length(stated: Approved, request_head: Head) -> None:
    bare = request_head(*PING)
    authorized = replace(stated.authorized, head=bare)
    forged = replace(stated, inspected=replace(stated.inspected, authorized=authorized))
    assert gate(forged, bare, b"") is forged
    with_length = request_head(*PING, "Content-Length: 0")
    assert "another request" in defect(gate(forged, with_length, b""))
