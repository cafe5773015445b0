"""A CCM_POST request: the Msg header and its payload (protocol.md §1.3-§1.5).

1. multipart/mixed, two parts: the header, then the payload.
2. The header is UTF-16 with a byte order mark, and XML: `<Msg>`.
3. The payload is a zlib stream (RFC 1950) of UTF-16LE text without a byte order mark, or the text
   itself. The part's media type and the header's hooks must agree on which.
4. `Body` and `Attachment` are slices of the inflated payload. Each slice is an XML document. Only
   the NUL and CRLF that senders write after a document may be outside the slices.

Anything else is refused, because a message that cannot be parsed cannot be inspected.
"""

from __future__ import annotations

import zlib
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from functools import partial

from ibcm_bridge.decisions import rules
from ibcm_bridge.decisions.denial import Deny, Reason
from ibcm_bridge.messages.document import Document, read_document
from ibcm_bridge.messages.guid_places import NO_PLACES, GuidPlaces, GuidPlacesOf
from ibcm_bridge.messages.msg_header import COMPRESSED, ENCRYPTED, MsgHeader, read_header
from ibcm_bridge.messages.multipart import Part, read_multipart
from ibcm_bridge.messages.xml import decode_utf16

HEADER_TYPE = b"text/plain; charset=utf-16"
COMPRESSED_TYPE = b"application/octet-stream"
PLAIN_TYPE = HEADER_TYPE

_PADDING = b"\x00\r\n"


@dataclass(frozen=True, slots=True)
class CcmRequest:
    """A parsed message; a copy, for inspection only."""

    header: MsgHeader
    payload: Part
    """The second part, as sent: the signed bytes."""
    inflated: bytes
    """UTF-16LE; for an encrypted message the payload as sent."""
    documents: tuple[Document, ...]
    """The slices, each an XML document; empty for an encrypted message."""

    @property
    def encrypted(self) -> bool:
        """True if only the site can decrypt the payload (protocol.md §1.5)."""
        return ENCRYPTED in self.header.hooks

    @property
    def parsed_text(self) -> str:
        """The text that an XML parser returns for the header and the documents."""
        return "\n".join(
            (self.header.parsed_text, *(document.parsed_text for document in self.documents))
        )


MessageGuidPlaces = Callable[[str, str], GuidPlaces]
"""Endpoint and root element, in lower case -> the places of client GUIDs in that document."""


def _no_places(_endpoint: str, _root: str) -> GuidPlaces:
    return NO_PLACES


def read_ccm_request(
    content_type: bytes,
    body: bytes,
    inflated_limit: int,
    places_of: MessageGuidPlaces = _no_places,
) -> CcmRequest | Deny:
    """Parse a CCM_POST body. `inflated_limit` in bytes."""
    parts = read_multipart(content_type, body)
    if isinstance(parts, Deny):
        return parts
    if len(parts) != 2:
        return Deny(Reason.MULTIPART, rules.CCM_PARTS, f"{len(parts)} parts; must be two")
    head, payload = parts
    if head.media_type != HEADER_TYPE:
        return _other_media_type(rules.CCM_HEADER, "header", head.media_type)
    header = read_header(head.body)
    if isinstance(header, Deny):
        return header
    if not header.slices:
        # Every sender except the boot-media variant writes one (protocol.md §1.3).
        return Deny(Reason.XML, rules.CCM_HEADER_SLICES, "no Body in the header")
    if payload.media_type not in (COMPRESSED_TYPE, PLAIN_TYPE):
        return _other_media_type(rules.CCM_PAYLOAD, "payload", payload.media_type)
    if ENCRYPTED in header.hooks:
        # The order of encryption and compression, and the meaning of Body's Length with both, are
        # not documented.
        return CcmRequest(header, payload, payload.body, ())
    compressed = payload.media_type == COMPRESSED_TYPE
    if compressed != (COMPRESSED in header.hooks):
        return Deny(
            Reason.COMPRESSION,
            rules.CCM_HOOKS,
            "the hooks and the payload's Content-Type disagree on the compression",
        )
    inflated = inflate(payload.body, inflated_limit) if compressed else payload.body
    if isinstance(inflated, Deny):
        return inflated
    places_of_root = partial(places_of, header.target_endpoint.lower())
    documents = _read_slices(inflated, header.slices, places_of_root)
    if isinstance(documents, Deny):
        return documents
    return CcmRequest(header, payload, inflated, documents)


def inflate(stream: bytes, limit: int) -> bytes | Deny:
    """Inflate exactly one zlib stream, to at most `limit` bytes."""
    inflater = zlib.decompressobj()
    try:
        inflated = inflater.decompress(stream, limit + 1)
    except zlib.error:
        return Deny(Reason.COMPRESSION, rules.CCM_ZLIB, "not a zlib stream")
    if len(inflated) > limit:
        return Deny(Reason.INFLATED_TOO_LARGE, rules.CCM_INFLATED_LIMIT, f"more than {limit} bytes")
    if not inflater.eof:
        return Deny(Reason.COMPRESSION, rules.CCM_ZLIB, "the zlib stream is truncated")
    if inflater.unused_data:
        return Deny(Reason.COMPRESSION, rules.CCM_ZLIB, "data after the zlib stream")
    return inflated


def _read_slices(
    inflated: bytes, slices: tuple[tuple[int, int], ...], places_of: GuidPlacesOf
) -> tuple[Document, ...] | Deny:
    """Parse each slice as an XML document."""
    documents: list[Document] = []
    distinct = dict.fromkeys(slices)
    # The slices of a heartbeat cover its payload almost twice (protocol.md §1.3). Each slice is
    # parsed, so many overlapping slices would be a bomb.
    if sum(length for _, length in distinct) > 2 * len(inflated):
        return Deny(Reason.XML, rules.CCM_SLICES, "too many overlapping slices")
    for offset, length in distinct:
        if offset % 2 or offset + length > len(inflated):
            return Deny(Reason.XML, rules.CCM_SLICES, "a slice exceeds the payload")
        text = decode_utf16(inflated[offset : offset + length], rules.CCM_PAYLOAD)
        if isinstance(text, Deny):
            return text
        document = read_document(text.rstrip("\0"), rules.CCM_PAYLOAD, places_of)
        if isinstance(document, Deny):
            return document
        documents.append(document)
    # Senders write a CRLF of two bytes after the last NUL (protocol.md §1.3), but no text.
    if any(inflated[begin:end].strip(_PADDING) for begin, end in _gaps(distinct, len(inflated))):
        return Deny(Reason.XML, rules.CCM_SLICES, "text outside Body and Attachment")
    return tuple(documents)


def _gaps(slices: Iterable[tuple[int, int]], size: int) -> Iterator[tuple[int, int]]:
    """The ranges outside all slices: begin and end."""
    covered = 0
    for offset, length in sorted(slices):
        yield covered, offset
        covered = max(covered, offset + length)
    yield covered, size


def _other_media_type(rule: rules.Rule, part: str, media_type: bytes) -> Deny:
    named = media_type[:64].decode("latin-1")
    return Deny(Reason.INNER_MEDIA_TYPE, rule, f"the {part} has media type {named}")
