"""`LegConnection` reads as pyOpenSSL does: the same data, and the same ends."""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from datetime import UTC, datetime

import pytest
from OpenSSL import SSL

from ibcm_bridge.addons.tls.connection import BUFFER_BYTES, SLICE_BYTES, End, LegConnection
from ibcm_bridge.lab.pki.authorities import LabPki

MODE_ENABLE_PARTIAL_WRITE = 1
"""OpenSSL's number, which pyOpenSSL has no public name for."""


@pytest.fixture(scope="module")
def pki() -> LabPki:
    return LabPki.make(now=datetime.now(UTC))


def contexts(pki: LabPki) -> tuple[SSL.Context, SSL.Context]:
    """Return a client's and a server's context."""
    credential = pki.computer("pc1.corp.example")
    server = SSL.Context(SSL.TLS_SERVER_METHOD)
    for context in (server, client := SSL.Context(SSL.TLS_CLIENT_METHOD)):
        context.use_certificate(credential.certificate)
        context.use_privatekey(credential.key)
    server.clear_mode(MODE_ENABLE_PARTIAL_WRITE)  # as `leg_context` does
    server.set_verify(SSL.VERIFY_PEER, lambda *_: True)
    return client, server


class Pair:
    """A connected client and server; the server is the one under test."""

    def __init__(self, pki: LabPki) -> None:
        client, server = contexts(pki)
        self.client, self.server = SSL.Connection(client, None), LegConnection(server, None)
        self.client.set_connect_state()
        self.server.set_accept_state()
        for _ in range(4):
            for side in (self.client, self.server):
                with contextlib.suppress(SSL.WantReadError):
                    side.do_handshake()
                self.move()
        self.server.read_plaintext()

    def move(self) -> None:
        """Move the records of each side to the other."""
        with contextlib.suppress(SSL.WantReadError):
            while True:
                self.server.bio_write(self.client.bio_read(65_535))
        while records := self.server.read_records():
            self.client.bio_write(records)


@pytest.fixture
def pair(pki: LabPki) -> Pair:
    return Pair(pki)


@pytest.mark.parametrize("size", [1, 16_384, 16_385, BUFFER_BYTES, 3 * BUFFER_BYTES + 1])
def test_all_data_is_read_in_order(pair: Pair, size: int) -> None:
    data = bytes(index % 251 for index in range(size))
    for at in range(0, size, 16_384):
        pair.client.send(data[at : at + 16_384])
    pair.move()
    assert pair.server.read_plaintext() == (data, None)
    assert pair.server.read_plaintext() == (b"", None)


def records_from_client(pair: Pair) -> bytes:
    """The records that the client has written and not sent."""
    records = bytearray()
    with contextlib.suppress(SSL.WantReadError):
        while True:
            records += pair.client.bio_read(65_535)
    return bytes(records)


@pytest.mark.parametrize(("count", "size"), [(20_000, 1), (40, 16_384)])
def test_records_of_any_size_are_read_at_once(pair: Pair, count: int, size: int) -> None:
    data = bytes(index % 251 for index in range(count * size))
    for at in range(0, len(data), size):
        pair.client.send(data[at : at + size])
    records = memoryview(bytearray(records_from_client(pair)))
    assert len(records) > SLICE_BYTES
    assert pair.server.read_plaintext(records) == (data, None)


@pytest.mark.parametrize("step", [1, 999, SLICE_BYTES, SLICE_BYTES + 1])
def test_records_can_arrive_in_pieces_of_any_size(pair: Pair, step: int) -> None:
    data = bytes(index % 251 for index in range(50_000 if step == 1 else 500_000))
    for at in range(0, len(data), 16_384):
        pair.client.send(data[at : at + 16_384])
    records = records_from_client(pair)
    pieces = [
        pair.server.read_plaintext(records[at : at + step]) for at in range(0, len(records), step)
    ]
    assert b"".join(plaintext for plaintext, _ in pieces) == data
    assert {end for _, end in pieces} == {None}


@pytest.mark.parametrize("unread", [False, True], ids=["all is read", "records are unread"])
def test_nothing_is_lost_when_memory_is_released(pair: Pair, unread: bool) -> None:
    pair.client.send(b"first")
    records = records_from_client(pair)
    if unread:
        pair.server.bio_write(records)
        pair.server.release_memory()
        assert pair.server.read_plaintext() == (b"first", None)
    else:
        assert pair.server.read_plaintext(records[:9]) == (b"", None)
        pair.server.release_memory()
        assert pair.server.read_plaintext(records[9:]) == (b"first", None)
    pair.server.write_plaintext(b"second", 0)
    pair.server.release_memory()
    pair.move()
    assert pair.client.recv(99) == b"second"


