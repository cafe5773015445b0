"""What is in an object that was uploaded, as the views that content engines are shown.

A management point takes the payload of a message here (protocol.md §3.5, §6: inferred): text in
UTF-16, mostly in a zlib stream. What hooks it has was said when the upload was announced, so it is
read as what it looks like. Anything but text is looked at as it is.
"""

from __future__ import annotations

import zlib

from ibcm_bridge.decisions import Deny
from ibcm_bridge.messages.ccm import inflate
from ibcm_bridge.messages.xml import decode_xml, read_xml


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
    if not text:
        return views
    views["text"] = text.encode()
    as_read = []
    # A payload may be several documents, with NULs between them (protocol.md §1.3).
    for piece in filter(None, (one.strip("\r\n") for one in text.split("\0"))):
        if piece.lstrip().startswith("<"):
            read = read_xml(piece, where)
            if isinstance(read, Deny):
                return read
            as_read.append(read)
    if any(as_read):
        views["as-read"] = "\n".join(as_read).encode()
    return views


def is_zlib(data: bytes) -> bool:
    """Whether a reader of RFC 1950 would take it for a stream: its header, and how it begins."""
    if len(data) < 2 or data[0] & 0x8F != 0x08 or int.from_bytes(data[:2]) % 31:
        return False
    try:
        zlib.decompressobj().decompress(data[:256], 1)
    except zlib.error:
        return False
    return True
