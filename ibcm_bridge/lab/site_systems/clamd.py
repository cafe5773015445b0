"""A stand-in for ClamAV's daemon: speaks INSTREAM, and knows one signature.

For the demonstration, which must need nothing installed. The tests ask the real one as well.
"""

from __future__ import annotations

import socketserver

from ibcm_bridge.lab.namespaces import HERE, Namespace
from ibcm_bridge.lab.site_systems.server_thread import ServerThread
from ibcm_bridge.os_errors import listening_at

SIGNATURE = "Lab.Only.ClamAV-Knows-It"
MARKER = "known to ClamAV alone"
"""What the signature is of."""

DEADLY = "the daemon dies of this"
"""Over which it goes away without an answer."""


class ScanDaemon(ServerThread):
    """A context manager; `address` is where it listens: as said, or on a free port."""

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
            self.wfile.write(b"ClamAV stand-in of the lab\0")
        elif command == b"zINSTREAM":
            response = _response(self._stream())
            if response is not None:
                self.wfile.write(response)

    def _until_nul(self) -> bytes:
        command = b""
        while (one := self.rfile.read(1)) not in (b"", b"\0") and len(command) < 64:
            command += one
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
