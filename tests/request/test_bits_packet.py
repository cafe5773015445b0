from __future__ import annotations

from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ibcm_bridge.decisions.denial import Deny, Reason
from ibcm_bridge.request.bits_packet import (
    MAX_FIELD,
    MAX_PROTOCOLS,
    ContentRange,
    Packet,
    PacketType,
    read_packet,
)
from ibcm_bridge.request.head import RequestHead, read_request_head

ID = "{7B1AB5AC-1C6D-4B5F-9D8B-1B5E2C9E0A11}"
PROTOCOL = "{7df0354d-249b-430f-820d-3d2a9bef4931}"
SESSION = f"BITS-Session-Id: {ID}"
OTHER_PROTOCOLS = " ".join([ID] * (MAX_PROTOCOLS - 1))

Head = Callable[..., RequestHead]


def head(*fields: str, length: int | None = 0) -> RequestHead:
    sized = (f"Content-Length: {length}",) if length is not None else ()
    lines = ["BITS_POST /CCM_Incoming/x.msg HTTP/1.1", "Host: x", *fields, *sized]
    read = read_request_head(("\r\n".join(lines) + "\r\n\r\n").encode("latin-1"))
    assert isinstance(read, RequestHead)
    return read


def fragment(place: str, length: int, *more: str) -> RequestHead:
    fields = ("BITS-Packet-Type: Fragment", SESSION, f"Content-Range: {place}", *more)
    return head(*fields, length=length)


@pytest.mark.parametrize(
    ("sent", "packet"),
    [
        (head("BITS-Packet-Type: Ping"), Packet(PacketType.PING)),
        (head("BITS-Packet-Type: PING", SESSION), Packet(PacketType.PING, ID)),
        (
            head("BITS-Packet-Type: Create-Session", f"BITS-Supported-Protocols: {PROTOCOL}"),
            Packet(PacketType.CREATE_SESSION),
        ),
        (
            head(
                "BITS-Packet-Type: CREATE-SESSION",
                f"BITS-Supported-Protocols: {OTHER_PROTOCOLS},{PROTOCOL.upper()}",
            ),
            Packet(PacketType.CREATE_SESSION),
        ),
        (
            fragment("bytes 0-9/100", 10),
            Packet(PacketType.FRAGMENT, ID, ContentRange(0, 9, 100)),
        ),
        (
            fragment("BYTES 99-99/100", 1, f"Content-Name: {'x' * MAX_FIELD}"),
            Packet(PacketType.FRAGMENT, ID, ContentRange(99, 99, 100)),
        ),
        (head("BITS-Packet-Type: Close-Session", SESSION), Packet(PacketType.CLOSE_SESSION, ID)),
        (head("bits-packet-type: cancel-session", SESSION), Packet(PacketType.CANCEL_SESSION, ID)),
        (
            head("BITS-Packet-Type: Ping", f"BITS-Session-Id: {'a' * 100}"),
            Packet(PacketType.PING, "a" * 100),
        ),
    ],
)
def test_a_packet_is_parsed(sent: RequestHead, packet: Packet) -> None:
    assert read_packet(sent) == packet


