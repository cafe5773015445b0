"""What is in an object that was uploaded, as the views that content engines are shown.

A management point takes the payload of a message here (protocol.md §3.5, §6: inferred): text in
UTF-16, mostly in a zlib stream. What hooks it has was said when the upload was announced, so it is
read as what it looks like. Archives are opened (`archives`). Anything else is looked at as it is.
"""

from __future__ import annotations

import zlib
from dataclasses import dataclass, field

from ibcm_bridge.decisions import Deny, Refused
from ibcm_bridge.inspection.archives import MAX_ARCHIVE_DEPTH, Allowance, is_archive, members
from ibcm_bridge.messages.ccm import inflate
from ibcm_bridge.messages.xml import decode_xml, read_xml


@dataclass(slots=True)
class Uploaded:
    """Views by name, and the names of those that are archives, whose members follow."""

    views: dict[str, bytes]
    opened: set[str] = field(default_factory=set)

    def unpack(self, name: str, number: tuple[int, ...], data: bytes, allowance: Allowance) -> None:
        """Add what is in an archive. Its members' own names are the sender's, and left out."""
        if len(number) >= MAX_ARCHIVE_DEPTH:
            raise allowance.refused("depth", f"archives deeper than {MAX_ARCHIVE_DEPTH}")
        self.opened.add(name)
        for index, content in enumerate(members(data, allowance), 1):
            within = (*number, index)
            member = f"member {'.'.join(map(str, within))}"
            self.views[member] = content
            if is_archive(content):
                self.unpack(member, within, content, allowance)
            elif _is_utf_16(content) and (text := decode_xml(content)):
                # Signatures are mostly ASCII (`looking`).
                self.views[f"{member} text"] = text.encode()


def object_views(whole: bytes, limit: int, where: str) -> Uploaded | Deny:
    """The views of a whole object. `limit` in bytes, of all that it inflates to."""
    seen = Uploaded({"sent": whole})
    content, name, left = whole, "sent", limit
    if is_zlib(whole):
        inflated = inflate(whole, limit)
        if isinstance(inflated, Deny):
            return inflated
        content, name = inflated, "inflated"
        seen.views[name] = inflated
        left -= len(inflated)
    try:
        if is_archive(content):
            seen.unpack(name, (), content, Allowance(f"{where}.archive", left))
            return seen
    except Refused as refused:
        return refused.denial
    return _text(seen, content, where)


def is_zlib(data: bytes) -> bool:
    """Whether a reader of RFC 1950 would take it for a stream: its header, and how it begins."""
    if len(data) < 2 or data[0] & 0x8F != 0x08 or int.from_bytes(data[:2]) % 31:
        return False
    try:
        zlib.decompressobj().decompress(data[:256], 1)
    except zlib.error:
        return False
    return True


def _is_utf_16(content: bytes) -> bool:
    return content[1:2] == b"\0" or content.startswith(b"\xff\xfe")


def _text(seen: Uploaded, content: bytes, where: str) -> Uploaded | Deny:
    text = decode_xml(content)
    if not text:
        return seen
    seen.views["text"] = text.encode()
    as_read = []
    # A payload may be several documents, with NULs between them (protocol.md §1.3).
    for piece in filter(None, (one.strip("\r\n") for one in text.split("\0"))):
        if piece.lstrip().startswith("<"):
            read = read_xml(piece, where)
            if isinstance(read, Deny):
                return read
            as_read.append(read)
    if any(as_read):
        seen.views["as-read"] = "\n".join(as_read).encode()
    return seen
