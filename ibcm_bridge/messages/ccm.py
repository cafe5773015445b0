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

import zlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from ibcm_bridge.decisions import rules
from ibcm_bridge.decisions.denial import Deny, Reason
from ibcm_bridge.messages.document import Document, read_document
from ibcm_bridge.messages.msg_header import COMPRESSED, ENCRYPTED, MsgHeader, read_header
from ibcm_bridge.messages.multipart import Part, read_multipart
from ibcm_bridge.messages.xml import decode_utf16

HEADER_TYPE = b"text/plain; charset=utf-16"
COMPRESSED_TYPE = b"application/octet-stream"
PLAIN_TYPE = HEADER_TYPE

_PADDING = b"\x00\r\n"


@dataclass(frozen=True, slots=True)
class CcmRequest:
    """A message as read; a copy, for inspection only."""

    header: MsgHeader
    payload: Part
    """The second part, as sent: what signatures are of."""
    inflated: bytes
    """UTF-16LE. Of an encrypted message the payload as it was sent."""
    documents: tuple[Document, ...]
    """The slices, each an XML document; none of an encrypted message."""

    @property
    def encrypted(self) -> bool:
        """Whether nobody but the site can read the payload (protocol.md §1.5)."""
        return ENCRYPTED in self.header.hooks

    @property
    def parsed_text(self) -> str:
        """What a reader of the header and the documents gets to see."""
        return "\n".join(
            (self.header.parsed_text, *(document.parsed_text for document in self.documents))
        )


def read_ccm_request(content_type: bytes, body: bytes, inflated_limit: int) -> CcmRequest | Deny:
    """Read a CCM_POST body. `inflated_limit` in bytes."""
    parts = read_multipart(content_type, body)
    if isinstance(parts, Deny):
        return parts
    if len(parts) != 2:
        return Deny(Reason.MULTIPART, rules.CCM_PARTS, f"{len(parts)} parts in place of two")
    head, payload = parts
    if head.media_type != HEADER_TYPE:
        return _other_media_type(rules.CCM_HEADER, "header", head.media_type)
    header = read_header(head.body)
    if isinstance(header, Deny):
        return header
    if not header.slices:
        # The boot-media variant aside, every sender writes one (protocol.md §1.3).
        return Deny(Reason.XML, rules.CCM_HEADER_SLICES, "no Body in the header")
    if payload.media_type not in (COMPRESSED_TYPE, PLAIN_TYPE):
        return _other_media_type(rules.CCM_PAYLOAD, "payload", payload.media_type)
    if ENCRYPTED in header.hooks:
        # Where the encryption stands to the compression is not described anywhere, nor what Body's
        # Length then counts.
        return CcmRequest(header, payload, payload.body, ())
    compressed = payload.media_type == COMPRESSED_TYPE
    if compressed != (COMPRESSED in header.hooks):
        return Deny(
            Reason.COMPRESSION, rules.CCM_HOOKS, "the hooks and the payload's type disagree"
        )
    inflated = inflate(payload.body, inflated_limit) if compressed else payload.body
    if isinstance(inflated, Deny):
        return inflated
    documents = _read_slices(inflated, header.slices)
    if isinstance(documents, Deny):
        return documents
    return CcmRequest(header, payload, inflated, documents)


def inflate(stream: bytes, limit: int) -> bytes | Deny:
    """Exactly one zlib stream, of at most `limit` bytes inflated."""
    inflater = zlib.decompressobj()
    try:
        inflated = inflater.decompress(stream, limit + 1)
    except zlib.error:
        return Deny(Reason.COMPRESSION, rules.CCM_ZLIB, "not a zlib stream")
    if len(inflated) > limit:
        return Deny(Reason.INFLATED_TOO_LARGE, rules.CCM_INFLATED_LIMIT, f"more than {limit} bytes")
    if not inflater.eof:
        return Deny(Reason.COMPRESSION, rules.CCM_ZLIB, "the zlib stream does not end")
    if inflater.unused_data:
        return Deny(Reason.COMPRESSION, rules.CCM_ZLIB, "something after the zlib stream")
    return inflated


def _read_slices(
    inflated: bytes, slices: tuple[tuple[int, int], ...]
) -> tuple[Document, ...] | Deny:
    """All slices, each an XML document by itself; or the refusal."""
    documents: list[Document] = []
    distinct = dict.fromkeys(slices)
    # A heartbeat's slices cover its payload not quite twice (protocol.md §1.3). Each is read, so
    # many that overlap would be a bomb.
    if sum(length for _, length in distinct) > 2 * len(inflated):
        return Deny(Reason.XML, rules.CCM_SLICES, "slices that overlap too much")
    for offset, length in distinct:
        if offset % 2 or offset + length > len(inflated):
            return Deny(Reason.XML, rules.CCM_SLICES, "a slice outside the payload")
        text = decode_utf16(inflated[offset : offset + length], rules.CCM_PAYLOAD)
        if isinstance(text, Deny):
            return text
        document = read_document(text.rstrip("\0"), rules.CCM_PAYLOAD)
        if isinstance(document, Deny):
            return document
        documents.append(document)
    # A CRLF of two bytes after the last NUL is usual (protocol.md §1.3); text there is not.
    if any(inflated[begin:end].strip(_PADDING) for begin, end in _gaps(distinct, len(inflated))):
        return Deny(Reason.XML, rules.CCM_SLICES, "text that no Body or Attachment covers")
    return tuple(documents)


def _gaps(slices: Iterable[tuple[int, int]], size: int) -> Iterator[tuple[int, int]]:
    """Where what no slice covers begins and ends."""
    covered = 0
    for offset, length in sorted(slices):
        yield covered, offset
        covered = max(covered, offset + length)
    yield covered, size


def _other_media_type(rule: rules.Rule, part: str, media_type: bytes) -> Deny:
    named = media_type[:64].decode("latin-1")
    return Deny(Reason.INNER_MEDIA_TYPE, rule, f"the {part} is {named}")
