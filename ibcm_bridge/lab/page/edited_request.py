"""A request that a person edits: its body as texts, and the texts as a body again.

1. A message has two texts, its header and its payload, inflated and decoded (protocol.md 1.3). The
   length of a changed payload is corrected in the header, and the message can be signed again.
2. Another body is one text, if it is text.
3. A text that was not changed keeps its bytes: a browser turns CR LF into LF.
"""

from __future__ import annotations

import codecs
import re
import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial

from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey

from ibcm_bridge.decisions.denial import Deny
from ibcm_bridge.lab.protocol import ccm, signing
from ibcm_bridge.lab.protocol.client import Request
from ibcm_bridge.messages.ccm import inflate
from ibcm_bridge.messages.multipart import read_multipart

MAX_TEXT = 24_000
"""Characters of a text that can be edited."""

_MAX_INFLATED = 4 * MAX_TEXT


class NotARequest(Exception):
    """Why the edited texts are not a request, in a sentence."""


@dataclass(frozen=True)
class Text:
    """A part of a body, as text."""

    title: str
    text: str


@dataclass(frozen=True)
class EditableBody:
    """The texts of a body; `note` if it has other parts, which are sent unchanged."""

    texts: tuple[Text, ...]
    note: str = ""
    signed: bool = False
    """True if the message can be signed again."""


def editable_body(request: Request) -> EditableBody:
    """Return what can be edited."""
    message = _read_message(request)
    if message is not None:
        texts = [Text("Message header", _lines(message.header))]
        if message.text is not None:
            texts.append(Text("Message payload", _lines(message.text)))
        note = "" if message.text is not None else "The payload is sent unchanged."
        return EditableBody(tuple(texts), note, _SIGNATURE.search(message.header) is not None)
    text = _decoded(request.body or b"")
    if text is None:
        size = len(request.body or b"")
        return EditableBody((), f"The body is not text: its {size:,} bytes are sent unchanged.")
    return EditableBody((Text("Body", _lines(text)),))


def edited_body(
    request: Request, texts: Sequence[str], sign_with: RSAPrivateKey | None
) -> bytes | None:
    """Return the body with these texts in place of those of `editable_body`.

    `sign_with` signs a message again. NotARequest if a text cannot be encoded.
    """
    given = editable_body(request).texts
    if len(texts) != len(given):
        raise NotARequest("The request has other parts by now; begin again.")
    if any(len(text) > MAX_TEXT for text in texts):
        raise NotARequest(f"A text is longer than {MAX_TEXT:,} characters; shorten it.")
    try:
        message = _read_message(request)
        if message is not None:
            return _edited_message(message, texts, sign_with)
        return _edited_text(request.body, texts[0]) if texts else request.body
    except UnicodeEncodeError:
        raise NotARequest("A text has half of a surrogate pair, which has no encoding.") from None


# Texts


def _lines(text: str) -> str:
    """Return a text as a browser has it."""
    return text.replace("\r\n", "\n")


def _changed(original: str, text: str) -> str:
    """Return the text with the line ends of the original."""
    if text == _lines(original):
        return original
    return text.replace("\n", "\r\n") if "\r\n" in original else text


def _encoding(body: bytes) -> tuple[str, bytes]:
    """Return the encoding of a text, and its byte order mark."""
    if body.startswith(codecs.BOM_UTF16_LE):
        return "utf-16-le", codecs.BOM_UTF16_LE
    return "utf-8", b""


def _decoded(body: bytes) -> str | None:
    encoding, mark = _encoding(body)
    try:
        text = body[len(mark) :].decode(encoding)
    except UnicodeDecodeError:
        return None
    readable = all(character.isprintable() or character in "\r\n\t" for character in text)
    return text if readable and len(text) <= MAX_TEXT else None


def _edited_text(body: bytes | None, text: str) -> bytes | None:
    encoding, mark = _encoding(body or b"")
    encoded = _changed(_decoded(body or b"") or "", text).encode(encoding)
    # Without a text there is no body, except where the client announces an empty one.
    return mark + encoded if encoded or body is not None else None


# Messages

_LENGTH = re.compile(r'(<Body\b[^>]*\bLength=")(\d+)(")')
_SIGNATURE = re.compile(r'(<Property Name="PayloadSignature">)([^<]*)(</Property>)')
_GUID_SIGNATURE = re.compile(r'(<Property Name="ClientIDSignature">)([^<]*)(</Property>)')
_SOURCE = re.compile(r"<SourceID>([^<]*)</SourceID>")
_END = b"\r\n"


@dataclass(frozen=True)
class _Message:
    whole: bytes
    header: str
    payload: bytes
    """As sent."""
    compressed: bool
    end: bytes
    """The bytes after the NUL."""
    text: str | None
    """The payload as text; None if it has several documents, is encrypted or too long."""
    inner_type: bytes


def _read_message(request: Request) -> _Message | None:
    """Return the message of a request; None if it has none, or a malformed one."""
    if request.method != "CCM_POST" or not request.body:
        return None
    types = [value for name, value in request.headers if name.lower() == "content-type"]
    parts = read_multipart(types[0].encode("latin-1"), request.body) if types else ()
    if isinstance(parts, Deny) or len(parts) != 2:
        return None
    try:
        header = ccm.read_message(request.body).header_xml
    except ValueError:
        return None
    if len(header) > MAX_TEXT:
        return None
    payload = parts[1]
    inflated = inflate(payload.body, _MAX_INFLATED)
    compressed = not isinstance(inflated, Deny)
    data = payload.body if isinstance(inflated, Deny) else inflated
    end = _END if data.endswith(_END) else b""
    text = _payload_text(data.removesuffix(end))
    return _Message(request.body, header, payload.body, compressed, end, text, payload.media_type)


def _payload_text(data: bytes) -> str | None:
    try:
        text = data.decode("utf-16-le").removesuffix("\0")
    except UnicodeDecodeError:
        return None
    readable = all(character.isprintable() or character in "\r\n\t" for character in text)
    return text if readable and len(text) <= MAX_TEXT else None


def _edited_message(
    message: _Message, texts: Sequence[str], sign_with: RSAPrivateKey | None
) -> bytes:
    header = _changed(message.header, texts[0])
    payload = message.payload
    same = header == message.header and (message.text is None or texts[1] == _lines(message.text))
    if same:
        return message.whole
    if message.text is not None and (text := _changed(message.text, texts[1])) != message.text:
        data = text.encode("utf-16-le") + b"\0\0"
        header = _LENGTH.sub(partial(_with_value, str(len(data))), header, count=1)
        payload = zlib.compress(data + message.end) if message.compressed else data + message.end
    if sign_with is not None:
        header = _signed(header, payload, sign_with)
    return ccm.raw_message(header, payload, inner_type=message.inner_type)


def _signed(header: str, payload: bytes, key: RSAPrivateKey) -> str:
    """Return the header with the signatures of this key (1.5, 1.6)."""
    source = _SOURCE.search(header)
    guid = signing.terminated(source[1] if source else "")
    for pattern, data in ((_SIGNATURE, payload), (_GUID_SIGNATURE, guid)):
        header = pattern.sub(partial(_with_value, signing.sign(key, data)), header)
    return header


def _with_value(value: str, found: re.Match[str]) -> str:
    """Return the match with this value instead of its second group."""
    return f"{found[1]}{value}{found[3]}"
