"""A simulated Microsoft Update: on the Internet, over HTTP, not through the bridge.

It serves the update file of the simulated software update point (`wsus`).
"""

from __future__ import annotations

from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from ibcm_bridge.lab.namespaces import HERE, Namespace
from ibcm_bridge.lab.protocol import wsus
from ibcm_bridge.lab.protocol.content import content
from ibcm_bridge.lab.site_systems.server_thread import ServerThread
from ibcm_bridge.os_errors import listening_at

PORT = 80
"""The port in a separate namespace."""


class MicrosoftUpdate(ServerThread):
    """A context manager. `address` is its listen address."""

    def __init__(self, namespace: Namespace = HERE) -> None:
        port = PORT if namespace.own else 0
        with namespace.inside(), listening_at((namespace.address, port)):
            self._server = _Server((namespace.address, port), _Connection)
        self.address: tuple[str, int] = (namespace.address, self._server.server_address[1])
        super().__init__(self._server)

    @property
    def requested(self) -> tuple[str, ...]:
        """The targets of the received requests."""
        return tuple(self._server.requested)


class _Server(ThreadingHTTPServer):
    def __init__(self, *arguments: object) -> None:
        super().__init__(*arguments)  # type: ignore[arg-type]
        self.requested: list[str] = []


class _Connection(BaseHTTPRequestHandler):
    timeout = 10.0
    server: _Server

    def do_GET(self) -> None:
        self.server.requested.append(self.path)
        known = self.path == f"/{wsus.FILE}"
        body = content(0, wsus.SIZE) if known else b"Not found"
        self.send_response(200 if known else 404)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        """Log nothing."""
