"""Serialized .NET objects in the texts of a SOAP request, also below other encodings.

CVE-2025-59287: WSUS deserialized cookies and events with BinaryFormatter. A stream of it is found
in base64, below percent escapes (RFC 3986 section 2.1) and more base64, with any text before it.
"""

from __future__ import annotations

import base64
import re
from collections.abc import Iterable
from urllib.parse import unquote_to_bytes

from ibcm_bridge.inspection.encoded_values import decoded, runs
from ibcm_bridge.messages.limits import MAX_SOAP_PIECES

MAX_LAYERS = 4
"""Encodings below each other that are decoded. Known attacks have one or two."""

MIN_TEXT = 16
"""Characters of the shortest text that is searched: the first 12 bytes of a stream in base64."""

_STREAM = re.compile(rb"\x00.{4}\xff{4}\x01\x00{7}", re.DOTALL)
"""[MS-NRBF] section 2.6.1: the header of a stream of version 1.0, with any root."""

_HEADER = bytes.fromhex("0001000000ffffffff01")
"""The start of the same, with the root that BinaryFormatter writes."""

_STANDARD = bytes.maketrans(b"-_", b"+/")
"""RFC 4648 section 5 has another alphabet for URLs."""

_WHITE_SPACE = b" \t\r\n"


def _shifted(data: bytes) -> set[bytes]:
    """The base64 of data after 0, 1 and 2 other bytes, without characters that they change."""
    encoded = set()
    for before in range(3):
        whole = (len(data) + before) // 3 * 4
        encoded.add(base64.b64encode(bytes(before) + data)[(0, 2, 3)[before] : whole])
    return encoded


_ONCE = _shifted(_HEADER)
_MARKS = tuple(_ONCE.union(*map(_shifted, _ONCE)))
"""The header in base64, and in base64 of base64."""


def serialized_problem(texts: Iterable[str]) -> str:
    """The problem of the texts of a request; empty without one."""
    # No text has a NUL, so that two texts do not become one value.
    text = "\0".join(text for text in texts if len(text) >= MIN_TEXT).encode()
    for _ in range(MAX_LAYERS):
        if not text:
            break
        for _ in range(2):
            if text.count(b"%") > MAX_SOAP_PIECES:
                return f"more than {MAX_SOAP_PIECES} percent signs"
            text = unquote_to_bytes(text)
        packed = text.translate(_STANDARD, _WHITE_SPACE)
        if _STREAM.search(text) or any(mark in packed for mark in _MARKS):
            return "a .NET BinaryFormatter stream"
        text = b"\0".join(decoded(packed[begin:end]) for begin, end in runs(packed))
    return ""
