"""Finds long values of base64 or hexadecimal in text, in linear time.

An expression such as ``[A-Za-z0-9+/]{64}`` would compare up to 64 bytes at each byte.
"""

from __future__ import annotations

MIN_RUN = 64
"""Bytes of the shortest run of base64 that is looked at: 24 characters of a PowerShell command, or
a line of base64 (RFC 1421 4.3.2.4 has lines of 64, RFC 2045 6.8 of up to 76)."""

_ALPHABET = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/"
_KINDS = bytes(65 if byte in _ALPHABET else 32 for byte in range(256))

RUN = b"A" * MIN_RUN


def kinds(text: bytes) -> bytes:
    """Each byte of the alphabet as A, and each other one as a space."""
    return text.translate(_KINDS)


def has_long_value(text: bytes) -> bool:
    """Return whether the text has a run of at least `MIN_RUN` bytes of the alphabet."""
    return RUN in kinds(text)
