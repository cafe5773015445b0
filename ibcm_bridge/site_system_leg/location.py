"""Checks the references in a response: `Location` and `Content-Location`.

A client on the Internet can follow a relative reference, or a reference to the publication. The
site system's own name is internal and not reachable, so the publication's authority replaces it.
Any other reference is refused: to `http:` if the client uses HTTPS (BRIDGE-HTTPS-ONLY), and to any
other host, whose name would also be disclosed.
"""

from __future__ import annotations

import re
from collections.abc import Collection

from ibcm_bridge.decisions import rules
from ibcm_bridge.decisions.denial import Deny, Reason

FIELDS = frozenset((b"location", b"content-location"))
"""RFC 9110 §10.2.2 and §8.7."""

_SCHEME = re.compile(rb"[A-Za-z][A-Za-z0-9+.-]*:")
_NETWORK_PATH = re.compile(
    rb"(?:(?P<scheme>https?):)?//(?P<name>[A-Za-z0-9._-]+)(?::(?P<port>[0-9]{1,5}))?(?P<rest>[/?#].*)?",
    re.IGNORECASE,
)
"""RFC 3986 §4.2 and §4.3, with a name as authority: no user information, no IPv6 address."""
_PLAIN = re.compile(rb"[!-\[\]-~]*")
"""RFC 3986 §2: visible ASCII, without the backslash, which some clients treat as a slash."""


def location_for_client(value: bytes, origin: bytes, own_names: Collection[str]) -> bytes | Deny:
    """Return the reference for the client, usually `value` unchanged, or a refusal.

    `origin` is that of the client's request, such as https://bridge.internet.example. `own_names`
    are the names of the site system.
    """
    scheme, _, authority = origin.partition(b"://")
    if not _PLAIN.fullmatch(value):
        return _refused("the reference is not a URI")
    if scheme == b"https" and value[:5].lower() == b"http:":
        return _refused("the reference leads to http:", "BRIDGE-HTTPS-ONLY")
    match = _NETWORK_PATH.fullmatch(value)
    if match is None:
        if value.startswith(b"//") or _SCHEME.match(value):
            return _refused("the reference has another scheme or authority")
        return value
    if (match["scheme"] or scheme).lower() != scheme:
        return _refused("the reference leads to another scheme")
    name = match["name"].lower()
    if name == authority.partition(b":")[0].lower():
        return value
    if name.decode("ascii") in own_names:
        return origin + (match["rest"] or b"/")
    return _refused("the reference leads to another host")


def _refused(detail: str, requirement: str = "") -> Deny:
    return Deny(Reason.SITE_SYSTEM_RESPONSE, rules.SITE_SYSTEM_LOCATION, detail, requirement)
