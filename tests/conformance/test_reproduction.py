"""The commands of a report send what the check sent: both go to a server that records it."""

from __future__ import annotations

import contextlib
import socket
import struct
import subprocess
import threading
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Self

from OpenSSL import SSL

from ibcm_bridge.conformance.collection import Check, all_checks
from ibcm_bridge.conformance.exchange import Place
from ibcm_bridge.conformance.judgement import Judgement, Outcome
from ibcm_bridge.conformance.kit import Kit, make_kit, now
from ibcm_bridge.conformance.reproduction import reproduction, write_requests
from ibcm_bridge.conformance.results import AuthorityNames
from ibcm_bridge.conformance.revocation import Revocation
from ibcm_bridge.conformance.runner import Result
from ibcm_bridge.conformance.running import PUBLISHED
from ibcm_bridge.conformance.subject import Subject
from ibcm_bridge.lab.pki.certificates import LabCredential
from ibcm_bridge.lab.protocol.client import Request
from ibcm_bridge.lab.site_systems.records import ReceivedRequest
from tests.needs import demand

RESPONSE = b"HTTP/1.1 403 Forbidden\r\nContent-Length: 0\r\n\r\n"
QUIET_SECONDS = 0.1
IDLE_SECONDS = 5.0
"""Longer than a command waits between two requests on one connection."""
TRIES = 20
UNKNOWN_NAME = "mail.internet.example"
"""The name of `names::unknown_server_name`."""
AT_ONCE = 8


@dataclass(frozen=True)
class Seen:
    """A connection as a server sees it."""

    server_name: bytes | None
    certificate: str
    version: str
    data: bytes

    @property
    def request(self) -> object:
        """The data; fields of a head in any order, without spaces around their values."""
        head, end, body = self.data.partition(b"\r\n\r\n")
        line, *fields = head.split(b"\r\n")
        named = [field.partition(b":") for field in fields]
        return line, sorted((name, value.strip()) for name, _, value in named), end, body


