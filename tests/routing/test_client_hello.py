"""The form of a ClientHello: every length must fit (RFC 8446 §4.1.2)."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ibcm_bridge.routing.client_hello import is_well_formed

START = b"\x03\x03" + bytes(32)
SNI = b"\0\0\0\x0e\0\x0c\0\0\x09a.example"
OTHER = b"\x7f\x7f\0\0"


def body(
    session: bytes = b"\0",
    suites: bytes = b"\0\x02\x13\x01",
    methods: bytes = b"\x01\0",
    extensions: bytes = len(SNI + OTHER).to_bytes(2) + SNI + OTHER,
) -> bytes:
    return START + session + suites + methods + extensions


GOOD = {
    "usual": body(),
    "without extensions (TLS 1.2)": body(extensions=b""),
    "an empty list of extensions": body(extensions=b"\0\0"),
    "a session id of 32 bytes": body(session=b"\x20" + bytes(32)),
    "two methods": body(methods=b"\x02\x01\0"),
}

BAD = {
    "empty": b"",
    "only version and random": START,
    "a session id of 33 bytes": body(session=b"\x21" + bytes(33)),
    "no cipher suites": body(suites=b"\0\0"),
    "half a cipher suite": body(suites=b"\0\x03\x13\x01\x13"),
    "no compression method": body(methods=b"\0"),
    "bytes after the extensions": body() + b"\0",
    "an extension that is cut off": body(extensions=b"\0\x05\0\0\0\x05a"),
    "half an extension": body(extensions=b"\0\x03\0\0\0"),
    "extensions that are cut off": body()[:-1],
    "half a length": body(extensions=b"\0"),
}


@pytest.mark.parametrize("data", GOOD.values(), ids=GOOD)
def test_a_well_formed_hello(data: bytes) -> None:
    assert is_well_formed(data)


@pytest.mark.parametrize("data", BAD.values(), ids=BAD)
def test_a_malformed_hello(data: bytes) -> None:
    assert not is_well_formed(data)


@pytest.mark.parametrize("length", range(len(body())))
def test_a_shorter_hello_is_well_formed_only_without_extensions(length: int) -> None:
    assert is_well_formed(body()[:length]) == (length == len(body(extensions=b"")))


@given(st.binary(max_size=200))
def test_any_data_is_judged(data: bytes) -> None:
    assert is_well_formed(data) in (True, False)
