"""A simulated clamd: it supports INSTREAM, and detects one signature.

The demo uses it so that it needs no installation. The tests also use a real clamd.
"""

from __future__ import annotations

import socketserver

from ibcm_bridge.lab.namespaces import HERE, Namespace
from ibcm_bridge.lab.site_systems.server_thread import ServerThread
from ibcm_bridge.os_errors import listening_at

SIGNATURE = "Lab.Only.ClamAV-Knows-It"
MARKER = "known to ClamAV alone"
"""The text that the signature detects."""

DEADLY = "this crashes the daemon"
"""The text on which it closes the connection without a result."""


class ScanDaemon(ServerThread):
    """A context manager. `address` is its listen address; port 0 selects a free port."""

    def __init__(
        self, address: tuple[str, int] = ("127.0.0.1", 0), namespace: Namespace = HERE
    ) -> None:
        with namespace.inside(), listening_at(address):
            server = _Server(address, _Connection)
        self.address: tuple[str, int] = (address[0], server.server_address[1])
        super().__init__(server)


class _Server(socketserver.ThreadingTCPServer):
    daemon_threads = True
    allow_reuse_address = True


class _Connection(socketserver.StreamRequestHandler):
    """One command (clamd(8))."""

    timeout = 10.0

    def handle(self) -> None:
        command = self._until_nul()
        if command == b"zPING":
            self.wfile.write(b"PONG\0")
        elif command == b"zVERSION":
            self.wfile.write(b"ClamAV simulated by the lab\0")
        elif command == b"zINSTREAM":
            response = _response(self._stream())
            if response is not None:
                self.wfile.write(response)

    def _until_nul(self) -> bytes:
        command = b""
        while (octet := self.rfile.read(1)) not in (b"", b"\0") and len(command) < 64:
            command += octet
        return command

    def _stream(self) -> bytes:
        pieces = []
        while size := int.from_bytes(self.rfile.read(4)):
            pieces.append(self.rfile.read(size))
        return b"".join(pieces)


def _response(data: bytes) -> bytes | None:
    if DEADLY.encode() in data:
        return None
    found = f"{SIGNATURE} FOUND" if MARKER.encode() in data else "OK"
    return f"stream: {found}\0".encode()