class Recorder:
    """Refuses each request, and records the connections. A context manager."""

    def __init__(self, server: LabCredential) -> None:
        self._context = SSL.Context(SSL.TLS_SERVER_METHOD)
        self._context.use_certificate(server.certificate)
        self._context.use_privatekey(server.key)
        for issuer in server.issuers:
            self._context.add_extra_chain_cert(issuer)
        self._context.set_verify(SSL.VERIFY_PEER, lambda *_: True)
        self._listener = socket.create_server(("127.0.0.1", 0), backlog=16)
        self.address: tuple[str, int] = self._listener.getsockname()
        self._seen: list[list[Seen]] = []
        self._threads: list[threading.Thread] = []

    def __enter__(self) -> Self:
        threading.Thread(target=self._accept, daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self._listener.close()

    def take(self) -> Sequence[Seen]:
        """Return the connections since the last call, when they have ended."""
        for thread in self._threads:
            thread.join()
        found = [seen for places in self._seen for seen in places]
        self._seen.clear()
        self._threads.clear()
        return found

    def _accept(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                connection, _ = self._listener.accept()
                self._seen.append([])
                serve = threading.Thread(target=self._serve, args=(connection, self._seen[-1]))
                self._threads.append(serve)
                serve.start()

    def _serve(self, plain: socket.socket, seen: list[Seen]) -> None:
        with plain:
            seconds = struct.pack("ll", 0, int(QUIET_SECONDS * 1_000_000))
            plain.setsockopt(socket.SOL_SOCKET, socket.SO_RCVTIMEO, seconds)
            if first_byte(plain) != b"\x16":
                seen.append(Seen(None, "", "", received(plain)))
                return
            connection = SSL.Connection(self._context, plain)
            connection.set_accept_state()
            if not handshake(connection):
                seen.append(Seen(connection.get_servername(), "", "", b""))
                return
            data = received(connection)
            peer = connection.get_peer_certificate(as_cryptography=True)
            certificate = "" if peer is None else peer.subject.rfc4514_string()
            version = connection.get_protocol_version_name()
            seen.append(Seen(connection.get_servername(), certificate, version, data))


def first_byte(connection: socket.socket) -> bytes:
    """Return a byte that is read again; empty after the time of a silent client."""
    for _ in range(TRIES):
        with contextlib.suppress(BlockingIOError):
            return connection.recv(1, socket.MSG_PEEK)
    return b""


def handshake(connection: SSL.Connection) -> bool:
    for _ in range(TRIES):
        try:
            connection.do_handshake()
        except SSL.WantReadError:
            continue
        except (SSL.Error, OSError):
            return False
        return True
    return False


def received(connection: socket.socket | SSL.Connection) -> bytes:
    data, responded, last = bytearray(), 0, time.monotonic()
    while time.monotonic() - last < IDLE_SECONDS:
        try:
            chunk = connection.recv(1_000_000)
        except (SSL.WantReadError, BlockingIOError):
            if responded < len(data):
                with contextlib.suppress(SSL.Error, OSError):
                    connection.send(RESPONSE)
                responded = len(data)
            continue
        except (SSL.Error, OSError):
            break
        if not chunk:
            break
        data += chunk
        last = time.monotonic()
    return bytes(data)


class Nothing:
    """The records of site systems at which nothing arrives."""

    def since(self, position: int) -> tuple[tuple[ReceivedRequest, ...], int]:
        return (), position


def difference(check: Check, kit: Kit, server: LabCredential) -> str:
    """Send a check, and its command; return how the two differ."""
    with Recorder(server) as recorder:
        subject = Subject(
            {role: Place(name, recorder.address) for role, (name, _) in PUBLISHED.items()},
            kit,
            Nothing(),
            seconds=2.0,
            features=frozenset(("ca_names", "windows-authentication")),
            time_limits=dict.fromkeys(("handshake", "head", "body", "idle", "response"), 0.5),
            revocation=Revocation(kit.folder, 0.0),
        )
        check.judge(subject)
        sent = recorder.take()
        exchange = subject.exchanges[-1]
        judgement = Judgement(Outcome.FAIL, "", exchange=exchange)
        result = Result(check, judgement, tuple(subject.exchanges), 0.0)
        write_requests(result, kit)
        command = reproduction(result, kit)
        subprocess.run(
            ["sh", "-c", command],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            timeout=60,
            check=False,
        )
        again = recorder.take()
    if isinstance(exchange.result, AuthorityNames):
        return "" if again and "s_client" in command else f"{command}: {again}"
    if not again:
        return f"nothing arrived: {command}"
    one, two = sent[-1], again[-1]
    alike = replace(one, data=b"") == replace(two, data=b"") and (
        one.data == two.data
        or (command.startswith("curl ") and one.request == two.request)
        # A request in pieces, which the check did not finish.
        or (isinstance(exchange.sent, Request) and two.data.startswith(one.data))
    )
    return "" if alike else f"{command}\n{one}\n{two}"


def test_the_command_of_each_check_sends_the_same(tmp_path: Path) -> None:
    demand("curl")
    kit, pki = make_kit(tmp_path / "kit", None, now())
    server = pki.server(UNKNOWN_NAME, *sorted({name for name, _ in PUBLISHED.values()}))
    checks = all_checks().values()
    # Each of these issues a certificate, whose files have the same name.
    last = [check for check in checks if check.id.startswith("revocation::")]
    others = [check for check in checks if check not in last]
    with ThreadPoolExecutor(AT_ONCE) as pool:
        texts = pool.map(lambda check: difference(check, kit, server), others)
        found = {check.id: text for check, text in zip(others, texts, strict=True)}
    found |= {check.id: difference(check, kit, server) for check in last}
    assert {name: text for name, text in found.items() if text} == {}
