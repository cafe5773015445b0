"""A PROXY header names the client, and is read as the specification says or refused."""

from __future__ import annotations

import socket
import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ibcm_bridge.decisions import rules
from ibcm_bridge.decisions.denial import Deny, Reason
from ibcm_bridge.routing.proxy_header import (
    MAX_BYTES,
    ProxyHeader,
    read_proxy_header,
    starts_like_proxy_header,
)

SIGNATURE = b"\r\n\r\n\0\r\nQUIT\n"
V4 = (
    socket.inet_aton("203.0.113.7") + socket.inet_aton("192.0.2.1") + struct.pack("!HH", 51000, 443)
)
V6 = (
    socket.inet_pton(socket.AF_INET6, "2001:db8::7")
    + socket.inet_pton(socket.AF_INET6, "2001:db8::1")
    + struct.pack("!HH", 51000, 443)
)
MAPPED = bytes(10) + b"\xff\xff" + V4[:4] + V6[16:]
CRC = b"\x03\0\x04abcd"


def binary(content: bytes, command: int = 0x21, transport: int = 0x11) -> bytes:
    return SIGNATURE + bytes((command, transport)) + struct.pack("!H", len(content)) + content


def padding(header: bytes, size: int) -> bytes:
    """A vector that makes a header `size` bytes long."""
    value = size - len(header) - 3
    return b"\x04" + struct.pack("!H", value) + bytes(value)


LONGEST = binary(V4 + padding(binary(V4), MAX_BYTES))

ACCEPTED: dict[bytes, tuple[str, int] | None] = {
    b"PROXY TCP4 203.0.113.7 192.0.2.1 51000 443\r\n": ("203.0.113.7", 51000),
    b"PROXY TCP4 255.255.255.255 255.255.255.255 65535 65535\r\n": ("255.255.255.255", 65535),
    b"PROXY TCP4 203.0.113.7 192.0.2.1 0 0\r\n": ("203.0.113.7", 0),
    b"PROXY TCP6 2001:db8::7 2001:db8::1 51000 443\r\n": ("2001:db8::7", 51000),
    b"PROXY TCP6 2001:0DB8:0:0:0:0:0:7 2001:db8::1 51000 443\r\n": ("2001:db8::7", 51000),
    b"PROXY TCP6 ::ffff:203.0.113.7 2001:db8::1 51000 443\r\n": ("203.0.113.7", 51000),
    b"PROXY UNKNOWN\r\n": None,
    b"PROXY UNKNOWN " + b"f" * 91 + b"\r\n": None,
    binary(V4): ("203.0.113.7", 51000),
    binary(V6, transport=0x21): ("2001:db8::7", 51000),
    binary(MAPPED, transport=0x21): ("203.0.113.7", 51000),
    binary(V4 + CRC + b"\x04\0\0"): ("203.0.113.7", 51000),
    LONGEST: ("203.0.113.7", 51000),
    binary(b"", 0x20, 0x00): None,
    binary(V4, 0x20, 0x11): None,
    binary(b"anything", 0x20, 0xFF): None,
}

