"""The schemes that a site system offers for authentication: only Negotiate and NTLM.

The bridge refuses the credentials of every other scheme (`request.credentials`). A challenge with
Basic or Digest would make a client ask its user for a password.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from ibcm_bridge.request.credentials import TOKEN68, WINDOWS_SCHEMES

FIELD = b"www-authenticate"

_ITEM = re.compile(rb'(?:"(?:[^"\\]|\\.)*"|[^",])*')
"""A list item: a comma in a quoted string does not end it (RFC 9110 §5.6.1, §5.6.4)."""

_WINDOWS = re.compile(WINDOWS_SCHEMES + rb"(?: +" + TOKEN68 + rb")?")


def challenge_for_client(value: bytes) -> bytes:
    """Return the challenges of a field that the client gets (RFC 9110 §11.6.1); empty if none.

    The parameters of another scheme are items of the list, too, and are removed with it.
    """
    items = list(_items(value))
    kept = [item for item in items if _WINDOWS.fullmatch(item)]
    return value if kept == items else b", ".join(kept)


def _items(value: bytes) -> Iterator[bytes]:
    at = 0
    while at <= len(value):
        found = _ITEM.match(value, at)
        assert found is not None
        if found.end() < len(value) and value[found.end()] != ord(","):
            # A quoted string without end: where the next item begins is not known.
            yield value[at:]
            return
        yield found[0].strip(b" \t")
        at = found.end() + 1
