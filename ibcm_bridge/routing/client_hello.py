"""Detects a complete ClientHello in the first bytes of a connection."""

from __future__ import annotations

from ibcm_bridge.decisions import rules
from ibcm_bridge.decisions.denial import Deny, Reason

MAX_RECORDS = 32
"""TLS records per ClientHello. Clients use one, or a few for a large ClientHello."""


def is_whole(data: bytes) -> bool | Deny:
    """Return whether the ClientHello is complete, by its lengths only (RFC 8446 §4, §5.1).

    Parsing is expensive, so the caller parses once, when this returns True.
    """
    start = b""
    offset = received = 0
    for _ in range(MAX_RECORDS):
        header = data[offset : offset + 5]
        if len(header) < 5:
            return False
        # RFC 8446 §5.1: handshake(22), legacy_record_version 0x03XX, and never an empty fragment.
        if header[:2] != b"\x16\x03" or header[2] > 3 or header[3:] == b"\0\0":
            return Deny(Reason.NOT_TLS, rules.LISTENER, "not a TLS handshake record")
        length = int.from_bytes(header[3:])
        payload = data[offset + 5 : offset + 5 + length]
        start = (start + payload[:4])[:4]
        received += len(payload)
        if len(start) == 4 and received >= 4 + int.from_bytes(start[1:4]):
            return True
        offset += 5 + length
    return Deny(Reason.NOT_TLS, rules.LISTENER, f"a ClientHello in more than {MAX_RECORDS} records")