REFUSED = {
    "TLS": b"\x16\x03\x01\x02\0",
    "HTTP": b"GET / HTTP/1.1\r\n\r\n",
    "lower case": b"proxy TCP4 203.0.113.7 192.0.2.1 51000 443\r\n",
    "no space": b"PROXYTCP4",
    "UDP": b"PROXY UDP4 203.0.113.7 192.0.2.1 51000 443\r\n",
    "IPv6 as TCP4": b"PROXY TCP4 2001:db8::7 2001:db8::1 51000 443\r\n",
    "IPv4 as TCP6": b"PROXY TCP6 203.0.113.7 192.0.2.1 51000 443\r\n",
    "two families": b"PROXY TCP4 203.0.113.7 2001:db8::1 51000 443\r\n",
    "a leading zero": b"PROXY TCP4 203.0.113.07 192.0.2.1 51000 443\r\n",
    "three numbers": b"PROXY TCP4 203.0.113 192.0.2.1 51000 443\r\n",
    "a host name": b"PROXY TCP4 localhost 192.0.2.1 51000 443\r\n",
    "a zone": b"PROXY TCP6 fe80::1%eth0 2001:db8::1 51000 443\r\n",
    "a port with a zero": b"PROXY TCP4 203.0.113.7 192.0.2.1 051000 443\r\n",
    "a large port": b"PROXY TCP4 203.0.113.7 192.0.2.1 65536 443\r\n",
    "a signed port": b"PROXY TCP4 203.0.113.7 192.0.2.1 +1 443\r\n",
    "no target port": b"PROXY TCP4 203.0.113.7 192.0.2.1 51000\r\n",
    "a word more": b"PROXY TCP4 203.0.113.7 192.0.2.1 51000 443 x\r\n",
    "two spaces": b"PROXY TCP4  203.0.113.7 192.0.2.1 51000 443\r\n",
    "a space at the end": b"PROXY TCP4 203.0.113.7 192.0.2.1 51000 443 \r\n",
    "a tab": b"PROXY TCP4\t203.0.113.7 192.0.2.1 51000 443\r\n",
    "a bare LF": b"PROXY TCP4 203.0.113.7 192.0.2.1 51000 443\nx\r\n",
    "a control character": b"PROXY UNKNOWN \0\r\n",
    "a letter beyond ASCII": "PROXY UNKNOWN ä\r\n".encode(),
    "digits beyond ASCII": "PROXY TCP4 203.0.113.7 192.0.2.1 51000 443\r\n".replace(
        "7 ", "\N{ARABIC-INDIC DIGIT SEVEN} "
    ).encode(),
    "a long line": b"PROXY UNKNOWN " + b"f" * 92 + b"\r\n",
    "version 1 in binary": binary(V4, 0x11),
    "an unknown command": binary(V4, 0x22),
    "no family": binary(b"", transport=0x00),
    "UDP in binary": binary(V4, transport=0x12),
    "a Unix socket": binary(bytes(216), transport=0x31),
    "addresses cut off": binary(V4[:-1]),
    "an IPv4 address as IPv6": binary(V4, transport=0x21),
    "a cut vector": binary(V4 + CRC[:-1]),
    "half a vector": binary(V4 + b"\x04\0"),
    "a large header": binary(V4 + padding(binary(V4), MAX_BYTES + 1)),
    "a large local header": binary(bytes(MAX_BYTES - 15), 0x20),
}


@pytest.mark.parametrize(("header", "source"), ACCEPTED.items(), ids=lambda value: repr(value)[:60])
def test_a_header_names_the_client(header: bytes, source: tuple[str, int] | None) -> None:
    assert read_proxy_header(header) == ProxyHeader(source, len(header))
    assert starts_like_proxy_header(header)


@pytest.mark.parametrize("header", ACCEPTED, ids=lambda value: repr(value)[:60])
def test_the_data_of_the_client_is_not_part_of_it(header: bytes) -> None:
    assert read_proxy_header(header + b"\x16\x03\x01") == read_proxy_header(header)
    assert read_proxy_header(header + header) == read_proxy_header(header)


@pytest.mark.parametrize("header", ACCEPTED, ids=lambda value: repr(value)[:60])
def test_every_part_of_a_header_is_incomplete(header: bytes) -> None:
    assert {read_proxy_header(header[:length]) for length in range(len(header))} == {None}


@pytest.mark.parametrize("data", REFUSED.values(), ids=REFUSED)
def test_anything_else_is_refused(data: bytes) -> None:
    refused = read_proxy_header(data)
    assert isinstance(refused, Deny)
    assert (refused.reason, refused.rule) == (Reason.PROXY_HEADER, rules.LISTENER_PROXY_PROTOCOL)


def test_a_header_is_refused_by_its_announced_length() -> None:
    assert isinstance(read_proxy_header(REFUSED["a large header"][:16]), Deny)


@given(
    st.binary(max_size=600)
    | st.builds(lambda start, rest: start + rest, st.sampled_from([*ACCEPTED]), st.binary())
    | st.builds(
        lambda header, at, byte: header[: at % len(header)] + byte + header[at % len(header) + 1 :],
        st.sampled_from([*ACCEPTED]),
        st.integers(0, 600),
        st.binary(min_size=1, max_size=1),
    )
)
def test_the_first_decision_is_final(data: bytes) -> None:
    """However the data is divided: the reader decides on a prefix, and never otherwise on more."""
    decided = [
        found
        for length in range(len(data) + 1)
        if (found := read_proxy_header(data[:length])) is not None
    ]
    for found in decided[1:]:
        if isinstance(decided[0], ProxyHeader):
            assert found == decided[0]
        else:
            assert isinstance(found, Deny)
    if decided and isinstance(decided[0], ProxyHeader):
        assert decided[0].length <= min(len(data), MAX_BYTES)
    if len(data) >= MAX_BYTES:
        assert decided, "no data is read beyond the longest header"
