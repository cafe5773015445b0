"""Targets: readers of whole messages, and of what they are signed with."""

from __future__ import annotations

import zlib
from collections.abc import Iterator
from datetime import UTC, datetime

from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey
from cryptography.hazmat.primitives.serialization import Encoding

from ibcm_bridge.decisions.denial import Deny
from ibcm_bridge.inspection.message_facts import message_facts
from ibcm_bridge.inspection.reports import Report, read_report, write_report
from ibcm_bridge.inspection.response import InspectedReply, ReadReply, judge_reply, read_reply
from ibcm_bridge.inspection.subject import CleanBody
from ibcm_bridge.lab.pki.authorities import LabPki
from ibcm_bridge.lab.protocol import ccm, documents, signing
from ibcm_bridge.lab.protocol.reply_documents import ASSIGNMENTS, registration_response
from ibcm_bridge.messages.ccm import CcmRequest, read_ccm_request
from ibcm_bridge.messages.document import Document, read_document
from ibcm_bridge.messages.document_values import Place
from ibcm_bridge.messages.registration import read_registration
from ibcm_bridge.messages.registration_reply import read_registration_reply, registration_problem
from ibcm_bridge.messages.signatures import read_public_key_blob, rsa_key, verifies
from ibcm_bridge.policy.bodies import ReplyReading
from ibcm_bridge.policy.endpoints import Endpoint
from ibcm_bridge.policy.message_policy import Enforcement, MessagePolicy
from tests.messages.second_readers import READERS, values

from .message_targets import (
    DOCUMENT_WORDS,
    GUID,
    HEADER,
    HEADER_WORDS,
    REQUESTS,
    TYPE,
    XML_WORDS,
    as_text,
)
from .target import Target, bounded

LIMIT = 1_000_000


def _built(data: bytes) -> bytes:
    """A message of a header and a payload, which are texts, with 0xFF between: never in UTF-8.

    The first byte says whether it is compressed, and what ends it. `@` is the payload's size.
    """
    form, (head, _, payload) = data[:1], data[1:].partition(b"\xff")
    plain = (
        as_text(payload).encode("utf-16-le") + (b"", b"\0\0", b"\0\0\r\n")[ord(form or b"0") % 3]
    )
    text = as_text(head.replace(b"@", str(len(plain) & ~1).encode()))
    if form < b"a":
        return ccm.raw_message(text, zlib.compress(plain))
    return ccm.raw_message(text, plain, inner_type=b"text/plain; charset=UTF-16")


ENDPOINT = Endpoint("MP_X", frozenset(), anonymous=True, encrypted=True)


def request(data: bytes) -> None:
    """What is told of what is accepted is found again in the bytes, and fits through a pipe."""
    body = data[1:] if data[:1] == b"\0" else _built(data)
    read = read_ccm_request(TYPE, body, LIMIT)
    if isinstance(read, Deny):
        bounded(read)
        return
    assert len(read.inflated) <= LIMIT
    _nothing_is_left_out(read)
    facts = message_facts(read, ENDPOINT)
    if isinstance(facts, Deny):
        bounded(facts)
        return
    begin, end = facts.payload
    assert body[begin:end] == read.payload.body
    report = Report("d", CleanBody((), facts, ()))
    line = write_report(report)
    assert write_report(read_report(line)) == line


def _nothing_is_left_out(read: CcmRequest) -> None:
    if read.encrypted:
        return
    rest = bytearray(read.inflated)
    for offset, length in read.header.slices:
        rest[offset : offset + length] = bytes(length)
    assert not rest.strip(b"\0\r\n"), "text in no document"
    assert len(read.documents) == len(set(read.header.slices))


def _requests() -> Iterator[bytes]:
    head = HEADER.replace('Length="0"', 'Length="@"').encode()
    compressed = head.replace(b"<Hooks>", b"<Hooks>" + ccm.ZLIB_HOOK.encode())
    for text in REQUESTS:
        for form in (b"0", b"1", b"2"):
            yield form + compressed + b"\xff" + text.encode()
        yield b"a" + head + b"\xff" + text.encode()
        yield b"\0" + ccm.ccm_post_body(endpoint="MP_X", body_xml=text, client_guid=GUID)


