"""The texts in a request: its head, and its body decoded as far as it can be.

A message that the bridge refuses is also shown, so this does not use its strict parsers for more
than the frame.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from ibcm_bridge.decisions.denial import Deny
from ibcm_bridge.lab.protocol.client import Request, request_bytes
from ibcm_bridge.messages.ccm import inflate
from ibcm_bridge.messages.multipart import read_multipart
from ibcm_bridge.messages.views.page import printable
from ibcm_bridge.messages.xml import decode_xml

MAX_INFLATED = 1_048_576
"""Bytes of a message; a longer one is not shown."""


@dataclass(frozen=True)
class Text:
    """A part of a request, decoded."""

    title: str
    text: str


HEAD = "Request head"

_END = "\0\r\n\u0a0d"
"""The end of a message: a zero, and CRLF, also read as one character of UTF-16."""


def texts_of(request: Request, host: str) -> list[Text]:
    """Return the head first. `host` is the name that the client connects to."""
    sent = request_bytes(
        request.method,
        request.target,
        request.headers,
        request.body,
        host,
        version=request.version,
    )
    head = sent[: len(sent) - len(request.body or b"")].decode("latin-1")
    return [Text(HEAD, head.strip("\r\n").replace("\r\n", "\n")), *_body(request)]


def _body(request: Request) -> Iterator[Text]:
    if not request.body:
        return
    types = [value for name, value in request.headers if name.lower() == "content-type"]
    parts = read_multipart(types[0].encode("latin-1"), request.body) if types else ()
    if isinstance(parts, Deny) or not parts:
        yield Text("Body", _decoded(request.body))
        return
    for number, part in enumerate(parts, 1):
        data = inflate(part.body, MAX_INFLATED)
        how = "decoded" if isinstance(data, Deny) else "inflated and decoded"
        body = part.body if isinstance(data, Deny) else data
        text = f"Content-Type: {part.media_type.decode('latin-1')}\n\n{_decoded(body)}"
        yield Text(f"Part {number} of {len(parts)}, {how}", text)


def _decoded(body: bytes) -> str:
    text = decode_xml(body)
    if text is None or printable(text.replace("\n", "").replace("\r", "")).count("\\x") > 8:
        return f"[{len(body):,} bytes, which are not text]"
    return text.rstrip(_END)
