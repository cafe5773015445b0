"""TLS alerts by name and as records (RFC 8446 §6)."""

from __future__ import annotations

import ssl

ALERTS = {
    number.value: number.name.removeprefix("ALERT_DESCRIPTION_").lower()
    for number in ssl.AlertDescription
} | {
    86: "inappropriate_fallback",
    109: "missing_extension",
    116: "certificate_required",
    120: "no_application_protocol",
}
"""Names of TLS alerts by number (RFC 8446 §6). `ssl.AlertDescription` lacks the last four."""


def alert_record(name: str) -> bytes:
    """Return a fatal alert record, for refusals before OpenSSL is involved (RFC 8446 §6)."""
    description = ssl.AlertDescription[f"ALERT_DESCRIPTION_{name.upper()}"]
    return b"\x15\x03\x03\x00\x02\x02" + bytes([description])
