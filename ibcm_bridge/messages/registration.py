"""Registration requests (protocol.md §3.1): the certificate that signs the client's messages."""

from __future__ import annotations

import re
from dataclasses import dataclass

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from ibcm_bridge.messages.document import Document
from ibcm_bridge.messages.document_values import Place
from ibcm_bridge.messages.signatures import rsa_key, verifies

ROOT = "clientregistrationrequest"

_DATA = re.compile(r"<Data[\s>]")
_BEGINNING = re.compile(r"<Data[\s/>]")
_END = "</Data>"


@dataclass(frozen=True, slots=True)
class Registration:
    """The key that a client registers, and whether the client proved its possession."""

    key: bytes
    """SubjectPublicKeyInfo, DER; empty without exactly one certificate with an accepted key."""
    proven: bool
    """Whether the registration is signed with that key."""


def read_registration(document: Document) -> Registration | None:
    """Parse a registration; None if the document is not one."""
    if document.root.lower() != ROOT:
        return None
    certificates = document.at(Place.SIGNING)
    signatures = document.at(Place.SIGNATURE_VALUE)
    key = _key(certificates[0]) if len(certificates) == 1 else b""
    public_key = rsa_key(key) if key else None
    signed = _signed(document.text)
    proven = (
        public_key is not None
        and signed is not None
        and len(signatures) == 1
        and verifies(public_key, signatures[0].strip(), signed)
    )
    return Registration(key if public_key is not None else b"", proven)


_UNREADABLE = (
    ValueError,
    UnsupportedAlgorithm,
    x509.InvalidVersion,
    x509.UnsupportedGeneralNameType,
)
"""Exceptions for a malformed certificate."""


def _key(certificate: str) -> bytes:
    try:
        found = x509.load_der_x509_certificate(bytes.fromhex(certificate))
        return found.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    except _UNREADABLE:
        return b""


def _signed(text: str) -> bytes | None:
    """The signed bytes: the Data element as sent, in UTF-16LE without mark and NUL (§1.6).

    None if the text does not have exactly one Data element.
    """
    # One after another: an expression for all would start again at every <Data.
    found = _DATA.search(text)
    if found is None or len(_BEGINNING.findall(text)) != 1 or text.count("</Data") != 1:
        return None
    end = text.find(_END, found.end())
    return text[found.start() : end + len(_END)].encode("utf-16-le") if end >= 0 else None