RULES = MessagePolicy(
    host_names=Enforcement.ENFORCE, internal_domains=frozenset(("corp.example", "lab"))
)


def reply(data: bytes) -> None:
    """An answer is read and judged, whatever it is."""
    message = data[1:] if data[:1] == b"\0" else _built(data)
    for reading, body in ((ReplyReading.CCM_MESSAGE, message), (ReplyReading.XML, data)):
        read = read_reply(reading, TYPE, body)
        judged = judge_reply(read, RULES)
        for result in (read, judged):
            if isinstance(result, Deny):
                bounded(result)
        if isinstance(judged, InspectedReply):
            assert all(len(text) <= 500 for text in judged.observed)
        if isinstance(read, ReadReply) and read.message is not None:
            found = read_registration_reply(read.message)
            assert found is None or not registration_problem(read.message)
            assert len(read.message.documents) == len(read.message.roots)


def _replies() -> Iterator[bytes]:
    registered = registration_response(GUID, 0)
    for text in (
        ASSIGNMENTS,
        registered,
        "<A>mp01.corp.example</A>\0<B/>",
        '<Policy PolicyFlags="8"/>',
    ):
        yield f"0<Msg><Hooks>{ccm.ZLIB_HOOK}</Hooks></Msg>".encode() + b"\xff" + text.encode()
        yield b"a<Msg/>\xff" + text.encode()
        yield text.encode()
        yield text.encode("utf-16")
    yield b"\0" + ccm.NO_REPLY


def registering(data: bytes) -> None:
    """What is proven was signed, by the key that stands in what was signed."""
    read = read_document(as_text(data), "here")
    found = read_registration(read) if isinstance(read, Document) else None
    if found is None or not found.proven:
        return
    assert isinstance(read, Document)
    text = read.text
    signed = text[text.index("<Data") : text.rindex("</Data>") + len("</Data>")]
    key = rsa_key(found.key)
    assert key is not None
    # It may stand there twice, and another one where nobody looks.
    (signature,) = set(values(READERS[1](text), Place.SIGNATURE_VALUE))
    assert signing.verifies(key, signature.strip(), signed.encode("utf-16-le"))


def _registrations() -> Iterator[bytes]:
    computer = LabPki.make(now=datetime(2026, 1, 1, tzinfo=UTC)).computer("pc1.corp.example")
    assert isinstance(computer.key, RSAPrivateKey)
    yield documents.registration_request(computer.certificate, computer.key, fqdn="pc1").encode()
    yield b"<ClientRegistrationRequest><Data SMSID=''/></ClientRegistrationRequest>"


def keys(data: bytes) -> None:
    """A key that is taken is of a usable size, and verifies nothing that it did not sign."""
    blob = read_public_key_blob(data.hex())
    for candidate in (data, blob or b""):
        key = rsa_key(candidate)
        if key is not None:
            assert 2_048 <= key.key_size <= 8_192
            assert not verifies(key, data.hex(), b"")
            assert not verifies(key, "00" * (key.key_size // 8), b"")


def _keys() -> Iterator[bytes]:
    computer = LabPki.make(now=datetime(2026, 1, 1, tzinfo=UTC)).computer("pc1.corp.example")
    assert isinstance(computer.key, RSAPrivateKey)
    yield signing.public_key_blob(computer.key.public_key())
    certificate = computer.certificate.public_bytes(Encoding.DER)
    # SubjectPublicKeyInfo, as it stands in a certificate: the algorithm is in its first 24 bytes.
    begin = certificate.index(bytes.fromhex("06092a864886f70d010101")) - 6
    yield certificate[begin : begin + 294]


MESSAGES = {
    "request": Target(
        request, _requests, (*HEADER_WORDS, *DOCUMENT_WORDS, *XML_WORDS), is_xml=True
    ),
    "reply": Target(
        reply, _replies, (*HEADER_WORDS, "PolicyFlags='", "SMSID='", *XML_WORDS), is_xml=True
    ),
    "registration": Target(registering, _registrations, (*DOCUMENT_WORDS, *XML_WORDS), is_xml=True),
    "keys": Target(keys, _keys),
}
