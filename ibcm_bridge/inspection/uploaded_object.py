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

_WHITE_SPACE = "\ufeff \t\r\n"

_DOCUMENT = re.compile(f"\0[{_WHITE_SPACE}]*(<[^\0]*)")


@dataclass(slots=True)
class Uploaded:
    """Views by name, and the names of those that are extracted archives."""

    views: dict[str, bytes]
    opened: set[str] = field(default_factory=set)
    documents: list[bytes] = field(default_factory=list)
    """The XML documents of a payload."""

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
    text = decode_xml(content) or ""
    if content.lstrip(_BEFORE_XML).startswith(b"<") and not _begins_as_xml(text):
        # Windows also parses what ConfigMgr does not write: UTF-16BE, or a truncated character.
        return Deny(Reason.ENCODING, where, "XML that is neither UTF-8 nor UTF-16LE")
    parsed_text: list[str] = []
    for document in _documents(text):
        if len(parsed_text) == MAX_DOCUMENTS:
            detail = f"more than {MAX_DOCUMENTS} documents"
            return Deny(Reason.XML, rules.DOCUMENT_DOCUMENTS.of(where), detail)
        read = read_xml(document, where)
        if isinstance(read, Deny):
            return read
        parsed_text.append(read)
        seen.documents.append(document.encode())
    if text:
        seen.views["text"] = text.encode()
    # A view that is independent of the width and alignment of characters.
    narrow = content.translate(None, b"\0")
    if narrow and narrow not in (content, seen.views.get("text")):
        seen.views["narrow"] = narrow
    if any(parsed_text):
        seen.views["parsed-text"] = "\n".join(parsed_text).encode()
    return seen


def _begins_as_xml(text: str) -> bool:
    return text.lstrip(f"\0{_WHITE_SPACE}").startswith("<")


def _documents(text: str) -> Iterator[str]:
    """The documents of a payload, which NULs separate (protocol.md §1.3)."""
    return (found[1].rstrip(_WHITE_SPACE) for found in _DOCUMENT.finditer(f"\0{text}"))
