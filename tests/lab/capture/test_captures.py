"""Captures of a case: of both legs with their secrets, and of a tunnel without; read by tshark."""

from __future__ import annotations

import contextlib
import socket
import struct
import subprocess
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from ibcm_bridge.lab.capture.key_log import client_random, secrets_of
from ibcm_bridge.lab.capture.pcapng import SEGMENT, capture
from ibcm_bridge.lab.capture.recording import MAX_KEY_LOG, Recording
from ibcm_bridge.lab.capture.relay import Allowance, Leg, Piece, Recorded, Relay
from ibcm_bridge.lab.cases.table import CASES
from ibcm_bridge.lab.comparison.outcomes import CaseResult
from ibcm_bridge.lab.demo.captures import write_captures
from ibcm_bridge.lab.perimeter.perimeter import Perimeter
from tests.needs import program

BY_ID = {case.id: case for case in CASES}
SENT = ("inventory-report", "no-certificate", "state-message")
SECRETS_BLOCK = 10
RANDOM = bytes(range(32))
CLIENT_HELLO = b"\x16\x03\x01\x00\x4a\x01\x00\x00\x46\x03\x03" + RANDOM


@dataclass(frozen=True)
class Captured:
    """The results of cases, the folder with their captures, and the complete key log."""

    results: dict[str, CaseResult]
    folder: Path
    key_log: str


@pytest.fixture(scope="module")
def captured(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Captured]:
    folder, captures = tmp_path_factory.mktemp("lab"), tmp_path_factory.mktemp("captures")
    with Perimeter(folder, recorded=True) as lab:
        results = {name: lab.comparison.result(BY_ID[name]) for name in SENT}
        for result in results.values():
            write_captures(captures, result)
        yield Captured(results, captures, (folder / "tls-secrets.log").read_text("ascii"))


def blocks(data: bytes) -> dict[int, list[bytes]]:
    """The bodies of the blocks of a pcapng file, by type."""
    found: dict[int, list[bytes]] = {}
    while data:
        kind, size = struct.unpack("<II", data[:8])
        assert size % 4 == 0
        assert data[size - 4 : size] == data[4:8]
        found.setdefault(kind, []).append(data[8 : size - 4])
        data = data[size:]
    return found


def fields(file: Path, wanted: str, *names: str) -> list[list[str]]:
    """The fields of the packets that match a display filter of tshark."""
    # Checksums are not checked by default.
    options = ["-o", "tcp.check_checksum:TRUE", "-o", "ip.check_checksum:TRUE"]
    shown = [option for name in names for option in ("-e", name)]
    done = subprocess.run(
        [program("tshark"), "-r", str(file), *options, "-Y", wanted, "-T", "fields", *shown],
        capture_output=True,
        text=True,
        check=True,
    )
    return [line.split("\t") for line in done.stdout.splitlines()]


def test_each_case_is_as_required_through_the_relays(captured: Captured) -> None:
    assert {name: result.problems for name, result in captured.results.items()} == dict.fromkeys(
        SENT, ()
    )


@pytest.mark.needs("tshark")
def test_the_http_of_both_legs_of_the_bridge_is_readable(captured: Captured) -> None:
    file = captured.folder / "inventory-report-bridge.pcapng"
    requests = fields(file, "http.request", "ip.dst", "http.request.method", "http.request.uri")
    assert requests == [
        ["198.51.100.20", "CCM_POST", "/ccm_system/request"],
        ["192.0.2.30", "CCM_POST", "/ccm_system/request"],
    ]
    assert len(fields(file, "http.response.code == 200", "ip.src")) == 2


@pytest.mark.needs("tshark")
def test_the_tunnel_shows_the_server_name_and_nothing_else(captured: Captured) -> None:
    file = captured.folder / "inventory-report-tunnel.pcapng"
    assert fields(file, "http", "ip.dst") == []
    names = fields(file, "tls.handshake.type == 1", "tls.handshake.extensions_server_name")
    assert names == [["mp-tunnel.internet.example"]] * 2
    # TLS 1.3: the certificates are encrypted.
    assert fields(file, "tls.handshake.type == 11", "ip.dst") == []


@pytest.mark.needs("tshark")
def test_a_refused_handshake_shows_its_alert(captured: Captured) -> None:
    file = captured.folder / "no-certificate-bridge.pcapng"
    assert ["116"] in fields(file, "tls.alert_message", "tls.alert_message.desc")


@pytest.mark.needs("tshark")
def test_plain_http_is_readable_and_has_no_secrets(captured: Captured) -> None:
    file = captured.folder / "state-message-bridge.pcapng"
    assert len(fields(file, "http.request.method == POST", "ip.dst")) == 2
    assert SECRETS_BLOCK not in blocks(file.read_bytes())
    # It cannot be tunneled.
    assert not (captured.folder / "state-message-tunnel.pcapng").exists()


@pytest.mark.needs("tshark")
def test_the_packets_are_without_defects(captured: Captured) -> None:
    for file in captured.folder.iterdir():
        wrong = "tcp.analysis.flags || tcp.checksum.status == 0 || ip.checksum.status == 0"
        assert fields(file, f"({wrong}) && !tcp.analysis.retransmission", "frame.number") == []


