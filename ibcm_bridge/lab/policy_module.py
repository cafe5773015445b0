"""The stand-in for NDES with ConfigMgr's policy module (protocol.md 8.4, RFC 8894).

It tells what it can and whose certificates it has. It issues none: an answer to PKIOperation would
have to be a signed message, and says here that it is not.
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Sequence
from urllib.parse import parse_qs

from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding, pkcs7

from ibcm_bridge.lab.asked import ANYTHING, HTML, NOT_FOUND, READING, TEXT, Asked
from ibcm_bridge.lab.content import Answer

CAPABILITIES = b"AES\nPOSTPKIOperation\nRenewal\nSHA-256\nSHA-512\nSCEPStandard\n"
"""RFC 8894 section 3.5.2."""

NOT_SIGNED = Answer(
    200, b"stand-in for a signed answer", {"Content-Type": "application/x-pki-message"}
)
NO_MESSAGE = Answer(500, b"not a message of SCEP", TEXT)

_OPEN = {
    "certsrv/mscep_admin": b"<html>stand-in for a page with a password for enrollment</html>",
    "cmcertificateregistration": b"<html>stand-in for the certificate registration point</html>",
}
"""What is beside it and never for devices; a real one asks for a user (8.4)."""


def policy_module(asked: Asked, authorities: Sequence[x509.Certificate]) -> Answer:
    """What it answers; devices have no certificate yet, and come for one."""
    path = f"{asked.directory}/{asked.rest}".rstrip("/")
    if path == "certsrv/mscep/mscep.dll":
        return _scep(asked, parse_qs(asked.query), authorities)
    if asked.method not in READING:
        return ANYTHING
    return Answer(200, _OPEN[path], HTML) if path in _OPEN else NOT_FOUND


def _scep(
    asked: Asked, query: dict[str, list[str]], authorities: Sequence[x509.Certificate]
) -> Answer:
    operation = query.get("operation", [""])[0]
    if operation == "GetCACaps":
        return Answer(200, CAPABILITIES, TEXT)
    if operation == "GetCACert":
        # Section 4.2.1.2: of an authority below another, all of the path, in a certs-only message.
        path = pkcs7.serialize_certificates(list(authorities), Encoding.DER)
        return Answer(200, path, {"Content-Type": "application/x-x509-ca-ra-cert"})
    if operation != "PKIOperation":
        return NOT_FOUND
    message = asked.body if asked.method == "POST" else _in_query(query)
    # Section 3: a ContentInfo, and so a SEQUENCE. Nothing more of it is read here.
    return NOT_SIGNED if message.startswith(b"\x30") else NO_MESSAGE


def _in_query(query: dict[str, list[str]]) -> bytes:
    """Section 4.1: the message of a GET. A plus sign that was not encoded has become a blank."""
    try:
        return base64.b64decode(query.get("message", [""])[0].replace(" ", "+"), validate=True)
    except binascii.Error:
        return b""
