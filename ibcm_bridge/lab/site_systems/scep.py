"""Issues certificates by SCEP, as NDES does (RFC 8894).

How it works:

1. It has a registration authority certificate: clients encrypt requests for it, and it signs the
   responses. The lab's CA has an EC key, which cannot decrypt (`pki`).
2. A request is a PKCS #10 request in an EnvelopedData in a SignedData (section 3). The first one is
   signed with its own key and contains the password; a renewal is signed with a lab certificate.
3. It refuses a wrong request with a signed response (section 3.2.1.4). It ignores data that is not
   SCEP.
"""

from __future__ import annotations

import os
from functools import cached_property

from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat, pkcs7
from cryptography.x509.oid import AttributeOID

from ibcm_bridge.lab.pki.authorities import LabPki
from ibcm_bridge.lab.pki.certificates import LabCredential
from ibcm_bridge.lab.site_systems import cms

CAPABILITIES = b"AES\nPOSTPKIOperation\nRenewal\nSHA-256\nSHA-384\nSHA-512\nSCEPStandard\n"
"""Section 3.5.2. SHA-384 is not listed there, but strongSwan 5.9.8 needs it to use AES."""

PASSWORD = "lab-password"
"""The challenge password (section 2.3); a real policy module creates one for each device (8.4)."""

# Section 3.2: attribute types.
_ATTRIBUTE = "2.16.840.1.113733.1.9."
MESSAGE_TYPE, PKI_STATUS, FAIL_INFO, SENDER_NONCE, RECIPIENT_NONCE, TRANSACTION_ID = (
    f"{_ATTRIBUTE}{number}" for number in (2, 3, 4, 5, 6, 7)
)
# Sections 3.2.1.2 to 3.2.1.4: message types, status, and failure codes.
CERT_REP, RENEWAL_REQ, PKCS_REQ = "3", "17", "19"
SUCCESS, FAILURE = "0", "2"
BAD_MESSAGE_CHECK, BAD_REQUEST = "1", "2"


class Enrollment:
    """Issues certificates of the lab's CA. It generates its key on the first request."""

    def __init__(self, pki: LabPki) -> None:
        self._pki = pki

    @cached_property
    def registration(self) -> LabCredential:
        """The registration authority certificate."""
        return self._pki.registration_authority("ndes01.corp.example")

    def certificates(self) -> bytes:
        """Section 4.2.1.2: the registration authority and its certification path, certs-only."""
        path = [self.registration.certificate, self._pki.issuing, self._pki.root]
        return pkcs7.serialize_certificates(path, Encoding.DER)

    def respond(self, data: bytes) -> bytes | None:
        """Return a CertRep; None if `data` is not a SCEP message."""
        try:
            message = cms.read_signed(data)
            kind = message.attribute(MESSAGE_TYPE, cms.PRINTABLE).decode("ascii")
            transaction = message.attribute(TRANSACTION_ID, cms.PRINTABLE)
            nonce = message.attribute(SENDER_NONCE, cms.OCTETS)
        except (ValueError, x509.InvalidVersion):
            return None
        try:
            issued = self._issue(kind, message)
        except _Refused as refused:
            outcome = {PKI_STATUS: _text(FAILURE), FAIL_INFO: _text(str(refused))}
            content = b""
        else:
            outcome = {PKI_STATUS: _text(SUCCESS)}
            # Section 3.3.2: the client identifies its certificate by its key.
            certificates = pkcs7.serialize_certificates([issued, self._pki.issuing], Encoding.DER)
            content = enveloped(certificates, message.signer)
        attributes = {
            MESSAGE_TYPE: _text(CERT_REP),
            TRANSACTION_ID: cms.element(cms.PRINTABLE, transaction),
            SENDER_NONCE: cms.element(cms.OCTETS, os.urandom(16)),
            RECIPIENT_NONCE: cms.element(cms.OCTETS, nonce),
            **outcome,
        }
        return signed(content, attributes, self.registration)

    def _issue(self, kind: str, message: cms.Signed) -> x509.Certificate:
        if kind not in (PKCS_REQ, RENEWAL_REQ):
            raise _Refused(BAD_REQUEST)
        registration = self.registration
        assert isinstance(registration.key, rsa.RSAPrivateKey)
        try:
            plain = pkcs7.pkcs7_decrypt_der(
                message.content,
                registration.certificate,
                registration.key,
                [],
            )
            request = cms.read_request(plain)
        except ValueError as error:
            raise _Refused(BAD_MESSAGE_CHECK) from error
        if not self._is_entitled(kind, message.signer, request):
            raise _Refused(BAD_REQUEST)
        try:
            return self._pki.enrolled(request)
        except ValueError as error:
            raise _Refused(BAD_REQUEST) from error

    def _is_entitled(
        self, kind: str, signer: x509.Certificate, request: x509.CertificateSigningRequest
    ) -> bool:
        if kind == RENEWAL_REQ:  # section 2.3: signed with the existing certificate
            try:
                signer.verify_directly_issued_by(self._pki.issuing)
            except (ValueError, TypeError, InvalidSignature):
                return False
            return True
        return _key(signer) == _key(request) and _password(request) == PASSWORD


class _Refused(Exception):
    """The request is refused with this failInfo."""


def enveloped(content: bytes, recipient: x509.Certificate) -> bytes:
    """Return an EnvelopedData for one recipient (section 3.2.2)."""
    builder = pkcs7.PKCS7EnvelopeBuilder().set_data(content).add_recipient(recipient)
    return builder.encrypt(Encoding.DER, [pkcs7.PKCS7Options.Binary])


def signed(content: bytes, attributes: dict[str, bytes], by: LabCredential) -> bytes:
    """Return a signed pkiMessage (section 3.2)."""
    assert isinstance(by.key, rsa.RSAPrivateKey)
    return cms.sign(content, attributes, by.certificate, by.key)


def _text(value: str) -> bytes:
    return cms.element(cms.PRINTABLE, value.encode("ascii"))


def _key(of: x509.Certificate | x509.CertificateSigningRequest) -> bytes:
    return of.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)


def _password(request: x509.CertificateSigningRequest) -> str:
    try:
        return request.attributes.get_attribute_for_oid(
            AttributeOID.CHALLENGE_PASSWORD
        ).value.decode()
    except (x509.AttributeNotFound, ValueError):
        return ""
