"""Credentials in `Authorization`: only those of Windows authentication (USER-WINDOWS-AUTH).

Negotiate and NTLM are exchanges with the site system (RFC 4559, protocol.md §10). The credentials
of other schemes are valid on every connection, and no ConfigMgr client sends them.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

from ibcm_bridge.decisions import rules
from ibcm_bridge.decisions.denial import Deny, Reason

WINDOWS_SCHEMES = rb"(?i:negotiate|ntlm)"
"""Patterns for the schemes of Windows authentication in any case, and for their data."""

TOKEN68 = rb"[A-Za-z0-9\-._~+/]+=*"
"""RFC 9110 §11.2."""

_CREDENTIALS = re.compile(WINDOWS_SCHEMES + rb" +" + TOKEN68)

_NAMED = {
    b"basic": "Basic",
    b"bearer": "Bearer",
    b"digest": "Digest",
    b"negotiate": "Negotiate without a token",
    b"ntlm": "NTLM without a token",
}
"""The schemes that a detail may name. Another word could be a part of a password."""


def check_credentials(values: Sequence[bytes]) -> Deny | None:
    """Return the refusal of Authorization fields with credentials of another scheme."""
    for value in values:
        if not _CREDENTIALS.fullmatch(value):
            scheme = _NAMED.get(value.partition(b" ")[0].lower(), "an unknown scheme")
            detail = f"Authorization: {scheme}; only Negotiate and NTLM are allowed"
            return Deny(Reason.HEADER, rules.HEAD_AUTHORIZATION, detail, "USER-WINDOWS-AUTH")
    return None
