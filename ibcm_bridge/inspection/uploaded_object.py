"""What is in an object that was uploaded, as the views that content engines are shown.

A management point takes the payload of a message here (protocol.md §3.5, §6: inferred): text in
UTF-16, mostly in a zlib stream. What hooks it has was said when the upload was announced, so it is
read as what it looks like. Archives are opened (`archives`). Anything else is looked at as it is.
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
"""A payload is a few. A parser for each takes 8 us: 128 MB of the smallest would take minutes."""

_BEFORE_XML = b"\0\xff\xfe\xef\xbb\xbf \t\r\n"
"""What may stand before the first character, in any encoding: marks, spaces, halves of them."""

_PIECE = re.compile("[^\0]+")


@dataclass(slots=True)
class Uploaded:
    """Views by name, and the names of those that are archives, whose members follow."""

    views: dict[str, bytes]
    opened: set[str] = field(default_factory=set)

    def unpack(self, name: str, number: tuple[int, ...], data: bytes, allowance: Allowance) -> None:
        """Add what is in an archive. Its members' own names are the sender's, and left out."""
        if len(number) >= MAX_ARCHIVE_DEPTH:
            raise allowance.refused(
                rules.ARCHIVE_DEPTH, f"archives deeper than {MAX_ARCHIVE_DEPTH}"
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
        if is_archive(content) or is_zlib(content):
            seen.unpack(name, (), content, Allowance(where, left))
            return seen
    except Refused as refused:
        return refused.denial
    return _text(seen, content, where)


def _utf_16_as_utf_8(content: bytes) -> bytes | None:
    """In UTF-8 what is text in UTF-16, of either order: signatures are mostly ASCII (`readers`)."""
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
                return Deny(Reason.XML, rules.DOCUMENTS.of(where), detail)
            read = read_xml(piece, where)
            if isinstance(read, Deny):
                return read
            parsed_text.append(read)
        elif not parsed_text and begins_as_xml:
            break
    if begins_as_xml and not parsed_text:
        # Windows reads more than ConfigMgr writes: UTF-16BE, or what ends in half a character.
        return Deny(Reason.ENCODING, where, "XML that is neither UTF-8 nor UTF-16LE")
    if text:
        seen.views["text"] = text.encode()
    # However wide a reader takes characters to be, and wherever it begins.
    narrow = content.replace(b"\0", b"")
    if narrow and narrow not in (content, seen.views.get("text")):
        seen.views["narrow"] = narrow
    if any(parsed_text):
        seen.views["parsed-text"] = "\n".join(parsed_text).encode()
    return seen


def _pieces(text: str) -> Iterator[str]:
    """A payload may be several documents, with NULs between them (protocol.md §1.3)."""
    for found in _PIECE.finditer(text):
        if piece := found[0].strip("\ufeff \t\r\n"):
            yield piece
