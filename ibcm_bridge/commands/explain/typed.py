"""A request as a person types it: the request line, and header fields line by line."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

from cryptography import x509

from ibcm_bridge.commands.explain.described_request import (
    DescribedRequest,
    Fields,
    Url,
    describe_request,
    read_url,
)
from ibcm_bridge.policy.addresses import address_text

_LINE = re.compile(r"([\x21-\x7e]+) ([^ ]+) (HTTP/[0-9.]+)")
_CONTROL = re.compile(r"[\x00-\x08\x0a-\x1f\x7f]")


def read_request_line(line: str, scheme: str, address: tuple[str, int]) -> tuple[str, Url, str]:
    """Return verb, URL and version. ValueError with a sentence if no client can send the line."""
    found = _LINE.fullmatch(line)
    if found is None:
        raise ValueError(f"{line!r} is not a request line; use VERB TARGET HTTP/1.1")
    method, target, version = found.groups()
    if target.startswith("/"):
        return method, read_url(f"{scheme}://{address_text(address)}{target}"), version
    if not target.isascii() or not target.isprintable():
        raise ValueError(f"{target!r}: write the target as it is sent, percent-encoded")
    # Another form of target (RFC 9112 §3.2), which the bridge judges.
    return method, Url(scheme, *address, target), version


def read_field(text: str) -> tuple[str, str]:
    """Return name and value of a header field. ValueError with a sentence."""
    name, colon, value = text.partition(":")
    if not colon:
        raise ValueError(f"--header {text!r} has no colon; use 'NAME: VALUE'")
    if _CONTROL.search(text):
        raise ValueError(f"--header {text!r} has a control character; remove it")
    # Whitespace around a value is not part of it (RFC 9110 section 5.5). Around a name it stays,
    # because the bridge refuses it.
    return name, value.strip(" \t")


def read_certificates(path: Path | None) -> Sequence[x509.Certificate]:
    """Return the certificates of a PEM file. Raises OSError, or ValueError with a sentence."""
    if path is None:
        return ()
    try:
        return x509.load_pem_x509_certificates(path.read_bytes())
    except (ValueError, x509.InvalidVersion):
        raise ValueError(f"{path} has no readable PEM certificate") from None


def read_typed(
    line: str,
    fields: Sequence[str],
    to: tuple[str, tuple[str, int]],
    certificates: Sequence[x509.Certificate],
    body: bytes | None,
) -> tuple[DescribedRequest, Fields]:
    """Return the request, and the fields that were typed. `to` is the scheme and the address."""
    method, url, version = read_request_line(line, *to)
    typed = tuple(map(read_field, fields))
    request = describe_request(method, url, typed, certificates, body, version=version)
    return request, typed
