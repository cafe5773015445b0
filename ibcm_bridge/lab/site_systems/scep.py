"""What issues certificates by SCEP in the lab: NDES, as RFC 8894 has it.

How it works:

1. It has a registration authority's certificate: requests are encrypted for it, and it signs the
   answers. The authority of the lab has a key that cannot decrypt (`pki`).
2. A request is a PKCS #10 request in an EnvelopedData in a SignedData (section 3). A first one is
   signed with its own key and has the password; a renewal is signed with a certificate of the lab.
3. What is wrong with one that can be read is answered by a signed refusal (section 3.2.1.4); what
   cannot be read is no SCEP, and has no answer.
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
"""Section 3.5.2. SHA-384 is not in its list; strongSwan 5.9.8 takes AES only where it is here."""

PASSWORD = "lab-password"
"""The challenge password (section 2.3); a real policy module has one made for each device (8.4)."""

# Section 3.2: the types of attributes.
_ATTRIBUTE = "2.16.840.1.113733.1.9."
MESSAGE_TYPE, PKI_STATUS, FAIL_INFO, SENDER_NONCE, RECIPIENT_NONCE, TRANSACTION_ID = (
    f"{_ATTRIBUTE}{number}" for number in (2, 3, 4, 5, 6, 7)
)
# Sections 3.2.1.2 to 3.2.1.4: message types, and what becomes of a request.
CERT_REP, RENEWAL_REQ, PKCS_REQ = "3", "17", "19"
SUCCESS, FAILURE = "0", "2"
BAD_MESSAGE_CHECK, BAD_REQUEST = "1", "2"


class Enrollment:
    """Issues for the lab's authority. Its keys are made when somebody asks first."""

    def __init__(self, pki: LabPki) -> None:
        self._pki = pki

    @cached_property
    def registration(self) -> LabCredential:
        """The registration authority."""
        return self._pki.registration_authority("ndes01.corp.example")

    def certificates(self) -> bytes:
        """Section 4.2.1.2: the registration authority and all of the path above, certs-only."""
        path = [self.registration.certificate, self._pki.issuing, self._pki.root]
        return pkcs7.serialize_certificates(path, Encoding.DER)

    def respond(self, data: bytes) -> bytes | None:
        """A CertRep, or nothing where `data` is no message of SCEP."""
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
            # Section 3.3.2: who asked knows it by its key.
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
        if not self._may_have_one(kind, message.signer, request):
            raise _Refused(BAD_REQUEST)
        try:
            return self._pki.enrolled(request)
        except ValueError as error:
            raise _Refused(BAD_REQUEST) from error

    def _may_have_one(
        self, kind: str, signer: x509.Certificate, request: x509.CertificateSigningRequest
    ) -> bool:
        if kind == RENEWAL_REQ:  # section 2.3: the certificate it has is what it proves itself by
            try:
                signer.verify_directly_issued_by(self._pki.issuing)
            except (ValueError, TypeError, InvalidSignature):
                return False
            return True
        return _key(signer) == _key(request) and _password(request) == PASSWORD


class _Refused(Exception):
    """A failInfo."""


def enveloped(content: bytes, recipient: x509.Certificate) -> bytes:
    """An EnvelopedData (section 3.2.2), which one recipient can open."""
    builder = pkcs7.PKCS7EnvelopeBuilder().set_data(content).add_recipient(recipient)
    return builder.encrypt(Encoding.DER, [pkcs7.PKCS7Options.Binary])


def signed(content: bytes, attributes: dict[str, bytes], by: LabCredential) -> bytes:
    """A pkiMessage (section 3.2)."""
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
