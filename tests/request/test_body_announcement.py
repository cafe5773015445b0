"""The body that a head announces: length, media type, encoding."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from ibcm_bridge.decisions.denial import Reason
from ibcm_bridge.request.authorization import Authorized
from ibcm_bridge.request.bits_packet import Packet, PacketType
from tests.request.heads import (
    DOWNLOAD,
    ENROL,
    FORM,
    LISTING,
    MESSAGE,
    MULTIPART,
    OTHERS,
    POLICY,
    REPORT,
    SCAN,
    Decide,
    Head,
    allowed,
    denied,
)

# Bodies


@pytest.mark.parametrize("line", [POLICY, DOWNLOAD, ("HEAD", POLICY[1])])
def test_a_body_where_none_is_allowed_is_refused_before_it_is_read(
    decide: Decide, request_head: Head, line: tuple[str, ...]
) -> None:
    allowed(decide(request_head(*line, "Content-Length: 0")))
    for length in (1, 10_000_000_000):
        denial = denied(decide(request_head(*line, f"Content-Length: {length}")))
        assert (denial.reason, denial.rule) == (Reason.BODY_NOT_ALLOWED, "bodies.none.limit")
        assert denial.detail == f"the request has a body of {length} bytes"


@pytest.mark.parametrize(("line", "limit"), [(MESSAGE, 4_194_304), (LISTING, 65_536)])
def test_the_role_table_limits_a_body(
    decide: Decide, request_head: Head, line: tuple[str, ...], limit: int
) -> None:
    allowed(decide(request_head(*line[:3], f"Content-Length: {limit}")))
    denial = denied(decide(request_head(*line[:3], f"Content-Length: {limit + 1}")))
    assert denial.reason is Reason.BODY_TOO_LARGE
    assert denial.detail == f"{limit + 1} bytes; the limit is {limit} bytes"


def test_a_message_needs_a_length(decide: Decide, request_head: Head) -> None:
    assert denied(decide(request_head(*MESSAGE[:3]))).reason is Reason.LENGTH_REQUIRED


@pytest.mark.parametrize("fields", [(), ("Content-Length: 0",), LISTING[2:3]])
def test_a_listing_may_be_requested_without_a_body(
    decide: Decide, request_head: Head, fields: tuple[str, ...]
) -> None:
    allowed(decide(request_head(*LISTING[:2], *fields)))


def test_a_listing_with_a_body_needs_its_media_type(decide: Decide, request_head: Head) -> None:
    denial = denied(decide(request_head(*LISTING[:2], "Content-Length: 10")))
    assert denial.reason is Reason.MEDIA_TYPE


@pytest.mark.parametrize(
    ("length", "reason"),
    [
        (0, Reason.UPLOAD_PACKET),
        (4_194_304, Reason.UPLOAD_PACKET),
        (4_194_305, Reason.BODY_TOO_LARGE),  # 413: BITS sends smaller ones
    ],
)
def test_a_malformed_packet_is_refused_before_its_body_is_read(
    decide: Decide, request_head: Head, length: int, reason: Reason
) -> None:
    head = request_head("BITS_POST", "/CCM_Incoming/x.msg", f"Content-Length: {length}")
    assert denied(decide(head)).reason is reason


BITS = ("BITS_POST", "/CCM_Incoming/x.msg")
PACKETS = (
    ("BITS-Packet-Type: Ping",),
    (
        "BITS-Packet-Type: Create-Session",
        "BITS-Supported-Protocols: {7df0354d-249b-430f-820d-3d2a9bef4931}",
    ),
    ("BITS-Packet-Type: Close-Session", "BITS-Session-Id: {1}"),
    ("BITS-Packet-Type: Cancel-Session", "BITS-Session-Id: {1}"),
)


@pytest.mark.parametrize("fields", PACKETS)
def test_a_packet_without_body_and_length_is_forwarded_with_a_length_of_zero(
    decide: Decide, decide_strictly: Decide, request_head: Head, fields: tuple[str, ...]
) -> None:
    stated = request_head(*BITS, *fields, "Content-Length: 0")
    for decision in (decide, decide_strictly):
        result = allowed(decision(request_head(*BITS, *fields)))
        assert result.head == stated == allowed(decision(stated)).head
        assert result.dropped == ()


def test_a_fragment_without_length_is_refused(decide: Decide, request_head: Head) -> None:
    place = ("BITS-Session-Id: {1}", "Content-Range: bytes 0-9/100")
    fragment = request_head(*BITS, "BITS-Packet-Type: Fragment", *place)
    denial = denied(decide(fragment))
    assert (denial.reason, denial.rule) == (Reason.LENGTH_REQUIRED, "head.content-length")


@pytest.mark.parametrize("line", [POLICY, DOWNLOAD, LISTING[:2]])
def test_the_bridge_adds_a_length_to_no_other_request(
    decide: Decide, request_head: Head, line: tuple[str, ...]
) -> None:
    assert allowed(decide(request_head(*line))).head == request_head(*line)


def test_a_packet_of_an_upload_is_parsed_with_its_head(decide: Decide, request_head: Head) -> None:
    fields = ("BITS-Packet-Type: Ping", "Content-Length: 0")
    allowed = decide(request_head("BITS_POST", "/CCM_Incoming/x.msg", *fields))
    assert isinstance(allowed, Authorized)
    assert allowed.packet == Packet(PacketType.PING)
    coded = request_head("BITS_POST", "/CCM_Incoming/x.msg", *fields, "Content-Encoding: gzip")
    # The field itself would only be dropped.
    assert denied(decide(coded)).reason is Reason.UPLOAD_PACKET


@pytest.mark.parametrize(
    "content_type",
    ["multipart/mixed; boundary=x", "MULTIPART/Mixed ; boundary=x", "multipart/mixed"],
)
def test_a_message_is_multipart_mixed(
    decide: Decide, request_head: Head, content_type: str
) -> None:
    line = (*MESSAGE[:2], f"Content-Type: {content_type}", MESSAGE[3])
    allowed(decide(request_head(*line)))


@pytest.mark.parametrize(
    "lines",
    [
        (),
        ("Content-Type: ",),
        ("Content-Type: application/octet-stream",),
        ("Content-Type: multipart/form-data; boundary=x",),
        ("Content-Type: multipart/mixedx",),
        ("Content-Type: text/xml, multipart/mixed",),
        ("Content-Type: application/x-www-form-urlencoded",),
        (MULTIPART, MULTIPART),
        (MULTIPART, "content-type: text/plain"),
        (MULTIPART, "Content-Encoding: gzip"),
        (MULTIPART, "Content-Encoding: identity"),
    ],
)
def test_a_message_of_another_media_type_is_refused(
    decide: Decide, request_head: Head, lines: tuple[str, ...]
) -> None:
    denial = denied(decide(request_head(*MESSAGE[:2], *lines, MESSAGE[3])))
    assert denial.reason is Reason.MEDIA_TYPE


@pytest.mark.parametrize(
    ("lines", "detail"),
    [
        ((), "no Content-Type"),
        ((MULTIPART, MULTIPART), "empty or repeated Content-Type"),
        (("Content-Type: ",), "empty or repeated Content-Type"),
        (("Content-Type: Text/Plain; x=secret",), "Content-Type is text/plain"),
    ],
)
def test_the_detail_has_the_problem_with_the_media_type(
    decide: Decide, request_head: Head, lines: tuple[str, ...], detail: str
) -> None:
    denial = denied(decide(request_head(*MESSAGE[:2], *lines, MESSAGE[3])))
    assert (denial.reason, denial.detail) == (Reason.MEDIA_TYPE, detail)


@pytest.mark.parametrize("content_type", ["application/json", "multipart/mixed; boundary=x"])
def test_a_listing_of_another_media_type_is_refused(
    decide: Decide, request_head: Head, content_type: str
) -> None:
    denial = denied(decide(request_head(*LISTING[:2], f"Content-Type: {content_type}", LISTING[3])))
    assert denial.reason is Reason.MEDIA_TYPE


@pytest.mark.parametrize(("role", "row"), OTHERS.items())
def test_the_bodies_of_other_roles_have_limits_and_media_types(
    decide_role: Callable[[str], Decide],
    request_head: Head,
    role: str,
    row: tuple[tuple[str, str], list[str], list[str], int],
) -> None:
    line, passing, refused, limit = row
    decide, length = decide_role(role), "Content-Length: 30"
    for media_type in passing:
        content_type = f"Content-Type: {media_type}"
        result = allowed(decide(request_head(*line, content_type, length)))
        assert result.rule == f"{role}.verbs.POST"
        allowed(decide(request_head(*line, content_type, f"Content-Length: {limit}")))
        too_long = request_head(*line, content_type, f"Content-Length: {limit + 1}")
        assert denied(decide(too_long)).reason is Reason.BODY_TOO_LARGE
        coded = request_head(*line, content_type, length, "Content-Encoding: gzip")
        assert denied(decide(coded)).reason is Reason.MEDIA_TYPE
    for media_type in refused:
        head = request_head(*line, f"Content-Type: {media_type}", length)
        assert denied(decide(head)).reason is Reason.MEDIA_TYPE
    unbounded = decide(request_head(*line, f"Content-Type: {passing[0]}"))
    if role != "application-catalog-website-point":  # where a POST may be empty
        assert denied(unbounded).reason is Reason.LENGTH_REQUIRED


@pytest.mark.parametrize(
    ("role", "line", "body"),
    [
        ("fallback-status-point", REPORT, "state-message"),
        # strongSwan's client; RFC 9110 §8.3: without a type, the body is octets.
        ("policy-module", ENROL, "scep"),
        ("software-update-point", SCAN, ""),
        ("application-catalog-website-point", FORM, ""),
    ],
)
def test_some_bodies_may_have_no_content_type(
    decide_role: Callable[[str], Decide],
    request_head: Head,
    role: str,
    line: tuple[str, str],
    body: str,
) -> None:
    result = decide_role(role)(request_head(*line, "Content-Length: 30"))
    if body:
        assert allowed(result).body_rule.name == body
    else:
        assert denied(result).reason is Reason.MEDIA_TYPE
    # An empty field is refused.
    empty = decide_role(role)(request_head(*line, "Content-Type:", "Content-Length: 30"))
    assert denied(empty).reason is Reason.MEDIA_TYPE
