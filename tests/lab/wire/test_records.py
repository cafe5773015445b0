"""What a sniffer reads in recorded bytes: of real handshakes, and of damaged ones."""

from __future__ import annotations

import contextlib
import datetime
import ssl
from collections.abc import Callable

import pytest
from cryptography.hazmat.primitives.serialization import Encoding

from ibcm_bridge.lab.capture.relay import Leg, Piece, Recorded
from ibcm_bridge.lab.pki.authorities import LabPki
from ibcm_bridge.lab.protocol.client import load_credential
from ibcm_bridge.lab.wire.handshake import read_messages
from ibcm_bridge.lab.wire.part import Part
from ibcm_bridge.lab.wire.records import Record, read_records

SERVER, CLIENT, REQUEST = "mp01.corp.example", "pc1.corp.example", b"GET /secret HTTP/1.1"
TLS_1_2, TLS_1_3 = ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3

type Connect = Callable[[ssl.TLSVersion, bool], Recorded]


@pytest.fixture(scope="module")
def pki() -> LabPki:
    return LabPki.make(now=datetime.datetime.now(datetime.UTC))


@pytest.fixture(scope="module")
def connect(pki: LabPki) -> Connect:
    """Make a connection in memory: a version of TLS, and whether the client has a certificate."""
    root = pki.root.public_bytes(Encoding.DER)
    of_server, of_client = pki.server(SERVER), pki.computer(CLIENT)

    def connection(version: ssl.TLSVersion, certificate: bool) -> Recorded:
        client = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        client.load_verify_locations(cadata=root)
        server.load_verify_locations(cadata=root)
        client.maximum_version = version
        client.set_alpn_protocols(["http/1.1"])
        server.verify_mode = ssl.CERT_REQUIRED
        load_credential(server, of_server)
        if certificate:
            load_credential(client, of_client)
        return _recorded(client, server)

    return connection


def _recorded(client: ssl.SSLContext, server: ssl.SSLContext) -> Recorded:
    from_client, from_server = ssl.MemoryBIO(), ssl.MemoryBIO()
    ends = (
        (client.wrap_bio(from_server, from_client, server_hostname=SERVER), from_client),
        (server.wrap_bio(from_client, from_server, server_side=True), from_server),
    )
    recorded = Recorded(Leg.CLIENT, True, 1.0)
    for _ in range(4):
        for end, sent in ends:
            with contextlib.suppress(ssl.SSLError):  # more is needed; or an alert, which is sent
                end.do_handshake()
                if not end.server_side:
                    end.write(REQUEST)
            data = sent.read()
            recorded.pieces.append(Piece(2.0, sent is from_client, data))
            sent.write(data)
    return recorded


def titles(records: list[Record], *, from_client: bool) -> list[str]:
    return [record.title for record in records if record.from_client is from_client]


def marked(records: list[Record]) -> list[tuple[str, str]]:
    parts = [part for record in records for part in record.parts if part.marked]
    assert all(part.data == part.value.encode() for part in parts)
    return [(part.name, part.value) for part in parts]


def values(records: list[Record], message: str) -> dict[str, str]:
    (found,) = [record for record in records if record.title == message]
    return {part.name: part.value for part in found.parts if part.value}


@pytest.mark.parametrize("version", [TLS_1_2, TLS_1_3])
def test_the_parts_are_all_bytes_of_the_connection(
    connect: Connect, version: ssl.TLSVersion
) -> None:
    recorded = connect(version, True)
    for from_client in (True, False):
        data = [
            part.data
            for record in read_records(recorded)
            if record.from_client is from_client
            for part in record.parts
        ]
        assert b"".join(data) == recorded.sent(from_client=from_client) != b""


def test_tls_1_3_shows_only_the_server_name(connect: Connect) -> None:
    records = read_records(connect(TLS_1_3, True))
    assert marked(records) == [("Server name", SERVER)]
    hello = values(records, "ClientHello")
    assert hello["Extension application_layer_protocol_negotiation"] == "http/1.1"
    assert hello["Extension supported_versions"] == "TLS 1.3, TLS 1.2"
    assert values(records, "ServerHello")["Extension supported_versions"] == "TLS 1.3"
    for from_client in (True, False):
        first, *rest = titles(records, from_client=from_client)
        assert first == ("ClientHello" if from_client else "ServerHello")
        assert set(rest) == {"ChangeCipherSpec", "Encrypted record"}


def test_tls_1_2_shows_both_certificates_too(connect: Connect) -> None:
    records = read_records(connect(TLS_1_2, True))
    assert marked(records) == [
        ("Server name", SERVER),
        ("Name in the certificate", SERVER),
        ("Name in the certificate", CLIENT),
    ]
    sent = titles(records, from_client=True)
    assert sent[:2] == ["ClientHello", "Certificate of the client"]
    assert sent[sent.index("ChangeCipherSpec") + 1 :][:2] == [
        "Encrypted handshake",
        "Encrypted record",
    ]


def test_tls_1_2_shows_that_there_is_no_certificate_and_the_alert(connect: Connect) -> None:
    records = read_records(connect(TLS_1_2, False))
    assert values(records, "Certificate of the client")["Length of the list"] == "no certificate"
    assert titles(records, from_client=False)[-1] == "Alert: handshake failure"


def test_the_name_of_a_client_is_not_looked_for_in_its_issuer(pki: LabPki) -> None:
    """The issuer is Lab Issuing CA."""
    der = pki.computer("Lab").certificate.public_bytes(Encoding.DER)
    listed = len(der).to_bytes(3) + der
    body = len(listed).to_bytes(3) + listed
    (message,) = read_messages(b"\x0b" + len(body).to_bytes(3) + body, from_client=True)
    parts = {part.name: part for part in message.parts}
    assert parts["Name in the certificate"].data == b"Lab"
    assert b"Lab Issuing CA" in parts["Certificate, first part"].data


def recorded(data: bytes) -> Recorded:
    return Recorded(Leg.CLIENT, True, 1.0, [Piece(1.0, True, data)])


def test_other_bytes_are_not_tls() -> None:
    (record,) = read_records(recorded(REQUEST))
    assert (record.title, record.encrypted) == ("Not TLS", False)
    assert record.parts == (Part("Bytes", REQUEST),)


@pytest.mark.parametrize("version", [TLS_1_2, TLS_1_3])
def test_damaged_bytes_are_shown_and_none_is_lost(
    connect: Connect, version: ssl.TLSVersion
) -> None:
    whole = connect(version, True).sent(from_client=True)
    damaged = [whole[:end] for end in range(0, len(whole), 7)]
    damaged += [
        whole[:at] + bytes([whole[at] ^ 0xFF]) + whole[at + 1 :] for at in range(0, len(whole), 3)
    ]
    for data in damaged:
        parts = [part.data for record in read_records(recorded(data)) for part in record.parts]
        assert b"".join(parts) == data
