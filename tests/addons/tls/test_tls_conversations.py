"""Conversations that TLS servers have handled wrongly, each with its outcome.

tlslite-ng makes the client, in the manner of tlsfuzzer. After each conversation, the bridge serves
the next client.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
from tlslite.constants import ContentType, ExtensionType, HandshakeType
from tlslite.extensions import TLSExtension
from tlslite.messages import (
    Certificate,
    CertificateVerify,
    ChangeCipherSpec,
    ClientHello,
    ClientKeyExchange,
    Finished,
    Message,
)

from ibcm_bridge.addons.layers import client_tls
from ibcm_bridge.lab.pki import certificates
from ibcm_bridge.policy.tls_settings import CipherSuites, TlsSettings
from ibcm_bridge.policy.trust import Credential
from tests.addons.stand_ins.lab import BRIDGED, Lab, changed
from tests.addons.stand_ins.running import Running, wait_for
from tests.addons.tls.tampering import (
    CLOSED,
    REQUEST,
    SERVED,
    TLS_1_2,
    Change,
    Conversation,
    Made,
    Tampering,
    converse,
    edited,
    handshake,
    instead,
    record,
    times,
)
from tests.addons.tls.test_cipher_suites import server_certificate


@pytest.fixture(scope="module")
def bridge(running_lab: Lab, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    policy = changed(running_lab.policy, tmp_path_factory.mktemp("tls") / "audit.jsonl")
    with Running(running_lab, policy) as running:
        yield running


def refusals(running: Running) -> list[dict[str, Any]]:
    """Return the records of refused connections."""
    return [found for found in running.audit() if found["verdict"] == "deny"]


# The ClientHello (RFC 8446 §4.1.2, §4.2; RFC 5246 §7.4.1)


def without(kind: int) -> Change:
    def edit(hello: Any) -> None:
        hello.extensions = [found for found in hello.extensions if found.extType != kind]

    return edited(ClientHello, edit)


def added(*extensions: tuple[int, bytes]) -> Change:
    def edit(hello: Any) -> None:
        made = [
            TLSExtension(extType=kind).create(kind, bytearray(data)) for kind, data in extensions
        ]
        # In front: pre_shared_key, if any, must be the last.
        hello.extensions = [*made, *hello.extensions]

    return edited(ClientHello, edit)


def with_value(name: str, value: object) -> Change:
    return edited(ClientHello, lambda hello: setattr(hello, name, value))


def _zero_shares(hello: Any) -> None:
    found = next(each for each in hello.extensions if each.extType == ExtensionType.key_share)
    for share in found.client_shares:
        share.key_exchange = bytearray(len(share.key_exchange))


HELLOS: Mapping[str, Conversation] = {
    "plain": Conversation(SERVED),
    "plain, TLS 1.2": Conversation(SERVED, settings=TLS_1_2),
    "no server name": Conversation("unrecognized_name", without(ExtensionType.server_name)),
    "no key share": Conversation("missing_extension", without(ExtensionType.key_share)),
    "no groups": Conversation("missing_extension", without(ExtensionType.supported_groups)),
    "no signature algorithms": Conversation(
        "missing_extension", without(ExtensionType.signature_algorithms)
    ),
    "TLS 1.1": Conversation(
        "protocol_version", settings={"minVersion": (3, 1), "maxVersion": (3, 2)}
    ),
    "TLS 1.2 as a fallback": Conversation(
        "inappropriate_fallback", settings={**TLS_1_2, "sendFallbackSCSV": True}
    ),
    "a version above 1.3": Conversation(SERVED, with_value("client_version", (3, 9))),
    "unknown extensions": Conversation(
        SERVED, added(*((0x5500 + number, b"x") for number in range(60)))
    ),
    "an extension twice": Conversation(
        "illegal_parameter", added((ExtensionType.extended_master_secret, b""))
    ),
    "two server names": Conversation(
        "unrecognized_name",
        added((ExtensionType.server_name, b"\0\x08\0\0\5other")),
    ),
    "no suite in common": Conversation("handshake_failure", with_value("cipher_suites", [5])),
    "no suites": Conversation("decode_error", with_value("cipher_suites", [])),
    "a long session id": Conversation("decode_error", with_value("session_id", bytearray(33))),
    "no null compression": Conversation(
        "illegal_parameter", with_value("compression_methods", [1])
    ),
    "compression offered, TLS 1.2": Conversation(
        SERVED, with_value("compression_methods", [0, 1]), settings=TLS_1_2
    ),
    "compression offered": Conversation(
        "illegal_parameter", with_value("compression_methods", [0, 1])
    ),
    "key shares of zeros": Conversation("illegal_parameter", edited(ClientHello, _zero_shares)),
    "pre_shared_key not last": Conversation(
        "illegal_parameter",
        added((ExtensionType.pre_shared_key, b"\0\x0a\0\4abcd\0\0\0\0\0\x21\x20" + bytes(32))),
    ),
    "an initial renegotiation_info, TLS 1.2": Conversation(
        "handshake_failure",
        added((ExtensionType.renegotiation_info, b"\4abcd")),
        settings=TLS_1_2,
    ),
    "no extended master secret": Conversation(
        SERVED, settings={**TLS_1_2, "useExtendedMasterSecret": False}
    ),
    "early data announced and not sent": Conversation(
        SERVED, added((ExtensionType.early_data, b""))
    ),
    "ALPN without a name": Conversation("decode_error", added((ExtensionType.alpn, b"\0\1\0"))),
    "ALPN with another protocol": Conversation(
        "no_application_protocol", added((ExtensionType.alpn, b"\0\3\2h2"))
    ),
    "RSA key exchange": Conversation(
        "handshake_failure", settings={**TLS_1_2, "keyExchangeNames": ["rsa"]}
    ),
    "DHE": Conversation("handshake_failure", settings={**TLS_1_2, "keyExchangeNames": ["dhe_rsa"]}),
}


@pytest.mark.parametrize("name", HELLOS)
def test_a_client_hello_has_its_outcome(bridge: Running, name: str) -> None:
    before = len(refusals(bridge))
    outcome = converse(bridge, HELLOS[name])
    assert outcome == HELLOS[name].outcome
    if outcome != SERVED:
        (refused,) = wait_for(lambda: refusals(bridge)[before:])
        assert refused["tls_alert"] == outcome
    bridge.assert_serves()


def test_a_client_detects_a_downgrade(bridge: Running) -> None:
    # RFC 8446 §4.1.3: the server's random shows that it has TLS 1.3.
    change = without(ExtensionType.supported_versions)
    assert converse(bridge, Conversation("illegal_parameter", change)) == "illegal_parameter"
    bridge.assert_serves()


# Messages of the handshake


def _flip(message: Any, name: str) -> None:
    value = bytearray(getattr(message, name))
    value[-1] ^= 1
    setattr(message, name, value)


EARLY_DATA = Message(ContentType.application_data, bytearray(64))
NOT_A_CERTIFICATE = b"\0\0\5abcde"
DATA = Message(ContentType.application_data, bytearray(REQUEST))

HANDSHAKES: Mapping[str, tuple[Change, str]] = {
    # Alerts as the audit has them: what a client sends after its mistake can reset the connection.
    "no CertificateVerify": (instead(CertificateVerify, lambda _: ()), "unexpected_message"),
    "CertificateVerify changed": (
        edited(CertificateVerify, lambda message: _flip(message, "signature")),
        "decrypt_error",
    ),
    "Finished changed": (
        edited(Finished, lambda message: _flip(message, "verify_data")),
        "decrypt_error",
    ),
    "data before Finished": (
        instead(Finished, lambda message: (DATA, message)),
        "unexpected_message",
    ),
    "ClientHello twice": (instead(ClientHello, lambda hello: (hello, hello)), "unexpected_message"),
}
ONLY_1_2: Mapping[str, tuple[Change, str]] = {
    # CVE-2014-0224: the keys would be derived from an empty secret.
    "ChangeCipherSpec before the keys": (
        instead(ClientKeyExchange, lambda message: (ChangeCipherSpec(), message)),
        "unexpected_message",
    ),
    "no key share": (
        instead(ClientKeyExchange, lambda _: (Made(HandshakeType.client_key_exchange, b""),)),
        "handshake_failure",
    ),
    "a point off the curve": (
        instead(
            ClientKeyExchange,
            lambda _: (Made(HandshakeType.client_key_exchange, b"\x41\4" + b"\1" * 64),),
        ),
        "illegal_parameter",
    ),
    "not a certificate": (
        instead(
            Certificate,
            lambda _: (Made(HandshakeType.certificate, b"\0\0\x08" + NOT_A_CERTIFICATE),),
        ),
        "decode_error",
    ),
    "certificates cut off": (
        instead(Certificate, lambda _: (Made(HandshakeType.certificate, b"\0\xff\xff"),)),
        "decode_error",
    ),
}
ONLY_1_3: Mapping[str, tuple[Change, str]] = {
    "not a certificate": (
        instead(
            Certificate,
            lambda _: (
                Made(HandshakeType.certificate, b"\0\0\0\x0a" + NOT_A_CERTIFICATE + b"\0\0"),
            ),
        ),
        "decode_error",
    ),
    "certificates cut off": (
        instead(Certificate, lambda _: (Made(HandshakeType.certificate, b"\0\0\xff\xff"),)),
        "decode_error",
    ),
    # RFC 8446 §8: no session allows it. The server may skip it; OpenSSL refuses it.
    "early data": (
        instead(
            ClientHello, lambda hello: (*added((ExtensionType.early_data, b""))(hello), EARLY_DATA)
        ),
        "decode_error",
    ),
    "many ChangeCipherSpec": (
        instead(Finished, lambda message: (*(ChangeCipherSpec() for _ in range(40)), message)),
        "unexpected_message",
    ),
}
TAMPERED = {
    **{f"{name}, TLS 1.3": (*case, {}) for name, case in {**HANDSHAKES, **ONLY_1_3}.items()},
    **{f"{name}, TLS 1.2": (*case, TLS_1_2) for name, case in {**HANDSHAKES, **ONLY_1_2}.items()},
}


@pytest.mark.parametrize("name", TAMPERED)
def test_a_changed_handshake_fails_with_its_alert(bridge: Running, name: str) -> None:
    change, alert, settings = TAMPERED[name]
    before = len(refusals(bridge))
    assert converse(bridge, Conversation(alert, change, settings=settings)) != SERVED
    (failed,) = wait_for(lambda: refusals(bridge)[before:])
    assert failed["tls_alert"] == alert
    assert "remote server" not in failed["detail"]
    bridge.assert_serves()


def test_one_change_cipher_spec_is_ignored_in_tls_1_3(bridge: Running) -> None:
    # RFC 8446 §5, appendix D.4: clients send one for old middleboxes.
    change = instead(Finished, lambda message: (ChangeCipherSpec(), message))
    assert converse(bridge, Conversation(SERVED, change)) == SERVED


# Records and messages after the handshake (RFC 8446 §4.6, §5; RFC 5246 §6, §7)

HELLO_AGAIN = b"\3\3" + bytes(32) + b"\0" + b"\0\2\xc0\x2b" + b"\1\0"
FILLED = 16_384 - len(REQUEST) - len(b"X: \r\n")
"""The size of a field value that makes a request as long as one record can be (2^14 bytes)."""
LARGE = REQUEST[:-2] + b"X: " + b"x" * FILLED + b"\r\n\r\n"

RECORDS: Mapping[str, Conversation] = {
    "2^14 bytes": Conversation(SERVED, talk=record(23, LARGE)),
    "2^14 + 1 bytes": Conversation("record_overflow", talk=record(23, LARGE + b"x")),
    "empty records": Conversation(SERVED, talk=times(20, record(23, b""))),
    "more than 32 empty records": Conversation(
        "unexpected_message", talk=times(33, record(23, b""))
    ),
    "an empty alert": Conversation("unexpected_message", talk=record(21, b"")),
    "half an alert": Conversation("unexpected_message", talk=record(21, b"\1")),
    "a warning": Conversation(SERVED, talk=record(21, b"\1\x5a")),
    "many warnings": Conversation("unexpected_message", talk=times(5, record(21, b"\1\x5a"))),
    "a fatal alert": Conversation(CLOSED, talk=record(21, b"\2\x28")),
    "close_notify": Conversation(CLOSED, talk=record(21, b"\1\0")),
    "a heartbeat": Conversation("unexpected_message", talk=record(24, b"\1\0\5hello" + bytes(16))),
    # CVE-2014-0160: it requests 16 KB of the server's memory.
    "a heartbeat that announces more": Conversation(
        "unexpected_message", talk=record(24, b"\1\x40\0")
    ),
    "an unknown type": Conversation("unexpected_message", talk=record(99, b"x")),
    "ChangeCipherSpec": Conversation("unexpected_message", talk=record(20, b"\1")),
    "Finished again": Conversation("unexpected_message", talk=handshake(20, bytes(12))),
    "Certificate again": Conversation("unexpected_message", talk=handshake(11, bytes(3))),
    "HelloRequest of a client": Conversation("unexpected_message", talk=handshake(0, b"")),
    "an unknown message": Conversation("unexpected_message", talk=handshake(77, b"")),
    "a changed record": Conversation(
        "bad_record_mac", talk=lambda client: (client.corrupt(), client.send(REQUEST))
    ),
}


def update(kind: int) -> Callable[[Tampering], None]:
    return lambda client: client.update_keys(kind)


NOT_REQUESTED, REQUESTED = 0, 1

AFTER_1_3: Mapping[str, Conversation] = {
    **RECORDS,
    "KeyUpdate": Conversation(SERVED, talk=update(NOT_REQUESTED)),
    "KeyUpdate with a response": Conversation(SERVED, talk=update(REQUESTED)),
    "some KeyUpdates": Conversation(SERVED, talk=times(10, update(REQUESTED))),
    "KeyUpdate of another kind": Conversation("illegal_parameter", talk=handshake(24, b"\2")),
    "an empty KeyUpdate": Conversation("decode_error", talk=handshake(24, b"")),
    "two KeyUpdates in a record": Conversation(
        "unexpected_message", talk=record(22, b"\x18\0\0\1\0" * 2)
    ),
    "half a KeyUpdate and data": Conversation(
        "unexpected_message",
        talk=lambda client: (client.send_record(22, b"\x18\0"), client.send_record(23, b"GET")),
    ),
    "renegotiation": Conversation("unexpected_message", talk=handshake(1, HELLO_AGAIN)),
    "an empty handshake record": Conversation("unexpected_message", talk=record(22, b"")),
}
AFTER_1_2: Mapping[str, Conversation] = {
    **RECORDS,
    # A warning, so the connection continues (RFC 5246 §7.2.2).
    "renegotiation": Conversation("no_renegotiation", talk=handshake(1, HELLO_AGAIN)),
    "KeyUpdate": Conversation("unexpected_message", talk=handshake(24, b"\0")),
    "new keys without a handshake": Conversation(
        "unexpected_message", talk=handshake(16, bytes(3))
    ),
}


@pytest.mark.parametrize("name", AFTER_1_3)
def test_after_a_handshake_of_tls_1_3(bridge: Running, name: str) -> None:
    assert converse(bridge, AFTER_1_3[name]) == AFTER_1_3[name].outcome
    bridge.assert_serves()


@pytest.mark.parametrize("name", AFTER_1_2)
def test_after_a_handshake_of_tls_1_2(bridge: Running, name: str) -> None:
    found = AFTER_1_2[name]
    conversation = Conversation(found.outcome, found.change, found.talk, TLS_1_2)
    assert converse(bridge, conversation) == found.outcome
    bridge.assert_serves()


# Floods of records without data


FLOODS: Mapping[str, tuple[Callable[[Tampering], object], Mapping[str, Any]]] = {
    "KeyUpdate": (update(NOT_REQUESTED), {}),
    "KeyUpdate with a response": (update(REQUESTED), {}),
    "renegotiation": (handshake(1, HELLO_AGAIN), TLS_1_2),
}


def until_closed(talk: Callable[[Tampering], object]) -> Callable[[Tampering], None]:
    def flood(client: Tampering) -> None:
        # The bridge may read the first 65,536 bytes together with the end of the handshake, and
        # it counts from the next read on.
        times(3_000, talk)(client)
        # The client sends faster than the bridge reads: wait until it has closed the connection.
        while client.sock.recv(65_536):
            pass

    return flood


@pytest.mark.parametrize("name", FLOODS)
def test_a_flood_without_data_is_cut(
    bridge: Running, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    monkeypatch.setattr(client_tls, "MAX_WITHOUT_DATA", 2_000)
    talk, settings = FLOODS[name]
    flood = Conversation(CLOSED, talk=until_closed(talk), settings=settings)
    assert converse(bridge, flood) == CLOSED
    bridge.assert_serves()


def test_data_resets_the_limit(bridge: Running, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(client_tls, "MAX_WITHOUT_DATA", 2_000)

    def updates_and_requests(client: Tampering) -> None:
        for _ in range(4):
            times(20, update(NOT_REQUESTED))(client)
            client.send(REQUEST)
            response = b""
            while b"</MPList>" not in response:
                received = bytes(client.recv(65_536))
                assert received, "the bridge closed the connection"
                response += received

    assert converse(bridge, Conversation(SERVED, talk=updates_and_requests)) == SERVED


def test_the_limit_is_above_one_record() -> None:
    assert client_tls.MAX_WITHOUT_DATA > 5 + 2**14 + 256


# RSA key exchange, with `tls: compatible` (Bleichenbacher 1998; ROBOT, 2017)

RSA_KEY = certificates.rsa_key()
SIZE = RSA_KEY.key_size // 8
SECRET = b"\3\3" + b"s" * 46


def padded(secret: bytes, start: bytes = b"\0\2", end: bytes = b"\0") -> bytes:
    return start + b"\x55" * (SIZE - len(start + end + secret)) + end + secret


SECRETS: Mapping[str, bytes] = {
    # A block of PKCS #1 version 1.5 (RFC 8017 §7.2) with another secret than the client uses.
    "well padded": padded(SECRET),
    "another first byte": padded(SECRET, b"\1\2"),
    "another block type": padded(SECRET, b"\0\1"),
    "a zero in the padding": padded(SECRET, b"\0\2\x55\x55\0"),
    "no zero after the padding": padded(SECRET, end=b"\x55"),
    "no padding": b"\0\2\0" + SECRET + b"\x55" * (SIZE - 51),
    "another version": padded(b"\3\2" + b"s" * 46),
    "a short secret": padded(SECRET[:-1]),
    "a long secret": padded(SECRET + b"s"),
    "an empty secret": padded(b""),
    "zeros": bytes(SIZE),
    "ones": b"\0" + b"\x01" * (SIZE - 1),
}


def exchanged(block: bytes) -> Change:
    """Send this block, encrypted, as the client's secret."""
    numbers = RSA_KEY.public_key().public_numbers()
    encrypted = pow(int.from_bytes(block), numbers.e, numbers.n).to_bytes(SIZE)
    content = len(encrypted).to_bytes(2) + encrypted
    return instead(ClientKeyExchange, lambda _: (Made(HandshakeType.client_key_exchange, content),))