@pytest.mark.parametrize(
    ("sent", "rule"),
    [
        (head(), "bits-packet-type"),
        (head("BITS-Packet-Type: Ack"), "bits-packet-type"),
        (head("BITS-Packet-Type: Ping", "BITS-Packet-Type: Ping"), "bits-packet-type"),
        (head("BITS-Packet-Type: Ping", "BITS-Session-Id: a b"), "bits-session-id"),
        (head("BITS-Packet-Type: Ping", f"BITS-Session-Id: {'a' * 101}"), "bits-session-id"),
        (head("BITS-Packet-Type: Ping", length=1), "content-length"),
        (head("BITS-Packet-Type: Ping", "Content-Encoding: gzip"), "content-encoding"),
        (head("BITS-Packet-Type: Ping", "Content-Encoding: identity"), "content-encoding"),
        (head("BITS-Packet-Type: Close-Session"), "bits-session-id"),
        (head("BITS-Packet-Type: Cancel-Session"), "bits-session-id"),
        (head("BITS-Packet-Type: Close-Session", SESSION, SESSION), "bits-session-id"),
        (
            head("BITS-Packet-Type: Close-Session", SESSION, "Content-Range: bytes 0-0/1"),
            "content-range",
        ),
        (head("BITS-Packet-Type: Create-Session"), "bits-supported-protocols"),
        (
            head("BITS-Packet-Type: Create-Session", f"BITS-Supported-Protocols: {ID}"),
            "bits-supported-protocols",
        ),
        (
            head(
                "BITS-Packet-Type: Create-Session",
                f"BITS-Supported-Protocols: {OTHER_PROTOCOLS} {ID} {PROTOCOL}",
            ),
            "bits-supported-protocols",
        ),
        (
            head(
                "BITS-Packet-Type: Create-Session",
                f"BITS-Supported-Protocols: {PROTOCOL}",
                SESSION,
            ),
            "bits-session-id",
        ),
        (head("BITS-Packet-Type: Fragment", "Content-Range: bytes 0-0/1"), "bits-session-id"),
        (fragment("bytes 0-9/100", 9), "content-range"),
        (fragment("bytes 0-9/100", 11), "content-range"),
        (fragment("bytes 5-4/100", 0), "content-range"),
        (fragment("bytes 0-100/100", 101), "content-range"),
        (fragment("bytes 0-9/*", 10), "content-range"),
        (fragment("bytes */100", 0), "content-range"),
        (fragment("bytes 00-9/100", 10), "content-range"),
        (fragment("bytes  0-9/100", 10), "content-range"),
        (fragment("bytes 0-9/100 ", 11), "content-range"),
        (fragment("lines 0-9/100", 10), "content-range"),
        (fragment(f"bytes 0-9/{10**18}", 10), "content-range"),
        (fragment("bytes 0-9/100", 10, "Content-Range: bytes 0-9/100"), "content-range"),
        (fragment("bytes 0-9/100", 10, f"Content-Name: {'x' * (MAX_FIELD + 1)}"), "content-name"),
    ],
)
def test_a_malformed_packet_is_refused(sent: RequestHead, rule: str) -> None:
    refused = read_packet(sent)
    assert isinstance(refused, Deny)
    assert (refused.reason, refused.rule) == (Reason.UPLOAD_PACKET, f"uploads.{rule}")


def test_the_detail_of_another_length_has_both() -> None:
    refused = read_packet(fragment("bytes 0-9/100", 9))
    assert isinstance(refused, Deny)
    assert refused.detail == "the range has 10 bytes, but Content-Length is 9 bytes"


@pytest.mark.parametrize(
    "fields",
    [
        ("BITS-Packet-Type: Ping",),
        ("BITS-Packet-Type: Create-Session", f"BITS-Supported-Protocols: {PROTOCOL}"),
        ("BITS-Packet-Type: Close-Session", SESSION),
        ("BITS-Packet-Type: Cancel-Session", SESSION),
    ],
)
def test_a_packet_without_a_body_needs_no_length(fields: tuple[str, ...]) -> None:
    # RFC 9112 §6.3: a request without a length has no body.
    read = read_packet(head(*fields, length=None))
    assert isinstance(read, Packet)
    assert read == read_packet(head(*fields))


@pytest.mark.parametrize("place", ["bytes 0-9/100", "bytes 0-0/1", "", "x"])
def test_a_fragment_without_a_length_is_refused(place: str) -> None:
    fields = ("BITS-Packet-Type: Fragment", SESSION, f"Content-Range: {place}")
    refused = read_packet(head(*fields, length=None))
    assert isinstance(refused, Deny)
    assert (refused.reason, refused.rule) == (Reason.LENGTH_REQUIRED, "head.content-length")


def test_a_malformed_packet_without_a_length_is_refused() -> None:
    refused = read_packet(head("BITS-Packet-Type: Ack", length=None))
    assert isinstance(refused, Deny)
    assert (refused.reason, refused.rule) == (Reason.UPLOAD_PACKET, "uploads.bits-packet-type")


@given(
    st.lists(
        st.tuples(
            st.sampled_from(
                (
                    "BITS-Packet-Type",
                    "BITS-Session-Id",
                    "BITS-Supported-Protocols",
                    "Content-Range",
                    "Content-Encoding",
                )
            ),
            st.one_of(
                st.sampled_from(("Fragment", "Ping", "Create-Session", ID, PROTOCOL)),
                st.from_regex(r"bytes [0-9]{1,3}-[0-9]{1,3}/[0-9]{1,3}", fullmatch=True),
                st.text(st.characters(min_codepoint=32, max_codepoint=126), max_size=20),
            ),
        ),
        max_size=6,
    ),
    st.none() | st.integers(0, 1_000),
)
def test_an_accepted_packet_is_well_formed(
    fields: list[tuple[str, str]], length: int | None
) -> None:
    read = read_packet(head(*(f"{name}: {value}" for name, value in fields), length=length))
    if isinstance(read, Packet):
        assert (read.range is not None) == (read.type is PacketType.FRAGMENT)
        if read.range is not None:
            assert read.session
            assert 0 <= read.range.first <= read.range.last < read.range.total
            assert read.range.length == length
        else:
            assert not length
