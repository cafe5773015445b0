"""Other proxies that terminate TLS, each with one defect that the bridge cannot have."""

from __future__ import annotations

import contextlib
import http.client
import select
import socket
import ssl
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from socketserver import BaseRequestHandler, ThreadingTCPServer

from ibcm_bridge.lab.site_systems.server_thread import ServerThread

SECONDS = 20.0

type Connect = Callable[[], socket.socket]
"""Connects to the site system."""

type Serve = Callable[[socket.socket, Connect], None]
"""Serves the connection of a client."""


class _Server(ThreadingTCPServer):
    daemon_threads = True
    request_queue_size = 100

    def handle_error(self, *_: object) -> None:
        """A client that ends its connection is not an error of the server."""


@contextmanager
def proxy(
    pki: Path, certificate: str, site_system: tuple[str, int], serve: Serve
) -> Iterator[tuple[str, int]]:
    """Run a proxy with the certificates of a kit; return its address."""
    inside = ssl.create_default_context(cafile=str(pki / "authorities.pem"))
    inside.check_hostname = False
    inside.load_cert_chain(pki / "bridge-client.pem", pki / "bridge-client.key")
    outside = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    outside.load_cert_chain(pki / f"{certificate}.pem", pki / f"{certificate}.key")

    def connect() -> socket.socket:
        return inside.wrap_socket(socket.create_connection(site_system, SECONDS))

    class Handler(BaseRequestHandler):
        def handle(self) -> None:
            self.request.settimeout(SECONDS)
            with contextlib.suppress(OSError), outside.wrap_socket(self.request, True) as client:
                serve(client, connect)

    with _Server(("127.0.0.1", 0), Handler) as server, ServerThread(server):
        yield ("127.0.0.1", server.server_address[1])


@contextmanager
def shared_legs() -> Iterator[Serve]:
    """Send each request on any leg that is free, as a pool of connections does."""
    free: list[socket.socket] = []

    def serve(client: socket.socket, connect: Connect) -> None:
        while head := _head(client):
            leg = free.pop() if free else connect()
            leg.sendall(head)
            with http.client.HTTPResponse(leg) as response:
                response.begin()
                fields = "".join(f"{name}: {value}\r\n" for name, value in response.getheaders())
                line = f"HTTP/1.1 {response.status} {response.reason}\r\n"
                whole = f"{line}{fields}\r\n".encode("latin-1") + response.read()
            free.append(leg)
            client.sendall(whole)

    try:
        yield serve
    finally:
        for leg in free:
            leg.close()


def _head(client: socket.socket) -> bytes:
    """Read the head of a request without a body; empty at the end of the connection."""
    head = b""
    while not head.endswith(b"\r\n\r\n"):
        data = client.recv(1)
        if not data:
            return b""
        head += data
    return head


def copied_bytes(seconds: float) -> Serve:
    """Connect at once, and copy bytes in both directions unread, until nothing comes in time."""

    def serve(client: socket.socket, connect: Connect) -> None:
        with connect() as leg:
            ends = {client: leg, leg: client}
            while ready := select.select([*ends], [], [], seconds)[0]:
                for end in ready:
                    while (data := _waiting(end)) is not None:
                        if not data:
                            return
                        ends[end].sendall(data)

    return serve


def _waiting(end: socket.socket) -> bytes | None:
    """Read what has arrived; empty at the end of the connection, None if it is nothing."""
    end.settimeout(0)
    try:
        return end.recv(65_536)
    except ssl.SSLWantReadError:
        return None
    finally:
        end.settimeout(SECONDS)