def test_released_memory_is_freed(pair: Pair) -> None:
    before = pair.server._into_ssl
    pair.server.release_memory()
    assert pair.server._into_ssl != before
    pair.client.send(b"data")
    assert pair.server.read_plaintext(records_from_client(pair)) == (b"data", None)


@pytest.mark.parametrize("after", [b"", b"x" * 3 * SLICE_BYTES])
def test_nothing_after_close_notify_is_read(pair: Pair, after: bytes) -> None:
    for _ in range(10):
        pair.client.send(b"y" * 16_384)
    pair.client.shutdown()
    records = records_from_client(pair)
    assert pair.server.read_plaintext(records + after) == (b"y" * 163_840, End.CLEAN)


def test_a_changed_record_ends_the_data_before_it(pair: Pair) -> None:
    for _ in range(20):
        pair.client.send(b"y" * 16_384)
    records = bytearray(records_from_client(pair))
    records[len(records) // 2] ^= 1
    plaintext, end = pair.server.read_plaintext(bytes(records))
    assert end is End.CUT
    assert plaintext == b"y" * 16_384 * 10


@pytest.mark.parametrize("size", [1, 16_384, SLICE_BYTES, SLICE_BYTES + 1, 1_000_000])
def test_data_is_encrypted_in_slices_and_in_order(pair: Pair, size: int) -> None:
    data, taken, slices = bytes(index % 251 for index in range(size)), 0, []
    while taken < size:
        slices.append(pair.server.write_plaintext(data, taken))
        taken += slices[-1]
        pair.move()
    assert max(slices) <= SLICE_BYTES
    received = bytearray()
    with contextlib.suppress(SSL.WantReadError):
        while True:
            received += pair.client.recv(65_535)
    assert received == data


def test_data_after_the_end_is_discarded(pair: Pair) -> None:
    CUTS["not a record"](pair)
    assert pair.server.read_plaintext() == (b"", End.CUT)
    while pair.server.read_records():
        pass  # OpenSSL's alert
    assert pair.server.write_plaintext(b"data", 0) == 4
    assert pair.server.write_plaintext(b"data", 1) == 3
    assert pair.server.read_records() == b""


@pytest.mark.parametrize("size", [0, 5])
def test_close_notify_is_a_clean_end_after_the_data(pair: Pair, size: int) -> None:
    if size:
        pair.client.send(b"x" * size)
    pair.client.shutdown()
    pair.move()
    assert pair.server.read_plaintext() == (b"x" * size, End.CLEAN)
    assert pair.server.read_plaintext() == (b"", End.CLEAN)


CUTS: dict[str, Callable[[Pair], object]] = {
    "not a record": lambda pair: pair.server.bio_write(b"GET / HTTP/1.1\r\n\r\n"),
    "a changed record": lambda pair: pair.server.bio_write(changed(pair)),
    "a fatal alert in plaintext": lambda pair: pair.server.bio_write(
        bytes.fromhex("15030300020250")
    ),
}


def changed(pair: Pair) -> bytes:
    pair.client.send(b"data")
    record = bytearray(pair.client.bio_read(65_535))
    record[-1] ^= 1
    return bytes(record)


@pytest.mark.parametrize("cut", CUTS)
def test_anything_else_is_a_cut_end_after_the_data(pair: Pair, cut: str) -> None:
    pair.client.send(b"before")
    pair.move()
    CUTS[cut](pair)
    assert pair.server.read_plaintext() == (b"before", End.CUT)


def test_an_error_of_one_connection_is_not_found_on_another(pki: LabPki, pair: Pair) -> None:
    other = Pair(pki)
    CUTS["not a record"](pair)
    assert pair.server.read_plaintext() == (b"", End.CUT)
    assert other.server.read_plaintext() == (b"", None)


def test_each_record_is_sent_once(pair: Pair) -> None:
    pair.server.send(b"one")
    pair.server.send(b"two")
    pair.move()
    assert pair.server.read_records() == b""
    assert pair.client.recv(100) + pair.client.recv(100) == b"onetwo"


def test_mitmproxy_finds_no_certificate_to_parse_and_the_bridge_does(pair: Pair) -> None:
    assert pair.server.get_peer_cert_chain() == []
    assert pair.server.get_peer_certificate() is None
    certificate = pair.server.get_peer_certificate(as_cryptography=True)
    assert certificate == pair.client.get_certificate(as_cryptography=True)
