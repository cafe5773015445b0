"""The views of an uploaded object.

It is inferred that a management point expects the payload of a message here (protocol.md §3.5, §6):
UTF-16 text, usually in a zlib stream. The hooks are in an earlier message, so the format is
detected from the bytes. Archives are extracted (`archives`). Other objects are scanned as sent.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field

from ibcm_bridge.decisions import rules
from ibcm_bridge.decisions.denial import Deny, Reason, Refused
from ibcm_bridge.inspection.archives import (
    MAX_ARCHIVE_DEPTH,
    Allowance,
    is_archive,
    is_zlib,
    members,
)
from ibcm_bridge.messages.ccm import inflate
from ibcm_bridge.messages.xml import decode_xml, read_xml

MAX_DOCUMENTS = 100
"""Documents of a payload, which has a few. Parsing takes at least 8 us for each, so 128 MB of the
smallest documents would take minutes."""

_BEFORE_XML = b"\0\xff\xfe\xef\xbb\xbf \t\r\n"
"""Bytes that may precede XML in any encoding: bytes of byte order marks and of white space."""

_PIECE = re.compile("[^\0]+")


@dataclass(slots=True)
class Uploaded:
    """Views by name, and the names of those that are extracted archives."""

    views: dict[str, bytes]
    opened: set[str] = field(default_factory=set)

    def unpack(self, name: str, number: tuple[int, ...], data: bytes, allowance: Allowance) -> None:
        """Add the members of an archive, without the names that the sender gave them."""
        if len(number) >= MAX_ARCHIVE_DEPTH:
            raise allowance.refused(
                rules.ARCHIVE_DEPTH, f"archives nested deeper than {MAX_ARCHIVE_DEPTH}"
            )
        self.opened.add(name)
        for index, content in enumerate(members(data, allowance), 1):
            within = (*number, index)
            member = f"member {'.'.join(map(str, within))}"
            self.views[member] = content
            if is_archive(content) or is_zlib(content):
                self.unpack(member, within, content, allowance)
            elif text := _utf_16_as_utf_8(content):
                self.views[f"{member} text"] = text


def object_views(whole: bytes, limit: int, where: rules.Rule) -> Uploaded | Deny:
    """The views of a complete object. `limit` in bytes, for everything that is inflated."""
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
        if is_archive(content) or is_zlib(content):
            seen.unpack(name, (), content, Allowance(where, left))
            return seen
    except Refused as refused:
        return refused.denial
    return _text(seen, content, where)


def _utf_16_as_utf_8(content: bytes) -> bytes | None:
    """Convert UTF-16 text to UTF-8, because malware signatures are mostly ASCII; else None."""
    little = content[1:2] == b"\0" or content.startswith(b"\xff\xfe")
    big = content[:1] == b"\0" or content.startswith(b"\xfe\xff")
    if little == big:
        return None
    try:
        text = content.decode("utf-16-le" if little else "utf-16-be")
        return text.removeprefix("\ufeff").encode()
    except UnicodeError:
        return None


def _text(seen: Uploaded, content: bytes, where: rules.Rule) -> Uploaded | Deny:
    text = decode_xml(content)
    parsed_text: list[str] = []
    begins_as_xml = content.lstrip(_BEFORE_XML).startswith(b"<")
    for piece in _pieces(text or ""):
        if piece.startswith("<"):
            if len(parsed_text) == MAX_DOCUMENTS:
                detail = f"more than {MAX_DOCUMENTS} documents"
                return Deny(Reason.XML, rules.DOCUMENT_DOCUMENTS.of(where), detail)
            read = read_xml(piece, where)
            if isinstance(read, Deny):
                return read
            parsed_text.append(read)
        elif not parsed_text and begins_as_xml:
            break
    if begins_as_xml and not parsed_text:
        # Windows also parses what ConfigMgr does not write: UTF-16BE, or a truncated character.
        return Deny(Reason.ENCODING, where, "XML that is neither UTF-8 nor UTF-16LE")
    if text:
        seen.views["text"] = text.encode()
    # A view that is independent of the width and alignment of characters.
    narrow = content.replace(b"\0", b"")
    if narrow and narrow not in (content, seen.views.get("text")):
        seen.views["narrow"] = narrow
    if any(parsed_text):
        seen.views["parsed-text"] = "\n".join(parsed_text).encode()
    return seen


def _pieces(text: str) -> Iterator[str]:
    """The documents of a payload, which NULs separate (protocol.md §1.3)."""
    for found in _PIECE.finditer(text):
        if piece := found[0].strip("\ufeff \t\r\n"):
            yield piece
