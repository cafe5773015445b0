"""Warnings of libraries about what a client sent, which are not for the log.

A warning is for the developer who calls a function. One that a client can cause with a certificate
or an archive is not: it is accepted or refused by the checks, and the audit has the reason.
"""

from __future__ import annotations

import warnings

ABOUT_CERTIFICATES = (
    r"Parsed a serial number which wasn't positive",
    r"The parsed certificate contains a NULL parameter value",
    r"Invalid ASN\.1 \(UTF-8 characters in a VisibleString\)",
    r"Attribute's length must be >= \d+ and <= \d+, but it was \d+",
)
"""The beginnings of all warnings of `cryptography` 48 when it parses a certificate."""

ABOUT_ARCHIVES = (r"Empty unicode path extra field",)
"""The same of `zipfile` when it reads an archive."""


def ignore_parser_warnings() -> None:
    """Ignore them in this process. Call it first in each process that parses what clients send."""
    for text in ABOUT_CERTIFICATES + ABOUT_ARCHIVES:
        warnings.filterwarnings("ignore", text, UserWarning)
