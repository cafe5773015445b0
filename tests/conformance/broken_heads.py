"""Bridges that read a request head as other parsers do. Each is a replacement of a `Break`."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any


def tolerant(original: Callable[..., Any]) -> Callable[..., Any]:
    return lambda raw, *limits: original(_repaired(raw), *limits)


def _number(text: bytes) -> int:
    """Read a length as tolerant parsers do."""
    digits = re.sub(rb"[+\-_ ]", b"", text)
    # A twin for a length beyond 64 bits: it keeps the lower digits.
    return (int(digits, 16) if digits.startswith(b"0x") else int(digits or b"0")) % 10**18


def _repaired(raw: bytes) -> bytes:
    """Read a head as a tolerant parser does, and write it correctly."""
    line, *fields = re.sub(rb"\r\n[ \t]+", b" ", raw[:-4]).replace(b"\0", b"").splitlines()
    method, target, *version = line.split(maxsplit=2)
    target = re.sub(rb"^https?://[^/]+", b"", target)
    kept, length = [], b""
    for field in fields:
        name, _, value = field.partition(b":")
        if name.lower() == b"content-length":
            found = [_number(text) for text in value.split(b",")]
            length = max(length, b"%d" % max(found), key=int) if length else b"%d" % max(found)
        elif re.fullmatch(rb"[\w-]+\s*", name, re.ASCII) and name.lower() != b"transfer-encoding":
            kept.append(name.strip() + b":" + value)
    if length:
        kept.append(b"Content-Length: " + length)
    wanted = version[0].split()[0] if version and version[0].startswith(b"HTTP/1") else b"HTTP/1.1"
    if not any(field.lower().startswith(b"host:") for field in kept):
        kept.append(b"Host: bridge.internet.example")
    return b"\r\n".join([b" ".join((method, target, wanted)), *kept]) + b"\r\n\r\n"


def version_1_1(original: Callable[..., Any]) -> Callable[..., Any]:
    return lambda raw, *limits: original(
        re.sub(rb" HTTP/1\.[02]", b" HTTP/1.1", raw, count=1), *limits
    )


def borrowed_sign_in(original: Callable[..., Any]) -> Callable[..., Any]:
    """Send the last Authorization of any client with requests that have none."""
    signed_in = [b""]

    def read(raw: bytes, *limits: int) -> object:
        own = re.search(rb"(?i)\r\n(authorization:[^\r]*\r\n)", raw)
        if own:
            signed_in[0] = own[1]
        return original(raw if own else raw[:-2] + signed_in[0] + b"\r\n", *limits)

    return read


def first_host(original: Callable[..., Any]) -> Callable[..., Any]:
    """Use the first Host, or the published name."""

    def read(raw: bytes, *limits: int) -> object:
        line, *fields = raw[:-4].split(b"\r\n")
        hosts = [field for field in fields if field.lower().startswith(b"host:")]
        others = [field for field in fields if field not in hosts]
        host = hosts[0] if hosts else b"Host: bridge.internet.example"
        return original(b"\r\n".join((line, host, *others)) + b"\r\n\r\n", *limits)

    return read


def published_host(original: Callable[..., Any]) -> Callable[..., Any]:
    """Use the published name, whatever Host is."""

    def read(raw: bytes, *limits: int) -> object:
        return original(
            re.sub(rb"(?i)\r\nhost:[^\r]*", b"\r\nHost: bridge.internet.example", raw), *limits
        )

    return read


def large_head(original: Callable[..., Any]) -> Callable[..., Any]:
    return lambda stream, _limit: original(stream, 1_000_000)


def many_fields(original: Callable[..., Any]) -> Callable[..., Any]:
    return lambda raw, *_limits: original(raw, 10_000)
