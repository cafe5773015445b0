"""Where a response sends its reader: `Location` and `Content-Location`.

A client on the Internet can follow a relative reference, and one to the publication itself. The
site system's own name is of no use to it and none of its business, so there the publication's
authority takes its place. Whatever leads anywhere else is not passed back: to `http:` least of all
where the client spoke HTTPS (BRIDGE-HTTPS-ONLY), and not to another host, which no decision has
said a client may know of.
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
"""RFC 3986 §4.2 and §4.3, with a plain name for authority: no user, no address in brackets."""
_PLAIN = re.compile(rb"[!-\[\]-~]*")
"""RFC 3986 §2: nothing but visible ASCII; the backslash, which some read as a slash, left out."""


def location_for_client(value: bytes, origin: bytes, own_names: Collection[str]) -> bytes | Deny:
    """What the client is told instead of `value`; mostly itself.

    `origin` is where the client sent its request, such as https://bridge.internet.example, and
    `own_names` are the site system's.
    """
    scheme, _, authority = origin.partition(b"://")
    if not _PLAIN.fullmatch(value):
        return _refused("not a URI")
    if scheme == b"https" and value[:5].lower() == b"http:":
        return _refused("it leads to http:", "BRIDGE-HTTPS-ONLY")
    match = _NETWORK_PATH.fullmatch(value)
    if match is None:
        if value.startswith(b"//") or _SCHEME.match(value):
            return _refused("it leads elsewhere")
        return value
    if (match["scheme"] or scheme).lower() != scheme:
        return _refused("it leads to another scheme")
    name = match["name"].lower()
    if name == authority.partition(b":")[0].lower():
        return value
    if name.decode("ascii") in own_names:
        return origin + (match["rest"] or b"/")
    return _refused("it leads to another host")


def _refused(detail: str, requirement: str = "") -> Deny:
    return Deny(Reason.SITE_SYSTEM_RESPONSE, rules.SITE_SYSTEM_LOCATION, detail, requirement)