RSA = {**TLS_1_2, "keyExchangeNames": ["rsa"], "cipherNames": ["aes128gcm"]}


@pytest.fixture(scope="module")
def compatible(running_lab: Lab, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    """A bridge with RSA key exchange."""
    made = server_certificate(running_lab, BRIDGED, RSA_KEY)
    directory: Path = tmp_path_factory.mktemp("compatible")
    policy = changed(
        running_lab.policy,
        directory / "audit.jsonl",
        client_tls=TlsSettings(suites=CipherSuites.COMPATIBLE),
        credential=Credential(made.chain_pem(), made.key_pem()),
    )
    with Running(running_lab, policy) as running:
        yield running


def test_rsa_key_exchange_works_if_the_policy_has_it(compatible: Running) -> None:
    assert converse(compatible, Conversation(SERVED, settings=RSA)) == SERVED


@pytest.mark.parametrize("name", SECRETS)
def test_no_padding_of_a_secret_can_be_distinguished(compatible: Running, name: str) -> None:
    before = len(refusals(compatible))
    conversation = Conversation("bad_record_mac", exchanged(SECRETS[name]), settings=RSA)
    assert converse(compatible, conversation) != SERVED
    (failed,) = wait_for(lambda: refusals(compatible)[before:])
    assert failed["tls_alert"] == "bad_record_mac"
    compatible.assert_serves()
