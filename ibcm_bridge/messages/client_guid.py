"""Client GUIDs, in the one form they are compared in (protocol.md §1.4, §2.3, §3.5).

A management point has read SQL out of what followed `GUID:` (CVE-2024-43468), so whatever is not
exactly a GUID is none.
"""

from __future__ import annotations

import re

_PREFIX = "GUID:"
_GUID = re.compile(
    r"(?:GUID:)?([0-9A-F]{8}-[0-9A-F]{4}-[0-9A-F]{4}-[0-9A-F]{4}-[0-9A-F]{12})",
    re.IGNORECASE | re.ASCII,
)


def read_guid(text: str) -> str | None:
    """A client GUID as `GUID:` and capitals, whether it had the prefix or not; None for no GUID."""
    found = _GUID.fullmatch(text)
    return f"{_PREFIX}{found[1].upper()}" if found else None
