"""What a message says of itself: all that its documents say, and small enough to be passed on."""

from __future__ import annotations

import zlib
from collections.abc import Sequence

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey
from cryptography.hazmat.primitives.serialization import Encoding
from hypothesis import given
from hypothesis import strategies as st

from ibcm_bridge.decisions.denial import Deny
from ibcm_bridge.inspection.message_facts import MessageFacts, message_facts
from ibcm_bridge.inspection.reports import Report, read_report, write_report
from ibcm_bridge.inspection.subject import CleanBody
from ibcm_bridge.lab.pki.authorities import LabPki
from ibcm_bridge.lab.protocol import ccm, documents
from ibcm_bridge.messages.ccm import CcmRequest, read_ccm_request
from ibcm_bridge.messages.document import Place
from ibcm_bridge.messages.limits import MAX_SLICES, MAX_VALUES
from ibcm_bridge.policy.endpoints import Endpoint
from tests.messages.making import DOCUMENTS, GUIDS

ENDPOINT = Endpoint("MP_X", frozenset(), anonymous=True, encrypted=False)


def body_of(documents: Sequence[str], compressed: bool = True, hooks: str = "") -> bytes:
    """A body, and attachments."""
    texts = [text.encode("utf-16-le") + b"\0\0" for text in documents]
    places = [(sum(map(len, texts[:at])), len(text)) for at, text in enumerate(texts)]
    slices = [f'Offset="{offset}" Length="{length}"/>' for offset, length in places]
    header = (
        f"<Msg><Body {slices[0]}{''.join(f'<Attachment {attributes}' for attributes in slices[1:])}"
        f"<Hooks>{hooks}{ccm.ZLIB_HOOK * compressed}</Hooks><SourceID>{GUIDS[0]}</SourceID>"
        "<TargetEndpoint>MP_X</TargetEndpoint></Msg>"
    )
    plain = b"".join(texts)
    if compressed:
        return ccm.raw_message(header, zlib.compress(plain))
    return ccm.raw_message(header, plain, inner_type=b"text/plain; charset=UTF-16")


def request(body: bytes) -> CcmRequest:
    message = read_ccm_request(ccm.CONTENT_TYPE.encode(), body, 10_000_000)
    assert isinstance(message, CcmRequest), message
    return message


def facts_of(body: bytes) -> MessageFacts:
    facts = message_facts(request(body), ENDPOINT)
    assert isinstance(facts, MessageFacts), facts
    return facts


@given(st.lists(DOCUMENTS, min_size=1, max_size=4), st.booleans())
def test_all_that_documents_and_header_say_is_told(documents: list[str], compressed: bool) -> None:
    body = body_of(documents, compressed, '<Hook2 Name="clientauth"><a Name="Token">x</a></Hook2>')
    message, facts = request(body), facts_of(body)
    assert [document.text for document in message.documents] == list(
        dict.fromkeys(documents)
    ) or len(message.documents) == len(documents)
    for document in message.documents:
        for place in (Place.CLIENT_ID, Place.SMSID):
            assert set(document.at(place)) <= set(facts.client_guids)
    assert (facts.source_id, facts.endpoint) == (GUIDS[0], "MP_X")
    assert facts.signature == (("Token", "x"),)
    begin, end = facts.payload
    assert body[begin:end] == message.payload.body
    report = Report("d", CleanBody(("sent:1",), facts, ()))
    assert read_report(write_report(report)) == report


# What comes back of a worker must fit through the pipe


def naming(count: int, first: int = 0) -> str:
    machines = (f"<Machine><ClientID>{first + at}</ClientID></Machine>" for at in range(count))
    return f"<Report>{''.join(machines)}</Report>"


def test_a_message_that_names_more_clients_than_can_be_told_is_refused() -> None:
    documents = [naming(MAX_VALUES, MAX_VALUES * at) for at in range(MAX_SLICES)]
    facts = message_facts(request(body_of(documents)), ENDPOINT)
    assert isinstance(facts, Deny)
    assert facts.rule == "ccm.limits"
    told = facts_of(body_of(documents[:3]))
    assert len(told.client_guids) == 3 * MAX_VALUES
    assert read_report(write_report(Report("d", CleanBody((), told, ())))).digest == "d"


# Registrations


@pytest.fixture(scope="module")
def registrations(pki: LabPki) -> tuple[str, str]:
    """Of two computers."""
    found = []
    for name in ("pc1.corp.example", "pc9.corp.example"):
        credential = pki.computer(name)
        assert isinstance(credential.key, RSAPrivateKey)
        found.append(
            documents.registration_request(credential.certificate, credential.key, fqdn=name)
        )
    return found[0], found[1]


def test_a_registration_is_told_with_its_key(registrations: tuple[str, str]) -> None:
    registration = facts_of(body_of(registrations[:1])).registration
    assert registration is not None
    assert (registration.proven, bool(registration.key)) == (True, True)


def test_of_two_registrations_none_is_believed(registrations: tuple[str, str]) -> None:
    # A management point answers to one of them; which, only it knows.
    one, other = registrations
    for both in ((one, other), (other, one), (one, one.replace("CcmExec", "CcmSetup"))):
        registration = facts_of(body_of(both)).registration
        assert registration is not None
        assert (registration.key, registration.proven) == (b"", False)


def test_a_registered_key_that_nobody_would_take_is_not_told(pki: LabPki) -> None:
    credential = pki.computer("pc1.corp.example")
    assert isinstance(credential.key, RSAPrivateKey)
    # 16,384 bits: more in hexadecimal than a report has room for.
    huge = rsa.RSAPublicNumbers(65_537, (1 << 16_384) - 1).public_key()
    now = credential.certificate.not_valid_before_utc
    certificate = (
        x509.CertificateBuilder(
            credential.certificate.issuer, credential.certificate.subject, huge, 1, now, now
        )
    ).sign(credential.key, hashes.SHA256())
    assert len(certificate.public_bytes(Encoding.DER)) > 2_048
    xml = documents.registration_request(certificate, credential.key, fqdn="pc1.corp.example")
    facts = facts_of(body_of([xml]))
    assert facts.registration is not None
    assert (facts.registration.key, facts.registration.proven) == (b"", False)
    assert read_report(write_report(Report("d", CleanBody((), facts, ())))).digest == "d"
