"""SCEP in the lab, with valid and malformed requests.

tests/integration/test_enrollment.py tests it with strongSwan and certmonger.
"""

from __future__ import annotations

import os
import subprocess
from collections.abc import Mapping
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.serialization import Encoding, pkcs7
from cryptography.x509.oid import AttributeOID, ExtendedKeyUsageOID, NameOID

from ibcm_bridge.lab.pki.authorities import LabPki
from ibcm_bridge.lab.pki.certificates import LabCredential, rsa_key
from ibcm_bridge.lab.site_systems import cms, scep
from ibcm_bridge.lab.site_systems.scep import Enrollment

NAME = "pc9.corp.example"
NONCE = b"0123456789abcdef"


@pytest.fixture(scope="module")
def pki() -> LabPki:
    return LabPki.make(now=datetime.now(UTC))


@pytest.fixture(scope="module")
def enrollment(pki: LabPki) -> Enrollment:
    return Enrollment(pki)


@pytest.fixture(scope="module")
def device(pki: LabPki) -> LabCredential:
    """The self-signed certificate of a device that requests its first certificate."""
    return pki.self_signed(NAME)


def request(key: rsa.RSAPrivateKey, password: str | None = scep.PASSWORD) -> bytes:
    builder = (
        x509.CertificateSigningRequestBuilder()
        .subject_name(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, NAME)]))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName(NAME)]), critical=False)
    )
    if password is not None:
        builder = builder.add_attribute(AttributeOID.CHALLENGE_PASSWORD, password.encode())
    return builder.sign(key, hashes.SHA256()).public_bytes(Encoding.DER)


def text(value: str) -> bytes:
    return cms.element(cms.PRINTABLE, value.encode())


def message(content: bytes, by: LabCredential, kind: str = scep.PKCS_REQ) -> bytes:
    attributes = {
        scep.MESSAGE_TYPE: text(kind),
        scep.TRANSACTION_ID: text("A1"),
        scep.SENDER_NONCE: cms.element(cms.OCTETS, NONCE),
    }
    return scep.signed(content, attributes, by)


def read_response(response: bytes | None, enrollment: Enrollment) -> tuple[cms.Signed, str, str]:
    """Return the message of a response, its status and its failInfo."""
    assert response is not None
    read = cms.read_signed(response)
    assert read.signer == enrollment.registration.certificate
    assert read.attribute(scep.MESSAGE_TYPE, cms.PRINTABLE) == scep.CERT_REP.encode()
    assert read.attribute(scep.TRANSACTION_ID, cms.PRINTABLE) == b"A1"
    assert read.attribute(scep.RECIPIENT_NONCE, cms.OCTETS) == NONCE
    assert read.attribute(scep.SENDER_NONCE, cms.OCTETS) != NONCE
    status = read.attribute(scep.PKI_STATUS, cms.PRINTABLE).decode()
    if status == scep.SUCCESS:
        return read, status, ""
    assert read.content == b""
    return read, status, read.attribute(scep.FAIL_INFO, cms.PRINTABLE).decode()


def rsa_of(credential: LabCredential) -> rsa.RSAPrivateKey:
    assert isinstance(credential.key, rsa.RSAPrivateKey)
    return credential.key


def issued(response: cms.Signed, to: LabCredential) -> x509.Certificate:
    """Return the certificate for the key of `to`."""
    plain = pkcs7.pkcs7_decrypt_der(response.content, to.certificate, rsa_of(to), [])
    return next(
        certificate
        for certificate in pkcs7.load_der_pkcs7_certificates(plain)
        if certificate.public_key() == to.key.public_key()
    )


def test_a_client_with_the_password_gets_a_certificate(
    pki: LabPki, enrollment: Enrollment, device: LabCredential
) -> None:
    content = scep.enveloped(request(rsa_of(device)), enrollment.registration.certificate)
    response, status, _ = read_response(enrollment.respond(message(content, device)), enrollment)
    assert status == scep.SUCCESS
    certificate = issued(response, device)
    certificate.verify_directly_issued_by(pki.issuing)
    names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    assert names.get_values_for_type(x509.DNSName) == [NAME]
    uses = certificate.extensions.get_extension_for_class(x509.ExtendedKeyUsage).value
    assert list(uses) == [ExtendedKeyUsageOID.CLIENT_AUTH]
    assert certificate.subject.rfc4514_string() == f"CN={NAME}"


def test_a_client_with_a_certificate_renews_it_without_the_password(
    pki: LabPki, enrollment: Enrollment, device: LabCredential
) -> None:
    own, key = pki.computer(NAME), rsa_key()
    content = scep.enveloped(request(key, None), enrollment.registration.certificate)
    response, status, _ = read_response(
        enrollment.respond(message(content, own, scep.RENEWAL_REQ)), enrollment
    )
    assert status == scep.SUCCESS
    plain = pkcs7.pkcs7_decrypt_der(response.content, own.certificate, rsa_of(own), [])
    keys = [certificate.public_key() for certificate in pkcs7.load_der_pkcs7_certificates(plain)]
    assert key.public_key() in keys
    # A self-signed certificate, or one of another authority, is not sufficient.
    for other in (device, pki.foreign_computer(NAME)):
        refused = enrollment.respond(message(content, other, scep.RENEWAL_REQ))
        assert read_response(refused, enrollment)[1:] == (scep.FAILURE, scep.BAD_REQUEST)


@pytest.mark.parametrize("password", ["", "lab-passwor", "LAB-PASSWORD", None])
def test_a_client_without_the_password_is_refused(
    enrollment: Enrollment, device: LabCredential, password: str | None
) -> None:
    content = scep.enveloped(request(rsa_of(device), password), enrollment.registration.certificate)
    response = enrollment.respond(message(content, device))
    assert read_response(response, enrollment)[1:] == (scep.FAILURE, scep.BAD_REQUEST)


