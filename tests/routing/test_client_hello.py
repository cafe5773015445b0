"""A ClientHello: every length must fit (RFC 8446 §4.1.2), and its server name is read."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from mitmproxy.proxy.layers.tls import parse_client_hello

from ibcm_bridge.decisions.denial import Deny, Reason
from ibcm_bridge.routing.client_hello import (
    ClientHelloFacts,
    read_client_hello,
    whole_client_hello,
)

START = b"\x03\x03" + bytes(32)


def sni(*names: bytes, kind: bytes = b"\0") -> bytes:
    """A server_name extension (RFC 6066 §3)."""
    listed = b"".join(kind + len(name).to_bytes(2) + name for name in names)
    content = len(listed).to_bytes(2) + listed
    return b"\0\0" + len(content).to_bytes(2) + content


SNI = sni(b"a.example")
OTHER = b"\x7f\x7f\0\0"


def extended(*extensions: bytes) -> bytes:
    joined = b"".join(extensions)
    return len(joined).to_bytes(2) + joined


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
    "the server name last": body(extensions=extended(OTHER, SNI)),
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
    "two server names": body(extensions=extended(sni(b"a.example", b"b.example"))),
    "a name of an unknown type": body(extensions=extended(sni(b"a.example", kind=b"\1"))),
    "no server name in its extension": body(extensions=extended(sni())),
    "an empty server name extension": body(extensions=extended(b"\0\0\0\0")),
    "a byte after the server name": body(
        extensions=extended(b"\0\0\0\x0f\0\x0c\0\0\x09a.example\0")
    ),
    "a server name that is cut off": body(extensions=extended(b"\0\0\0\x0d\0\x0b\0\0\x09a.exampl")),
}


WITHOUT_NAME = {"without extensions (TLS 1.2)", "an empty list of extensions"}


@pytest.mark.parametrize("kind", GOOD)
def test_a_well_formed_hello(kind: str) -> None:
    name = None if kind in WITHOUT_NAME else "a.example"
    assert read_client_hello(GOOD[kind]) == ClientHelloFacts(name)


@pytest.mark.parametrize("data", BAD.values(), ids=BAD)
def test_a_malformed_hello(data: bytes) -> None:
    refused = read_client_hello(data)
    assert isinstance(refused, Deny)
    assert refused.reason is Reason.CLIENT_HELLO_MALFORMED


@pytest.mark.parametrize("length", range(len(body())))
def test_a_shorter_hello_is_well_formed_only_without_extensions(length: int) -> None:
    read = read_client_hello(body()[:length])
    assert isinstance(read, ClientHelloFacts) == (length == len(body(extensions=b"")))


@given(st.binary(max_size=200))
def test_any_data_is_judged(data: bytes) -> None:
    assert isinstance(read_client_hello(data), ClientHelloFacts | Deny)
    assert isinstance(whole_client_hello(data), bytes | Deny | None)


@pytest.mark.parametrize("name", [b"\xff.example", b"a\0.example", b"A.Example", b"192.0.2.1"])
def test_a_server_name_is_read_as_it_is_and_always_as_ascii(name: bytes) -> None:
    read = read_client_hello(body(extensions=extended(sni(name))))
    assert read == ClientHelloFacts(name.decode("ascii", "backslashreplace"))


def test_two_extensions_with_a_server_name_are_not_one_name() -> None:
    read = read_client_hello(body(extensions=extended(SNI, OTHER, sni(b"b.example"))))
    assert read == ClientHelloFacts("a.example, b.example")


def in_one_record(body: bytes) -> bytes:
    message = b"\x01" + len(body).to_bytes(3) + body
    return b"\x16\x03\x01" + len(message).to_bytes(2) + message


def test_a_hello_is_whole_with_its_last_byte() -> None:
    records = in_one_record(body())
    assert whole_client_hello(records) == body()
    assert whole_client_hello(records + b"more") == body()
    for length in range(len(records)):
        assert whole_client_hello(records[:length]) is None


def test_a_hello_ends_where_its_length_says() -> None:
    message = b"\x01" + len(body()).to_bytes(3) + body() + b"\x02\0\0\0"
    assert whole_client_hello(b"\x16\x03\x01" + len(message).to_bytes(2) + message) == body()


@given(st.data())
def test_mitmproxy_reads_the_same_name(data: st.DataObject) -> None:
    """It reads all that this module reads, with the same valid name."""
    changed = bytearray(body(extensions=extended(OTHER, SNI)))
    for _ in range(data.draw(st.integers(0, 3))):
        changed[data.draw(st.integers(0, len(changed) - 1))] = data.draw(st.integers(0, 255))
    read = read_client_hello(bytes(changed))
    if isinstance(read, Deny):
        return
    try:
        hello = parse_client_hello(in_one_record(bytes(changed)))
    except ValueError:
        # It also reads the content of ALPN.
        assert b"\0\x10" in changed
        return
    assert hello is not None
    # It has no name where this module has one that is not a host name.
    assert hello.sni in (read.server_name, None)
