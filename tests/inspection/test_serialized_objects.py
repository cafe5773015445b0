"""Serialized .NET objects below other encodings, in cookies and events of SOAP (SUP-WSUS)."""

from __future__ import annotations

import base64
import random
from collections.abc import Callable
from urllib.parse import quote

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ibcm_bridge.decisions.denial import Deny, Reason
from ibcm_bridge.inspection.scan import read_and_scan
from ibcm_bridge.inspection.serialized_objects import serialized_problem
from ibcm_bridge.inspection.subject import CleanBody, Subject
from ibcm_bridge.messages.limits import MAX_SOAP_PIECES
from ibcm_bridge.messages.soap import SHARED, SOAP_1_1
from ibcm_bridge.policy_file import shipped_roles

STREAM = bytes.fromhex("0001000000ffffffff0100000000000000") + b"\x0c\x02" + bytes(60)
"""[MS-NRBF] section 2.6.1: the header of a stream, and the start of its content."""
SEALED = random.Random(0).randbytes(len(STREAM))
"""A twin without a stream: an encrypted value."""
FOUND = "a .NET BinaryFormatter stream"


def b64(data: bytes) -> bytes:
    return base64.b64encode(data)


def escaped(data: bytes) -> bytes:
    return quote(data, safe="").encode()


def all_escaped(data: bytes) -> bytes:
    return "".join(f"%{byte:02x}" for byte in data).encode()


def lines(data: bytes) -> bytes:
    return base64.encodebytes(data)


WAYS: dict[str, Callable[[bytes], bytes]] = {
    "base64": b64,
    "base64 for URLs": base64.urlsafe_b64encode,
    "base64 of base64": lambda data: b64(b64(data)),
    "base64 of base64 of base64": lambda data: b64(b64(b64(data))),
    "base64 in lines": lines,
    "base64 of base64 in lines": lambda data: lines(lines(data)),
    "base64 of base64 with spaces": lambda data: b" ".join(b64(b64(data)).partition(b"F")),
    "escaped": lambda data: escaped(b64(data)),
    "all escaped": lambda data: all_escaped(b64(data)),
    "escaped twice": lambda data: escaped(escaped(b64(data))),
    "escaped base64 of base64": lambda data: escaped(b64(b64(data))),
    "base64 of escaped": lambda data: b64(escaped(b64(data))),
    "base64 of all escaped": lambda data: b64(all_escaped(b64(data))),
    "base64 of hexadecimal": lambda data: b64(data.hex().encode()),
    "after bytes": lambda data: b64(b"x" + data),
    "after two bytes": lambda data: b64(b64(b"xy" + data)),
    "after text": lambda data: b64(b"value: " + b64(data)),
    "after letters": lambda data: b"abc" + b64(b64(data)),
}


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("before", ["", "A=", "A=text, then "])
def test_a_stream_is_found_below_other_encodings(way: str, before: str) -> None:
    assert serialized_problem(["0", before + WAYS[way](STREAM).decode()]) == FOUND
    assert not serialized_problem(["0", before + WAYS[way](SEALED).decode()])


def test_a_stream_of_any_root_is_found() -> None:
    other = STREAM.replace(b"\1", b"\7", 1)
    assert serialized_problem([b64(b64(other)).decode()]) == FOUND
    assert not serialized_problem([b64(b64(other.replace(b"\xff", b"\xfe"))).decode()])


def test_two_texts_are_not_one_value() -> None:
    value = b64(STREAM).decode()
    assert not serialized_problem([value[:8], value[8:]])


@given(st.binary(max_size=200), st.sampled_from(sorted(WAYS)))
def test_encrypted_values_are_allowed(data: bytes, way: str) -> None:
    # 0xFF is not in them, so they contain no header.
    assert not serialized_problem([WAYS[way](data.replace(b"\xff", b"")).decode()])


@pytest.mark.parametrize("count", [MAX_SOAP_PIECES, MAX_SOAP_PIECES + 1])
def test_the_number_of_escapes_is_limited(count: int) -> None:
    problem = serialized_problem(["%20" * count])
    assert problem == ("" if count == MAX_SOAP_PIECES else "more than 100000 percent signs")


def cookie(value: bytes) -> str:
    return f"<cookie><EncryptedData>{value.decode()}</EncryptedData></cookie>"


def subject(value: bytes = b"", misc: bytes = b"") -> Subject:
    """A report with this cookie, and this value in MiscData."""
    batch = (
        "<eventBatch><ReportingEvent><ExtendedData><MiscData>"
        f"<string>A={misc.decode()}</string></MiscData></ExtendedData></ReportingEvent></eventBatch>"
    )
    body = (
        f'<s:Envelope xmlns:s="{SOAP_1_1}"><s:Body><ReportEventBatch xmlns="{SHARED}">'
        f"{cookie(value)}<clientTime/>{batch}</ReportEventBatch></s:Body></s:Envelope>"
    )
    return Subject(
        shipped_roles().bodies["soap"],
        b"text/xml; charset=utf-8",
        body.encode(),
        path="reportingwebservice/reportingwebservice.asmx",
        soap_action=(f'"{SHARED}/ReportEventBatch"'.encode(),),
    )


def denied(found: CleanBody | Deny) -> str:
    assert isinstance(found, Deny)
    assert (found.reason, found.rule) == (Reason.SOAP_CONTENT, "bodies.soap.serialized")
    return found.detail


@pytest.mark.parametrize("way", ["base64 of base64", "base64 of escaped", "after text"])
def test_a_stream_in_a_cookie_is_refused(way: str) -> None:
    assert denied(read_and_scan(subject(WAYS[way](STREAM)), [])) == FOUND
    assert isinstance(read_and_scan(subject(WAYS[way](SEALED)), []), CleanBody)


@pytest.mark.parametrize("way", WAYS)
def test_a_stream_in_an_event_is_refused(way: str) -> None:
    assert denied(read_and_scan(subject(misc=WAYS[way](STREAM)), [])) == FOUND
    assert isinstance(read_and_scan(subject(misc=WAYS[way](SEALED)), []), CleanBody)
