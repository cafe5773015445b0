"""Reads the PROXY header, in which a load balancer names the client of a connection.

Versions 1 and 2 of "The PROXY protocol" (Willy Tarreau, HAProxy). The reader is strict: what the
specification does not define is refused, and so is a client that is not connected by TCP.
"""

from __future__ import annotations

import ipaddress
import re
from dataclasses import dataclass

from ibcm_bridge.decisions import rules
from ibcm_bridge.decisions.denial import Deny, Reason
from ibcm_bridge.policy.addresses import Address, plain_ip

MAX_BYTES = 536
"""The longest header: what the smallest IPv4 host must accept in one TCP segment (§2)."""

TEXT_BYTES = 107
"""The longest header of version 1 (§2.1)."""

_TEXT = b"PROXY "
_SIGNATURE = b"\r\n\r\n\0\r\nQUIT\n"
_PRINTABLE = re.compile(rb"[ -~]+")
_PORT = re.compile("0|[1-9][0-9]{0,4}")
_IP_VERSIONS = {"TCP4": 4, "TCP6": 6}

_FIXED = 16
_LOCAL, _PROXY = 0x20, 0x21
_ADDRESS_BYTES = {0x11: 4, 0x21: 16}
"""The transport and family of TCP over IPv4 and IPv6 -> the bytes of an IP address."""


@dataclass(frozen=True, slots=True)
class ProxyHeader:
    """A complete header."""

    source: Address | None
    """The client. None if the balancer connected for itself, for example a health check."""
    length: int
    """The bytes of the header. The client's own data begins after them."""


def read_proxy_header(data: bytes) -> ProxyHeader | Deny | None:
    """Read the header at the beginning of a connection. Return None if it is not complete."""
    if data.startswith(_TEXT):
        return _text_header(data)
    if data.startswith(_SIGNATURE):
        return _binary_header(data)
    if _TEXT.startswith(data) or _SIGNATURE.startswith(data):
        return None
    return _refused("no PROXY header")


def starts_like_proxy_header(data: bytes) -> bool:
    """Return whether data begins as a header does, as far as it has arrived."""
    return data.startswith((_TEXT, _SIGNATURE))


def _text_header(data: bytes) -> ProxyHeader | Deny | None:
    end = data.find(b"\r\n", 0, TEXT_BYTES)
    if end < 0:
        long = _refused(f"no end of line in {TEXT_BYTES} bytes")
        return None if len(data) < TEXT_BYTES else long
    line, length = data[:end], end + 2
    if not _PRINTABLE.fullmatch(line):
        return _refused("not a line of printable text")
    _, transport, *words = line.decode("ascii").split(" ")
    if transport == "UNKNOWN":
        # Anything may follow it, and has no meaning (§2.1).
        return ProxyHeader(None, length)
    try:
        source_host, target_host, source_port, target_port = words
        version = _IP_VERSIONS[transport]
        host, _ = _ip(source_host, version), _ip(target_host, version)
        port, _ = _port(source_port), _port(target_port)
    except (KeyError, ValueError):
        return _refused("a malformed line")
    return ProxyHeader((host, port), length)


def _ip(text: str, version: int) -> str:
    address = ipaddress.ip_address(text)
    if address.version != version or "%" in text:
        raise ValueError("another family, or a zone, which only the balancer knows")
    return plain_ip(text).compressed


def _port(text: str) -> int:
    if not _PORT.fullmatch(text) or int(text) > 65_535:
        raise ValueError("not a port")
    return int(text)


def _binary_header(data: bytes) -> ProxyHeader | Deny | None:
    if len(data) < _FIXED:
        return None
    command, transport, length = data[12], data[13], _FIXED + int.from_bytes(data[14:16])
    if command not in (_LOCAL, _PROXY):
        return _refused(f"an unknown version and command, {command:#04x}")
    if length > MAX_BYTES:
        return _refused(f"{length} bytes, more than {MAX_BYTES}")
    if len(data) < length:
        return None
    if command == _LOCAL:
        # The addresses have no meaning (§2.2).
        return ProxyHeader(None, length)
    size = _ADDRESS_BYTES.get(transport)
    if size is None:
        return _refused(f"not a client over TCP: {transport:#04x}")
    addresses, ports = _FIXED, _FIXED + 2 * size
    if length < ports + 4 or not _are_whole_vectors(data[ports + 4 : length]):
        return _refused("a length that does not fit the content")
    host = ipaddress.ip_address(data[addresses : addresses + size]).compressed
    return ProxyHeader((plain_ip(host).compressed, int.from_bytes(data[ports : ports + 2])), length)


def _are_whole_vectors(data: bytes) -> bool:
    """Return whether data is type-length-value vectors (§2.2). They are ignored."""
    while data:
        end = 3 + int.from_bytes(data[1:3])
        if len(data) < end:
            return False
        data = data[end:]
    return True


def _refused(detail: str) -> Deny:
    return Deny(Reason.PROXY_HEADER, rules.LISTENER_PROXY_PROTOCOL, detail)
