"""Parse a site system's responses to packets ([MC-BUP] §2.2.3, §2.2.7)."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass

from ibcm_bridge.decisions import rules
from ibcm_bridge.decisions.denial import Deny, Reason
from ibcm_bridge.decisions.refusals import SESSION_NOT_FOUND

_SESSION = re.compile(rb"[0-9A-Za-z{}-]{1,100}")
_OFFSET = re.compile(rb"0|[1-9][0-9]{0,17}")
_ERROR = re.compile(rb"(?:0x)?([0-9A-Fa-f]{1,8})")


@dataclass(frozen=True, slots=True)
class Acknowledgement:
    """The session state in a response."""

    succeeded: bool
    session: str
    """The session id; empty without one."""
    received: int | None
    """The offset that the site system expects next."""
    forgotten: bool
    """True if the site system does not have the session."""


def read_acknowledgement(
    status: int, fields: Iterable[tuple[bytes, bytes]]
) -> Acknowledgement | Deny:
    """Parse the head of a response; `fields` with names in lower case."""
    values_by_name: dict[bytes, list[bytes]] = {}
    for name, value in fields:
        values_by_name.setdefault(name, []).append(value)
    values = {}
    for name, pattern in _FORMS.items():
        found = values_by_name.get(name, [])
        if len(found) > 1 or (found and not pattern.fullmatch(found[0])):
            rule = rules.UPLOADS_FIELD.of(name.decode("ascii"))
            return Deny(Reason.SITE_SYSTEM_RESPONSE, rule, "malformed, or more than one")
        values[name] = found[0] if found else b""
    received, error = values[b"bits-received-content-range"], values[b"bits-error-code"]
    code = _ERROR.fullmatch(error or values[b"bits-error"])
    return Acknowledgement(
        succeeded=200 <= status < 300,
        session=values[b"bits-session-id"].decode("ascii"),
        received=int(received) if received else None,
        forgotten=code is not None and int(code[1], 16) == SESSION_NOT_FOUND,
    )


_FORMS = {
    b"bits-session-id": _SESSION,
    b"bits-received-content-range": _OFFSET,
    b"bits-error-code": _ERROR,
    b"bits-error": _ERROR,
}
"""[MC-BUP] has BITS-Error; Windows and Microsoft's BITS documentation have BITS-Error-Code."""
