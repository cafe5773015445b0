"""Registrations: the registered key, and the proof of its possession."""

from __future__ import annotations

import re

import pytest
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from hypothesis import given
from hypothesis import strategies as st

from ibcm_bridge.lab.pki.authorities import LabPki
from ibcm_bridge.lab.pki.certificates import LabCredential
from ibcm_bridge.lab.protocol import documents
from ibcm_bridge.messages.document import Document, read_document
from ibcm_bridge.messages.registration import Registration, read_registration


def document(xml: str) -> Document:
    result = read_document(xml, "here")
    assert isinstance(result, Document), result
    return result


def read(xml: str) -> Registration | None:
    return read_registration(document(xml))


def request(credential: LabCredential, key: RSAPrivateKey | None = None) -> str:
    """A registration, signed with the certificate's key or with another."""
    assert isinstance(credential.key, RSAPrivateKey)
    key = key or credential.key
    return documents.registration_request(credential.certificate, key, fqdn="pc1.corp.example")


@pytest.fixture(scope="module")
def computer(pki: LabPki) -> LabCredential:
    return pki.computer("pc1.corp.example")


@pytest.fixture(scope="module")
def stranger(pki: LabPki) -> LabCredential:
    return pki.computer("pc9.corp.example")


def spki(credential: LabCredential) -> bytes:
    return credential.certificate.public_key().public_bytes(
        Encoding.DER, PublicFormat.SubjectPublicKeyInfo
    )


def test_a_registration_is_parsed_with_its_key(computer: LabCredential) -> None:
    assert read(request(computer)) == Registration(spki(computer), proven=True)


def test_a_registration_signed_with_another_key_is_unproven(
    computer: LabCredential, stranger: LabCredential
) -> None:
    assert isinstance(stranger.key, RSAPrivateKey)
    assert read(request(computer, stranger.key)) == Registration(spki(computer), proven=False)


@pytest.mark.parametrize("xml", ["<Report/>", "<ClientRegistration/>", "<a><Data/></a>"])
def test_other_documents_are_not_registrations(xml: str) -> None:
    assert read(xml) is None


def test_the_signature_covers_the_data_element_as_sent(computer: LabCredential) -> None:
    xml = request(computer)
    for same in (
        f'<?xml version="1.0" encoding="utf-16"?>\r\n{xml}\r\n',
        xml.replace("<Signature>", "\n <Signature>"),
        xml.replace("<SignatureValue>", "<SignatureValue>\n\t"),
        xml.replace("ClientRegistrationRequest", "CLIENTREGISTRATIONREQUEST"),
    ):
        assert read(same) == Registration(spki(computer), proven=True)
    for changed in (
        xml.replace("</Data>", " </Data>"),
        xml.replace("InternetFlag", "internetFlag"),
        xml.replace('SMSID=""', 'SMSID="GUID:5E2B7C1A-94D0-4B6E-8F3A-0C1D2E3F4A5B"'),
        xml.replace("<Data ", "<Data  "),
        xml.replace("Data>", "data>").replace("<Data", "<data"),
    ):
        assert read(changed) == Registration(spki(computer), proven=False)


def test_an_ambiguous_data_element_is_unproven(computer: LabCredential) -> None:
    xml = request(computer)
    for unclear in (
        xml.replace("<Signature>", "<Data/><Signature>"),
        xml.replace("<Signature>", "<!-- </Data> --><Signature>"),
        xml.replace("<ClientRegistrationRequest>", "<ClientRegistrationRequest><!-- <Data> -->"),
        xml.replace("<Signature>", "<Signature><SignatureValue>00</SignatureValue>"),
    ):
        registration = read(unclear)
        assert registration is not None
        assert not registration.proven


def test_with_two_certificates_no_key_is_registered(
    computer: LabCredential, stranger: LabCredential
) -> None:
    other = stranger.certificate.public_bytes(Encoding.DER).hex()
    second = f"<Certificates><x:signing xmlns:x='u'>{other}</x:signing></Certificates>"
    xml = request(computer).replace("<Signature>", f"{second}<Signature>")
    assert read(xml) == Registration(b"", proven=False)


# Malformed and unusable certificates

_HELD = re.compile(r"(<Signing[^>]*>)[^<]*")


def with_certificate(xml: str, der: bytes) -> str:
    return _HELD.sub(lambda found: found[1] + der.hex(), xml)


@pytest.mark.parametrize(
    ("there", "instead"),
    [
        ("a003020102", "a003020105"),  # a version that there is not
        ("06092a864886f70d010101", "06092a864886f70d010109"),  # a kind of key that there is not
        ("06092a864886f70d010101", "06072a8648ce3d020100"),
        ("0282010100", "0282010180"),  # a modulus below zero
        ("0203010001", "0203000001"),
    ],
)
def test_an_unusable_certificate_raises_no_exception(
    computer: LabCredential, there: str, instead: str
) -> None:
    der = computer.certificate.public_bytes(Encoding.DER)
    changed = bytes.fromhex(der.hex().replace(there, instead, 1))
    assert changed != der
    registration = read(with_certificate(request(computer), changed))
    assert registration is not None
    assert not registration.proven


def test_a_truncated_certificate_registers_nothing(computer: LabCredential) -> None:
    xml, der = request(computer), computer.certificate.public_bytes(Encoding.DER)
    for length in range(len(der)):
        assert read(with_certificate(xml, der[:length])) == Registration(b"", proven=False)


@pytest.mark.filterwarnings("ignore:Parsed a serial number")
@given(st.data())
def test_one_changed_byte_of_a_certificate_raises_no_exception(
    computer: LabCredential, data: st.DataObject
) -> None:
    der = bytearray(computer.certificate.public_bytes(Encoding.DER))
    der[data.draw(st.integers(0, len(der) - 1))] ^= data.draw(st.integers(1, 255))
    registration = read(with_certificate(request(computer), bytes(der)))
    assert registration is not None
    assert not registration.proven, "the certificate is part of what is signed"


@given(st.data())
def test_one_changed_character_of_a_registration_proves_nothing_else(
    computer: LabCredential, data: st.DataObject
) -> None:
    xml = request(computer)
    at = data.draw(st.integers(0, len(xml) - 1))
    changed = xml[:at] + data.draw(st.sampled_from("<>&x0 \n")) + xml[at + 1 :]
    result = read_document(changed, "here")
    registration = read_registration(result) if isinstance(result, Document) else None
    if registration is not None and registration.proven:
        begin, end = xml.index("<Data"), xml.index("</Data>")
        assert changed[begin:end] == xml[begin:end]
