"""Clients behind a web proxy (CLIENT-CONNECTION), and a small one for the lab.

It forwards TLS connections on request (CONNECT, RFC 9110 9.3.6). An intercepting one terminates
them with a certificate from its own CA, as content filters do.
"""

from __future__ import annotations

import contextlib
import socket
import ssl
import threading
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from types import TracebackType
from typing import Self

from ibcm_bridge.lab.clients.life_cycle import POLICY_REQUEST, REGISTRATION
from ibcm_bridge.lab.pki.certificates import Authority, current, root_authority, server
from ibcm_bridge.lab.protocol.client import (
    ConnectionEnded,
    HandshakeRefused,
    LabClient,
    load_credential,
)
from ibcm_bridge.lab.protocol.reply_documents import PUBLISHED
from ibcm_bridge.lab.scenes.scene import Scene, Stage, installation, must_use, said
from ibcm_bridge.lab.simulated.client import ActionResult, Result, SimulatedClient
from ibcm_bridge.lab.simulated.failure import Failure, failure_of
from ibcm_bridge.lab.simulated.installation import Installation, Mode
from ibcm_bridge.lab.simulated.known_site_systems import KnownSiteSystems
from ibcm_bridge.lab.simulated.network import Host, Network
from ibcm_bridge.lab.simulated.running_lab import INSTALLATION_OPTIONS
from ibcm_bridge.lab.site_systems.published import USER_CERTIFICATES

_MAX_HEAD = 4_096
_SECONDS = 20
_CHUNK = 65_536


class WebProxy:
    """A web proxy in a network. A context manager; `address` is where it listens."""

    def __init__(
        self,
        network: Network,
        authority: Authority | None = None,
        names: Sequence[str] = PUBLISHED,
    ) -> None:
        """It intercepts TLS with a certificate for `names` from `authority`, if there is one."""
        self._network = network
        self._context = _intercepting(authority, names) if authority else None
        self.tunnels = 0
        """Tunnels that it opened."""
        self.refused: Failure | None = None
        """Why a server refused a connection of its own."""
        with network.namespace.inside():
            self._listener = socket.create_server((network.namespace.address, 0))
        self.address: Host = self._listener.getsockname()[:2]
        self._sockets: list[socket.socket] = [self._listener]
        self._threads: list[threading.Thread] = []
        self._ended = False

    def __enter__(self) -> Self:
        self._start(self._accept)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._ended = True
        for opened in self._sockets:
            with contextlib.suppress(OSError):
                opened.shutdown(socket.SHUT_RDWR)
            opened.close()
        for thread in self._threads:
            thread.join(_SECONDS)

    def _start(self, run: Callable[..., None], *arguments: socket.socket) -> None:
        thread = threading.Thread(target=run, args=arguments, daemon=True)
        self._threads.append(thread)
        thread.start()

    def _accept(self) -> None:
        while not self._ended:
            try:
                connection, _ = self._listener.accept()
            except OSError:
                return
            connection.settimeout(_SECONDS)
            self._sockets.append(connection)
            self._start(self._serve, connection)

    def _serve(self, connection: socket.socket) -> None:
        with contextlib.suppress(OSError), connection:
            to = _requested(connection)
            address = None if to is None else self._network.hosts.get(to)
            if to is None or address is None:
                connection.sendall(b"HTTP/1.1 502 Bad Gateway\r\nContent-Length: 0\r\n\r\n")
                return
            if self._context is not None:
                connection.sendall(_OPENED)
                self._intercept(connection, to, address)
                return
            with self._network.namespace.inside():
                onward = socket.create_connection(address, _SECONDS)
            self._sockets.append(onward)
            connection.sendall(_OPENED)
            self.tunnels += 1
            with onward:
                back = threading.Thread(target=_copy, args=(onward, connection), daemon=True)
                back.start()
                _copy(connection, onward)
                back.join(_SECONDS)

    def _intercept(self, connection: socket.socket, to: Host, address: Host) -> None:
        """Terminate TLS, and report how the server receives a connection of the proxy's own."""
        assert self._context is not None
        # A client that does not trust the certificate ends this handshake.
        with self._context.wrap_socket(connection, server_side=True) as client:
            client.recv(_CHUNK)
            status, text = self._ask(to, address)
            fields = f"Content-Type: text/plain\r\nContent-Length: {len(text)}"
            client.sendall(f"HTTP/1.1 {status}\r\n{fields}\r\n\r\n{text}".encode())

    def _ask(self, to: Host, address: Host) -> tuple[str, str]:
        """Send a request as the proxy, which does not have the client's private key."""
        server = LabClient(
            address,
            to[0],
            trust=self._network.trust,
            credential=None,
            namespace=self._network.namespace,
        )
        with server:
            try:
                response = server.request("GET", "/")
            except (HandshakeRefused, ConnectionEnded, OSError) as error:
                self.refused = failure_of(error)
                return "502 Bad Gateway", f"{to[0]} refuses the proxy: {error}"
        return "200 OK", f"{to[0]} responds to the proxy: {response.status} {response.reason}"


_OPENED = b"HTTP/1.1 200 Connection established\r\n\r\n"