def test_a_request_for_another_key_is_refused(
    enrollment: Enrollment, device: LabCredential
) -> None:
    content = scep.enveloped(request(rsa_key()), enrollment.registration.certificate)
    response = enrollment.respond(message(content, device))
    assert read_response(response, enrollment)[1:] == (scep.FAILURE, scep.BAD_REQUEST)


def test_an_unreadable_request_is_refused(
    pki: LabPki, enrollment: Enrollment, device: LabCredential
) -> None:
    csr = request(rsa_of(device))
    for content in (
        csr,
        b"",
        b"\x30\x80",
        scep.enveloped(csr, pki.computer(NAME).certificate),
        scep.enveloped(b"no request", enrollment.registration.certificate),
        # signed with another key than the one in it
        scep.enveloped(_forged(csr), enrollment.registration.certificate),
    ):
        response = enrollment.respond(message(content, device))
        assert read_response(response, enrollment)[1:] == (scep.FAILURE, scep.BAD_MESSAGE_CHECK)


def _forged(csr: bytes) -> bytes:
    return csr.replace(NAME.encode(), b"mp1.corp.example")


@pytest.mark.parametrize("kind", ["3", "18", "20", "21", "22", "x"])
def test_other_messages_are_refused(
    enrollment: Enrollment, device: LabCredential, kind: str
) -> None:
    content = scep.enveloped(request(rsa_of(device)), enrollment.registration.certificate)
    response = enrollment.respond(message(content, device, kind))
    assert read_response(response, enrollment)[1:] == (scep.FAILURE, scep.BAD_REQUEST)


def test_an_invalid_message_gets_no_response(enrollment: Enrollment, device: LabCredential) -> None:
    good = message(b"x", device)
    other_key = replace(device, key=rsa_key())
    for data in (
        b"",
        b"\x30",
        b"\x30\x80 in place of a signed message",
        good[:-1],
        good + b"\0",
        good.replace(NONCE, NONCE[::-1]),  # a signed attribute
        good.replace(b"\x04\x01x", b"\x04\x01y"),  # the content
        message(b"x", other_key),
        scep.signed(b"x", {scep.MESSAGE_TYPE: text("19")}, device),
        pkcs7.serialize_certificates([device.certificate], Encoding.DER),
    ):
        assert enrollment.respond(data) is None, data[:40]


def test_the_certificates_are_the_path_and_the_registration_authority(
    pki: LabPki, enrollment: Enrollment
) -> None:
    certificates = pkcs7.load_der_pkcs7_certificates(enrollment.certificates())
    own = enrollment.registration.certificate
    assert set(certificates) == {own, pki.issuing, pki.root}
    usage = own.extensions.get_extension_for_class(x509.KeyUsage).value
    assert usage.key_encipherment
    assert usage.digital_signature


# CMS


@pytest.mark.parametrize(
    "content",
    [b"x", b"x" * 0x7F, b"x" * 0x80, b"x" * 0xFF, b"x" * 0x100, b"x" * 0x1_0000],
    ids=lambda content: hex(len(content)),
)
def test_openssl_verifies_a_signed_message(
    device: LabCredential, tmp_path: Path, content: bytes
) -> None:
    (tmp_path / "signed").write_bytes(message(content, device))
    command = ["openssl", "cms", "-verify", "-noverify", "-binary", "-inform", "DER"]
    command += ["-in", str(tmp_path / "signed"), "-out", str(tmp_path / "content")]
    done = subprocess.run(command, capture_output=True, timeout=20, check=False)
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "content").read_bytes() == content


@pytest.mark.parametrize("digest", ["sha256", "sha384", "sha512"])
def test_a_message_signed_by_openssl_is_verified(
    device: LabCredential, tmp_path: Path, digest: str
) -> None:
    content = os.urandom(300)
    (tmp_path / "content").write_bytes(content)
    (tmp_path / "pem").write_bytes(device.key_pem() + device.chain_pem())
    command = ["openssl", "cms", "-sign", "-binary", "-nodetach", "-md", digest]
    command += ["-outform", "DER", "-signer", str(tmp_path / "pem")]
    command += ["-in", str(tmp_path / "content"), "-out", str(tmp_path / "signed")]
    subprocess.run(command, capture_output=True, timeout=20, check=True)
    read = cms.read_signed((tmp_path / "signed").read_bytes())
    assert (read.content, read.signer) == (content, device.certificate)


@pytest.mark.parametrize(
    "data",
    [
        b"\x30",
        b"\x30\x01",
        b"\x30\x80\0\0",  # indefinite length (BER)
        b"\x30\x81\x01x",  # not the shortest
        b"\x30\x82\x00\x80" + b"x" * 128,
        b"\x30\x82\x01",
        b"\x30\x02x",
    ],
)
def test_invalid_der_is_refused(data: bytes) -> None:
    with pytest.raises(ValueError):
        list(cms.elements(data))


OIDS: Mapping[str, str] = {
    "1.2.840.113549.1.7.2": "06092a864886f70d010702",
    "2.16.840.1.113733.1.9.2": "060a6086480186f845010902",
    "1.3.6.1.4.1.311.20.2.1": "060a2b060104018237140201",
}


@pytest.mark.parametrize(("dotted", "der"), OIDS.items())
def test_object_identifiers_are_encoded_in_base_128(dotted: str, der: str) -> None:
    assert cms.object_identifier(dotted).hex() == der