def test_only_the_bridge_has_secrets_and_only_those_of_its_connections(captured: Captured) -> None:
    bridge = (captured.folder / "inventory-report-bridge.pcapng").read_bytes()
    tunnel = (captured.folder / "inventory-report-tunnel.pcapng").read_bytes()
    (block,) = blocks(bridge)[SECRETS_BLOCK]
    size = int.from_bytes(block[4:8], "little")
    lines = block[8 : 8 + size].decode("ascii").splitlines()
    wire = captured.results["inventory-report"].bridge.observation.wire
    assert wire is not None
    randoms = {client_random(connection) for connection in wire.connections}
    assert len(randoms) == 2
    assert {line.split()[1] for line in lines} == randoms
    assert SECRETS_BLOCK not in blocks(tunnel)
    assert not any(line.split()[2].encode() in tunnel for line in captured.key_log.splitlines())


def test_run_writes_no_key_log(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, captured: Captured
) -> None:
    assert captured.key_log  # the lab's own client and stand-ins do write one
    file = tmp_path / "keys.log"
    for name in ("SSLKEYLOGFILE", "MITMPROXY_SSLKEYLOGFILE"):
        monkeypatch.setenv(name, str(file))
    # The child inherits the variables; the lab's own contexts do not read them.
    with Perimeter(tmp_path / "lab") as lab:
        assert lab.comparison.result(BY_ID["inventory-report"]).problems == ()
    assert not file.exists()


def test_a_relay_records_only_after_record_and_before_take() -> None:
    with echo() as target, Relay(target, Leg.CLIENT, tls=False) as relay:
        assert exchanged(relay.address, b"before") == b"before"
        relay.record(Allowance(None))
        assert exchanged(relay.address, b"recorded") == b"recorded"
        (recorded,) = relay.take()
        assert exchanged(relay.address, b"after") == b"after"
        assert relay.take() == []
    assert recorded.sent(from_client=True) == b"recorded"
    assert not recorded.cut


def test_the_recording_ends_with_the_allowance_and_the_connection_does_not() -> None:
    with echo() as target, Relay(target, Leg.CLIENT, tls=False) as relay:
        relay.record(Allowance(15))
        for _ in range(2):
            assert exchanged(relay.address, b"12345678") == b"12345678"
        first, second = relay.take()
    assert (first.cut, first.sent(from_client=True)) == (True, b"12345678")
    assert (second.cut, second.pieces) == (True, [])
    (packet,) = blocks(capture([second]))[6][:1]
    assert b"its end is not recorded" in packet


def test_a_relay_refuses_connections_while_its_target_is_down() -> None:
    with echo() as target, Relay(target, Leg.SITE_SYSTEM, tls=False) as relay:
        relay.take_down()
        with pytest.raises(ConnectionRefusedError):
            exchanged(relay.address, b"x")
        relay.bring_up()
        assert exchanged(relay.address, b"x") == b"x"


@contextlib.contextmanager
def echo() -> Iterator[tuple[str, int]]:
    """A server that returns one piece of data and closes."""
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def serve() -> None:
            with contextlib.suppress(OSError):
                while True:
                    connection, _ = listener.accept()
                    with connection:
                        connection.sendall(connection.recv(100))

        threading.Thread(target=serve, daemon=True).start()
        yield listener.getsockname()
        listener.shutdown(socket.SHUT_RDWR)


def exchanged(address: tuple[str, int], data: bytes) -> bytes:
    with socket.create_connection(address, 10) as connection:
        connection.sendall(data)
        received = b""
        while piece := connection.recv(100):
            received += piece
    return received


def test_a_large_key_log_begins_again_with_the_next_case(tmp_path: Path) -> None:
    with Recording(tmp_path) as recording:
        for size, left in ((MAX_KEY_LOG, MAX_KEY_LOG), (MAX_KEY_LOG + 1, 0)):
            recording.key_log.write_bytes(bytes(size))
            recording.begin()
            assert recording.key_log.stat().st_size == left


def test_a_connection_becomes_packets_with_its_bytes() -> None:
    pieces = [
        Piece(2.5, True, b"a" * (SEGMENT + 1)),
        Piece(2.5, False, b"b"),
        Piece(3.0, True, b""),
    ]
    found = blocks(capture([Recorded(Leg.CLIENT, True, 2.0, pieces)]))
    packets = [body[20 : 20 + int.from_bytes(body[12:16], "little")] for body in found[6]]
    assert [(packet[33], packet[40:]) for packet in packets] == [
        (0x02, b""),
        (0x12, b""),
        (0x10, b""),
        (0x18, b"a" * SEGMENT),
        (0x18, b"a"),
        (0x18, b"b"),
        (0x11, b""),
    ]
    numbers = [struct.unpack(">II", packet[24:32]) for packet in packets]
    assert numbers == [
        *((0, 0), (0, 1), (1, 1), (1, 1), (1 + SEGMENT, 1)),
        *((1, SEGMENT + 2), (SEGMENT + 2, 2)),
    ]


def test_the_secrets_are_those_of_the_recorded_client_hello(tmp_path: Path) -> None:
    file = tmp_path / "keys.log"
    recorded = Recorded(Leg.CLIENT, True, 0.0, [Piece(0.0, True, CLIENT_HELLO)])
    assert secrets_of([recorded], file) == ""
    own, other = f"CLIENT_RANDOM {RANDOM.hex()} 01\n", f"CLIENT_RANDOM {'ff' * 32} 02\n"
    file.write_text(f"# comment\n{other}{own}", "ascii")
    assert secrets_of([recorded], file) == own
    plain = Recorded(Leg.CLIENT, False, 0.0, [Piece(0.0, True, b"GET / HTTP/1.1\r\n" + bytes(40))])
    assert client_random(plain) == ""
    assert secrets_of([plain], file) == ""
