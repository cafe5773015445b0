"""The facts of a message: complete, and small enough for a report."""

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
from ibcm_bridge.messages.guid_places import GuidUse
from ibcm_bridge.messages.limits import MAX_SLICES, MAX_VALUES
from ibcm_bridge.policy.endpoints import Endpoint
from tests.messages.making import DOCUMENTS, GUID_PLACES, GUIDS

ENDPOINT = Endpoint("MP_X", frozenset(), anonymous=True, encrypted=False)


def body_of(documents: Sequence[str], compressed: bool = True, hooks: str = "") -> bytes:
    """A message with a body and attachments."""
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
    message = read_ccm_request(
        ccm.CONTENT_TYPE.encode(), body, 10_000_000, lambda _endpoint, _root: GUID_PLACES
    )
    assert isinstance(message, CcmRequest), message
    return message


def facts_of(body: bytes) -> MessageFacts:
    facts = message_facts(request(body), ENDPOINT)
    assert isinstance(facts, MessageFacts), facts
    return facts


@given(st.lists(DOCUMENTS, min_size=1, max_size=4), st.booleans())
def test_the_facts_have_the_values_of_all_documents_and_of_the_header(
    documents: list[str], compressed: bool
) -> None:
    body = body_of(documents, compressed, '<Hook2 Name="clientauth"><a Name="Token">x</a></Hook2>')
    message, facts = request(body), facts_of(body)
    assert [document.text for document in message.documents] == list(
        dict.fromkeys(documents)
    ) or len(message.documents) == len(documents)
    for document in message.documents:
        for place, texts in document.guids.items():
            own = {(place.label, text) for text in texts} if place.use != GuidUse.OTHER else set()
            assert own <= set(facts.client_guids)
    assert (facts.source_id, facts.endpoint) == (GUIDS[0], "MP_X")
    assert facts.signature == (("Token", "x"),)
    begin, end = facts.payload
    assert body[begin:end] == message.payload.body
    report = Report("d", CleanBody(("sent:1",), facts, ()))
    assert read_report(write_report(report)) == report


# The limits of a report


def naming(count: int, first: int = 0) -> str:
    machines = (f"<Machine><ClientID>{first + at}</ClientID></Machine>" for at in range(count))
    return f"<Report>{''.join(machines)}</Report>"


def test_a_message_with_too_many_client_guids_is_refused() -> None:
    documents = [naming(MAX_VALUES, MAX_VALUES * at) for at in range(MAX_SLICES)]
    facts = message_facts(request(body_of(documents)), ENDPOINT)
    assert isinstance(facts, Deny)
    assert facts.rule == "ccm.limits"
    facts = facts_of(body_of(documents[:3]))
    assert len(facts.client_guids) == 3 * MAX_VALUES
    assert read_report(write_report(Report("d", CleanBody((), facts, ())))).digest == "d"


# Registrations


@pytest.fixture(scope="module")
def registrations(pki: LabPki) -> tuple[str, str]:
    """Registrations of two computers."""
    found = []
    for name in ("pc1.corp.example", "pc9.corp.example"):
        credential = pki.computer(name)
        assert isinstance(credential.key, RSAPrivateKey)
        found.append(
            documents.registration_request(credential.certificate, credential.key, fqdn=name)
        )
    return found[0], found[1]


def test_the_facts_have_the_registered_key(registrations: tuple[str, str]) -> None:
    registration = facts_of(body_of(registrations[:1])).registration
    assert registration is not None
    assert (registration.proven, bool(registration.key)) == (True, True)


def test_two_registrations_are_unproven(registrations: tuple[str, str]) -> None:
    # A management point replies to one of them, and it is not known to which.
    one, other = registrations
    for both in ((one, other), (other, one), (one, one.replace("CcmExec", "CcmSetup"))):
        registration = facts_of(body_of(both)).registration
        assert registration is not None
        assert (registration.key, registration.proven) == (b"", False)


def test_the_facts_do_not_have_an_unacceptable_key(pki: LabPki) -> None:
    credential = pki.computer("pc1.corp.example")
    assert isinstance(credential.key, RSAPrivateKey)
    # 16,384 bits: in hexadecimal, more than a report allows.
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
