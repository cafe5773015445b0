"""A CCM_POST request: the Msg header and its payload (protocol.md §1.3-§1.5).

1. multipart/mixed, two parts: the header, then the payload.
2. The header is UTF-16 with a byte order mark, and XML: `<Msg>`.
3. The payload is a zlib stream (RFC 1950) of UTF-16LE text without a mark, or that text itself.
   The part's media type says which, and the header's hooks must agree.
4. `Body` and `Attachment` name slices of the inflated payload. Each is an XML document by itself;
   what no slice covers may only be the NUL and CRLF that senders put between and after.

Anything else is refused: a message that cannot be read here cannot be inspected.
"""

from __future__ import annotations

import re
import zlib
from collections.abc import Mapping
from dataclasses import dataclass, field

from ibcm_bridge.decisions import Deny, Reason
from ibcm_bridge.messages.multipart import read_multipart
from ibcm_bridge.messages.xml import attribute_values, check_xml, read_xml

HEADER_TYPE = b"text/plain; charset=utf-16"
COMPRESSED_TYPE = b"application/octet-stream"
PLAIN_TYPE = HEADER_TYPE

MAX_HEADER = 65_536
"""Bytes. A header with signatures and a public key is under 8 KB."""

MAX_SLICES = 32
"""A heartbeat has three (protocol.md §1.3)."""

_NUMBER = re.compile(r"0|[1-9][0-9]{0,8}")
_SLICE = frozenset(("Type", "Name", "Offset", "Length"))
_SLICE_LOWER = frozenset(name.lower() for name in _SLICE)
_ENDPOINT = re.compile(r"[A-Za-z0-9_]{0,64}")
"""Names of endpoints (protocol.md §2.1); another character would be another reading of one."""

_PADDING = b"\x00\r\n"
_READABLE_HOOKS = frozenset(("zlib-compress", "clientauth"))


@dataclass(frozen=True, slots=True)
class CcmRequest:
    """A message as read; a copy, for inspection only. `inflated` is UTF-16LE."""

    header_text: str
    target_endpoint: str
    reply_to: str
    inflated: bytes
    documents: tuple[str, ...]
    """The slices, each an XML document."""
    as_read: str
    """What a reader of the header and the documents gets to see (`xml.read_xml`)."""


_CHILDREN = {
    name.lower(): name
    for name in ("Body", "Attachment", "Hooks", "Payload", "ReplyTo", "TargetEndpoint")
}
"""Children of Msg by which the payload is found or the message judged, as they are spelt."""


@dataclass(slots=True)
class _Header:
    """What reading the Msg header collects."""

    depth: int = 0
    root: str = ""
    element: str = ""
    endpoint: str = ""
    reply_to: str = ""
    texts: list[str] = field(default_factory=list)
    hooks: list[str] = field(default_factory=list)
    slices: list[tuple[int, int]] = field(default_factory=list)
    seen: set[str] = field(default_factory=set)
    problem: str = ""

    def start(self, name: str, attributes: Mapping[str, str]) -> None:
        self.depth += 1
        if self.depth == 1:
            self.root = name
        elif self.depth == 2:
            self.element = name
        elif self.element == "Hooks" and (self.depth == 3 or name.startswith("Hook")):
            # Whatever stands in Hooks is one, also under a tag we have not seen yet.
            self.hooks.append(attributes.get("Name", ""))
        # What decides how the payload is read stands where it belongs, spelt as it is, and once:
        # a reader that is laxer about it would read another payload.
        spelling = _CHILDREN.get(name.rpartition(":")[2].lower())
        if spelling is None:
            return
        if name != spelling or self.depth != 2:
            self.problem = f"{name[:32]} where it does not belong"
        elif name in self.seen and name != "Attachment":
            self.problem = f"{name} more than once"
        self.seen.add(name)
        if name in ("Body", "Attachment"):
            self._add_slice(attributes)
        elif name == "Payload" and attributes.get("Type", "inline").lower() != "inline":
            self.problem = "a payload that is not inline"

    def end(self, _name: str) -> None:
        self.depth -= 1
        if self.depth == 1:
            self.element = ""

    def text(self, text: str) -> None:
        self.texts.append(text)
        if self.element == "TargetEndpoint":
            self.endpoint += text
        elif self.element == "ReplyTo":
            self.reply_to += text

    def _add_slice(self, attributes: Mapping[str, str]) -> None:
        offset, length = attributes.get("Offset", ""), attributes.get("Length", "")
        # Without leading zeros, which one reader takes for octal; str.isdecimal takes other
        # scripts' digits, this does not.
        numbers = [n for n in (offset, length) if _NUMBER.fullmatch(n)]
        known = all(name in _SLICE or name.lower() not in _SLICE_LOWER for name in attributes)
        if not known or attributes.get("Type", "ByteRange") != "ByteRange":
            self.problem = "a Body or Attachment of another type, or with an attribute spelt oddly"
        elif len(numbers) != 2 or len(self.slices) == MAX_SLICES:
            self.problem = "a Body or Attachment without usable Offset and Length"
        else:
            self.slices.append((int(offset), int(length)))


