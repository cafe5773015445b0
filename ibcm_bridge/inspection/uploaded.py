"""What is in an object that was uploaded, as the views that content engines are shown.

A management point takes the payload of a message here (protocol.md §3.5, §6: inferred): text in
UTF-16, mostly in a zlib stream. What hooks it has was said when the upload was announced, so it is
read as what it looks like. Anything but text is looked at as it is.
"""

from __future__ import annotations

import re
import zlib
from collections.abc import Iterator

from ibcm_bridge.decisions import Deny, Reason
from ibcm_bridge.messages.ccm import inflate
from ibcm_bridge.messages.xml import decode_xml, read_xml

MAX_DOCUMENTS = 100
"""A payload is a few. A parser for each takes 8 us: 128 MB of the smallest would take minutes."""

_BEFORE_XML = b"\0\xff\xfe\xef\xbb\xbf \t\r\n"
"""What may stand before the first character, in any encoding: marks, spaces, halves of them."""

_PIECE = re.compile("[^\0]+")


def object_views(whole: bytes, limit: int, where: str) -> dict[str, bytes] | Deny:
    """The views of a whole object, by name. `limit` in bytes, of what it inflates to."""
    views = {"sent": whole}
    content = whole
    if is_zlib(whole):
        inflated = inflate(whole, limit)
        if isinstance(inflated, Deny):
            return inflated
        content = views["inflated"] = inflated
    text = decode_xml(content)
    as_read: list[str] = []
    begins_as_xml = content.lstrip(_BEFORE_XML).startswith(b"<")
    for piece in _pieces(text or ""):
        if piece.startswith("<"):
            if len(as_read) == MAX_DOCUMENTS:
                detail = f"more than {MAX_DOCUMENTS} documents"
                return Deny(Reason.XML, f"{where}.documents", detail)
            read = read_xml(piece, where)
            if isinstance(read, Deny):
                return read
            as_read.append(read)
        elif not as_read and begins_as_xml:
            break
    if begins_as_xml and not as_read:
        # Windows reads more than ConfigMgr writes: UTF-16BE, or what ends in half a character.
        return Deny(Reason.ENCODING, where, "XML that is neither UTF-8 nor UTF-16LE")
    if text is not None:
        views["text"] = text.encode()
    # However wide a reader takes characters to be, and wherever it begins.
    narrow = content.replace(b"\0", b"")
    if narrow not in (content, views.get("text")):
        views["narrow"] = narrow
    if any(as_read):
        views["as-read"] = "\n".join(as_read).encode()
    return views


def _pieces(text: str) -> Iterator[str]:
    """A payload may be several documents, with NULs between them (protocol.md §1.3)."""
    for found in _PIECE.finditer(text):
        if piece := found[0].strip("\ufeff \t\r\n"):
            yield piece


def is_zlib(data: bytes) -> bool:
    """Whether a reader of RFC 1950 would take it for a stream: its header, and how it begins."""
    if len(data) < 2 or data[0] & 0x8F != 0x08 or int.from_bytes(data[:2]) % 31:
        return False
    try:
        zlib.decompressobj().decompress(data[:256], 1)
    except zlib.error:
        return False
    return True
