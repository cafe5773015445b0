"""Client GUIDs, in a canonical form for comparison (protocol.md §1.4, §2.3, §3.5).

A management point executed SQL from the text after `GUID:` (CVE-2024-43468), so only an exact GUID
is accepted.
"""

from __future__ import annotations

import re

_PREFIX = "GUID:"
_GUID = re.compile(
    r"(?:GUID:)?([0-9A-F]{8}-[0-9A-F]{4}-[0-9A-F]{4}-[0-9A-F]{4}-[0-9A-F]{12})",
    re.IGNORECASE | re.ASCII,
)


def read_guid(text: str) -> str | None:
    """Return a client GUID with the prefix `GUID:` and in upper case; None if it is malformed."""
    found = _GUID.fullmatch(text)
    return f"{_PREFIX}{found[1].upper()}" if found else None