def read_ccm_request(content_type: bytes, body: bytes, inflated_limit: int) -> CcmRequest | Deny:
    """Read a CCM_POST body. `inflated_limit` in bytes."""
    parts = read_multipart(content_type, body)
    if isinstance(parts, Deny):
        return parts
    if len(parts) != 2:
        return Deny(Reason.MULTIPART, "ccm.parts", f"{len(parts)} parts in place of two")
    head, payload = parts
    if head.media_type != HEADER_TYPE:
        return _inner_type("header", head.media_type)
    header_text = _header_text(head.body)
    if isinstance(header_text, Deny):
        return header_text
    header = _read_header(header_text)
    if isinstance(header, Deny):
        return header

    if payload.media_type not in (COMPRESSED_TYPE, PLAIN_TYPE):
        return _inner_type("payload", payload.media_type)
    compressed = payload.media_type == COMPRESSED_TYPE
    if compressed != ("zlib-compress" in header.hooks):
        return Deny(Reason.COMPRESSION, "ccm.hooks", "the hooks and the payload's type disagree")
    inflated = inflate(payload.body, inflated_limit) if compressed else payload.body
    if isinstance(inflated, Deny):
        return inflated
    read = _read_slices(inflated, header.slices)
    if isinstance(read, Deny):
        return read
    documents, texts = read
    return CcmRequest(
        header_text,
        header.endpoint.strip(),
        header.reply_to.strip(),
        inflated,
        documents,
        "\n".join(("".join(header.texts), *texts)),
    )


def _header_text(raw: bytes) -> str | Deny:
    if len(raw) > MAX_HEADER:
        return Deny(Reason.BODY_TOO_LARGE, "ccm.header", f"{len(raw)} bytes of Msg header")
    if not raw.startswith(b"\xff\xfe"):
        return Deny(Reason.ENCODING, "ccm.header", "no UTF-16LE byte order mark")
    return _utf16(raw[2:], "ccm.header")


def _read_header(text: str) -> _Header | Deny:
    header = _Header()
    utf8 = text.rstrip("\0\r\n").encode()
    refusal = check_xml(utf8, "ccm.header", header.start, header.end, header.text)
    if refusal is not None:
        return refusal
    header.texts.append(attribute_values(utf8))
    if header.root != "Msg":
        return Deny(Reason.XML, "ccm.header.root", "the header is not a Msg")
    if header.problem:
        return Deny(Reason.XML, "ccm.header.slices", header.problem)
    if not _ENDPOINT.fullmatch(header.endpoint.strip()):
        return Deny(Reason.XML, "ccm.header.endpoint", "a TargetEndpoint that is no name")
    # protocol.md §1.5: "encrypt" hides the body, the legacy "compress" is not described anywhere.
    for hook in header.hooks:
        if hook not in _READABLE_HOOKS:
            return Deny(Reason.BODY_NOT_INSPECTABLE, "ccm.hooks", f"hook {hook[:64]!r}")
    if not header.slices:
        # The boot-media variant aside, every sender writes one (protocol.md §1.3).
        return Deny(Reason.XML, "ccm.header.slices", "no Body in the header")
    return header


def inflate(stream: bytes, limit: int) -> bytes | Deny:
    """Exactly one zlib stream, of at most `limit` bytes inflated."""
    inflater = zlib.decompressobj()
    try:
        inflated = inflater.decompress(stream, limit + 1)
    except zlib.error:
        return Deny(Reason.COMPRESSION, "ccm.zlib", "not a zlib stream")
    if len(inflated) > limit:
        return Deny(Reason.INFLATED_TOO_LARGE, "ccm.inflated_limit", f"more than {limit} bytes")
    if not inflater.eof:
        return Deny(Reason.COMPRESSION, "ccm.zlib", "the zlib stream does not end")
    if inflater.unused_data:
        return Deny(Reason.COMPRESSION, "ccm.zlib", "something after the zlib stream")
    return inflated


def _read_slices(
    inflated: bytes, slices: list[tuple[int, int]]
) -> tuple[tuple[str, ...], tuple[str, ...]] | Deny:
    """All slices, each an XML document by itself, and how each is read; or the refusal."""
    documents: list[str] = []
    texts: list[str] = []
    rest = bytearray(inflated)
    distinct = dict.fromkeys(slices)
    # A heartbeat's slices cover its payload not quite twice (protocol.md §1.3). Each is read, so
    # many that overlap would be a bomb.
    if sum(length for _, length in distinct) > 2 * len(inflated):
        return Deny(Reason.XML, "ccm.slices", "slices that overlap too much")
    for offset, length in distinct:
        if offset % 2 or offset + length > len(inflated):
            return Deny(Reason.XML, "ccm.slices", "a slice outside the payload")
        rest[offset : offset + length] = bytes(length)
        document = _utf16(inflated[offset : offset + length], "ccm.payload")
        if isinstance(document, Deny):
            return document
        document = document.rstrip("\0")
        as_read = read_xml(document, "ccm.payload")
        if isinstance(as_read, Deny):
            return as_read
        documents.append(document)
        texts.append(as_read)
    # A CRLF of two bytes after the last NUL is usual (protocol.md §1.3); text there is not.
    if rest.translate(None, _PADDING):
        return Deny(Reason.XML, "ccm.slices", "text that no Body or Attachment covers")
    return tuple(documents), tuple(texts)


def _utf16(raw: bytes, where: str) -> str | Deny:
    try:
        return raw.decode("utf-16-le")
    except UnicodeDecodeError:
        return Deny(Reason.ENCODING, where, "not UTF-16LE")


def _inner_type(part: str, media_type: bytes) -> Deny:
    named = media_type[:64].decode("latin-1")
    return Deny(Reason.INNER_MEDIA_TYPE, f"ccm.{part}", f"the {part} is {named}")
