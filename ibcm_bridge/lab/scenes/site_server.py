"""Connections from the site server to a client: inside they arrive, on the Internet they do not.

No request of a client starts them, so the bridge has no part in this; the firewall of the perimeter
decides. It needs the networks of `lab up --netns`.
"""

from __future__ import annotations

import contextlib
import socket
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass
from types import TracebackType
from typing import Self

from ibcm_bridge.lab.namespaces import Namespace
from ibcm_bridge.lab.protocol import wsus
from ibcm_bridge.lab.protocol.reply_documents import INTRANET
from ibcm_bridge.lab.scenes.scene import CannotShow, Scene, Stage
from ibcm_bridge.lab.simulated.client import ActionResult, Result
from ibcm_bridge.lab.simulated.failure import Failure, failure_of
from ibcm_bridge.lab.simulated.network import HTTP, HTTPS

_SECONDS = 1.0
_CARD = bytes.fromhex("020000000001")


@dataclass(frozen=True)
class Probe:
    """Bytes that the site server sends to a computer. The computer returns them if it gets them."""

    action: str
    kind: socket.SocketKind
    port: int
    data: bytes


PROBES = (
    Probe(
        "port of network discovery (SNMP)",
        socket.SOCK_DGRAM,
        161,
        # RFC 1157: GetRequest for sysName.0, community "public".
        bytes.fromhex("3026020100 0406 7075626c6963 a019 020101 020100 020100 300e300c0608")
        + bytes.fromhex("2b06010201010500 0500"),
    ),
    Probe("port of client push (SMB)", socket.SOCK_STREAM, 445, b"\xfeSMB"),
    Probe("port of remote control", socket.SOCK_STREAM, 2701, b"viewer"),
    Probe(
        "magic packet (Wake-on-LAN)",
        socket.SOCK_DGRAM,
        9,
        b"\xff" * 6 + _CARD * 16,
    ),
)
"""The ports are those of Windows and of ConfigMgr."""


class Computer:
    """A computer that returns all bytes at the ports of `PROBES`. A context manager."""

    def __init__(self, place: Namespace) -> None:
        self._ended = False
        self._sockets: list[socket.socket] = []
        self._threads: list[threading.Thread] = []
        with place.inside():
            for probe in PROBES:
                listener = socket.socket(socket.AF_INET, probe.kind)
                self._sockets.append(listener)
                listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
                listener.bind((place.address, probe.port))
                listener.settimeout(0.05)
                if probe.kind is socket.SOCK_STREAM:
                    listener.listen()

    def __enter__(self) -> Self:
        for listener in self._sockets:
            thread = threading.Thread(target=self._serve, args=(listener,), daemon=True)
            self._threads.append(thread)
            thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._ended = True
        for thread in self._threads:
            thread.join()
        for listener in self._sockets:
            listener.close()

    def _serve(self, listener: socket.socket) -> None:
        while not self._ended:
            with contextlib.suppress(OSError):
                if listener.type is socket.SOCK_DGRAM:
                    data, sender = listener.recvfrom(512)
                    listener.sendto(data, sender)
                    continue
                connection, _ = listener.accept()
                with connection:
                    connection.settimeout(_SECONDS)
                    connection.sendall(connection.recv(512))


def probe_computer(probe: Probe, computer: Namespace, site_server: Namespace) -> ActionResult:
    """Send the bytes from the site server; GOOD if the computer returns them."""
    network = "internet" if computer.name != site_server.name else "intranet"
    began = time.perf_counter()
    cause: Failure | None = None
    try:
        with site_server.inside():
            connection = socket.socket(socket.AF_INET, probe.kind)
        with connection:
            connection.settimeout(_SECONDS)
            connection.connect((computer.address, probe.port))
            connection.sendall(probe.data)
            returned = connection.recv(512)
    except OSError as error:
        text, result, cause = error.strerror or str(error), Result.FAILED, failure_of(error)
    else:
        text, result = f"{len(returned)} bytes arrive and return", Result.GOOD
        if returned != probe.data:
            text, result, cause = "other bytes are returned", Result.FAILED, Failure.OTHER_RESPONSE
    seconds = time.perf_counter() - began
    return ActionResult(network, "site server", probe.action, text, result, seconds, cause=cause)


def _site_server(stage: Stage) -> Iterator[ActionResult]:
    lab = stage.lab
    if not (lab.internet.namespace.name and lab.intranet.namespace.name):
        raise CannotShow(
            "on loopback, no firewall separates the networks; start the lab with: "
            "sudo ibcm-bridge lab up --netns"
        )
    inside_address, _ = lab.intranet.hosts[INTRANET.management_points[0], HTTPS]
    outside_address, _ = lab.internet.hosts[wsus.MICROSOFT_UPDATE, HTTP]
    inside = Namespace(lab.intranet.namespace.name, inside_address)
    outside = Namespace(lab.internet.namespace.name, outside_address)
    with Computer(inside), Computer(outside):
        for probe in PROBES:
            yield probe_computer(probe, inside, inside)
            yield from stage.must_fail(Failure.PROHIBITED, [probe_computer(probe, outside, inside)])


SITE_SERVER = (
    Scene(
        "site-server",
        "The site server and a client on the Internet",
        "NO-REMOTE-CONTROL",
        "The site server does not reach a client on the Internet: packets to the ports of network "
        "discovery, client push, remote control and Wake-on-LAN arrive on the intranet only.",
        _site_server,
        other_requirements=("NO-CLIENT-DEPLOYMENT", "NO-WAKE-ON-LAN"),
    ),
)