def _requested(connection: socket.socket) -> Host | None:
    """Read the request; return the name and port of a CONNECT."""
    head = bytearray()
    while b"\r\n\r\n" not in head:
        received = connection.recv(1)
        if not received or len(head) > _MAX_HEAD:
            return None
        head += received
    method, _, rest = head.decode("latin-1").partition(" ")
    name, _, port = rest.partition(" ")[0].rpartition(":")
    return (name, int(port)) if method == "CONNECT" and port.isdecimal() else None


def _copy(source: socket.socket, to: socket.socket) -> None:
    with contextlib.suppress(OSError):
        while data := source.recv(_CHUNK):
            to.sendall(data)
        to.shutdown(socket.SHUT_WR)


def _intercepting(authority: Authority, names: Sequence[str]) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    load_credential(context, server(authority, names, current(datetime.now(UTC))))
    return context


def _behind(network: Network, proxy: WebProxy) -> Network:
    """The network of a client that reaches the Internet only through the proxy."""
    # The proxy resolves the names; nothing else leads out of this network.
    return replace(network, name="web proxy", hosts={}, web_proxy=proxy.address)


def _tunnels(proxy: WebProxy, result: Result) -> ActionResult:
    return said("tunnels that the web proxy opened", str(proxy.tunnels), result)


def _forwarded(stage: Stage) -> Iterator[ActionResult]:
    with WebProxy(stage.lab.internet) as proxy:
        client = stage.client(Mode.INTERNET_ONLY, _behind(stage.lab.internet, proxy))
        yield from client.run(REGISTRATION, POLICY_REQUEST)
        yield _tunnels(proxy, Result.GOOD if proxy.tunnels else Result.FAILED)
        client.close()


def _intercepted(stage: Stage) -> Iterator[ActionResult]:
    authority = root_authority("Web proxy", datetime.now(UTC))
    with WebProxy(stage.lab.internet, authority) as proxy:
        network = _behind(stage.lab.internet, proxy)
        client = stage.client(Mode.INTERNET_ONLY, network)
        yield from stage.must_fail(Failure.UNTRUSTED, [client.connect(PUBLISHED[0])])
        # Where the organization has installed the proxy's CA on the computer:
        client.move(
            replace(network, name="web proxy, its CA installed", trust=authority.certificate)
        )
        yield client.connect(PUBLISHED[0])
        registration = client.device.registration()
        refused = client.attempt("registration", registration)
        # The client sees a 502; the proxy knows why.
        cause = proxy.refused if refused.cause == 502 else refused.cause
        yield from stage.must_fail(Failure.CERTIFICATE_REQUIRED, [replace(refused, cause=cause)])
        client.close()


def _of(client: SimulatedClient, what: str) -> Iterator[ActionResult]:
    for action in client.run(REGISTRATION):
        yield replace(action, action=f"{action.action} of {what}")


def _mobile(stage: Stage) -> Iterator[ActionResult]:
    options = INSTALLATION_OPTIONS[Mode.BOTH]
    refused = installation(
        lambda: Installation(Mode.BOTH, options, is_mobile=True), "for both networks"
    )
    yield from stage.must_fail(Failure.MOBILE_DEVICE, [refused])
    knows = KnownSiteSystems(internet_management_points=(USER_CERTIFICATES,))
    device = stage.installed(Installation(Mode.INTERNET_ONLY, knows, is_mobile=True))
    with WebProxy(stage.lab.internet) as proxy:
        network = _behind(stage.lab.internet, proxy)
        device.move(network)
        yield from stage.must_fail(Failure.NAME_NOT_FOUND, _of(device, "the device"))
        yield _tunnels(proxy, Result.FAILED if proxy.tunnels else Result.GOOD)
        # The same proxy serves a client computer.
        computer = stage.client(Mode.INTERNET_ONLY, network)
        yield from _of(computer, "a client computer")
        yield _tunnels(proxy, Result.GOOD if proxy.tunnels else Result.FAILED)
        computer.close()
    device.move(stage.lab.internet)
    yield from must_use((USER_CERTIFICATES,), device.run(REGISTRATION, POLICY_REQUEST))


WEB_PROXY = (
    Scene(
        "web-proxy",
        "A client behind a web proxy",
        "CLIENT-CONNECTION",
        "A client computer may reach the Internet through a web proxy. It forwards TLS unread, so "
        "the bridge sees the client's certificate.",
        _forwarded,
    ),
    Scene(
        "web-proxy-intercepting",
        "A client behind a web proxy that intercepts TLS",
        "CLIENT-CONNECTION",
        "This fails: the client does not trust the proxy's certificate. If its CA is installed on "
        "the computer, the bridge still refuses the proxy, which has no client certificate.",
        _intercepted,
    ),
    Scene(
        "mobile-device",
        "A mobile device needs a direct connection",
        "CLIENT-CONNECTION",
        "A mobile device is always Internet-only. It uses no web proxy, and is not managed in a "
        "network that has only one. A legacy device presents a user certificate.",
        _mobile,
        other_requirements=("CLIENT-MODE", "BRIDGE-AUTH-USER"),
    ),
)
