"""Runs the simulated site systems, on loopback or in a namespace, and records their requests.

How it works:

1. A thread with an event loop serves all of `stand_ins`. TLS requests a client certificate if the
   site system uses one; its path must end at the lab's root. Directories that require a certificate
   return 403 for other defects, as IIS does (403.7, 403.13, 403.16, 403.17).
2. If a directory requires a user, the connection's `UserAuthentication` authenticates the user.
3. It records each ClientHello, and each request just before its response is sent (`records`). If
   the lab asks for it, also what arrives and is not a complete request (`unfinished`).
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import threading
from collections.abc import Callable, Coroutine, Mapping
from concurrent.futures import Future
from dataclasses import replace
from datetime import UTC, datetime
from hashlib import sha256
from http import HTTPStatus
from pathlib import Path
from socket import create_server, socket
from typing import NamedTuple, Self, cast

from cryptography.hazmat.primitives.hashes import SHA256
from tornado.http1connection import HTTP1Connection
from tornado.httpserver import HTTPServer
from tornado.httputil import HTTPHeaders, HTTPServerRequest, ResponseStartLine
from tornado.iostream import StreamClosedError
from tornado.netutil import add_accept_handler

from ibcm_bridge.lab.namespaces import HERE, Namespace
from ibcm_bridge.lab.pki.authorities import LabPki
from ibcm_bridge.lab.pki.running import SiteSystemPki
from ibcm_bridge.lab.protocol.content import (
    CHUNK,
    Pace,
    ServerResponse,
    chunks,
    part,
)
from ibcm_bridge.lab.protocol.reply_documents import LAB, SiteNames
from ibcm_bridge.lab.protocol.uploads import UploadServer
from ibcm_bridge.lab.site_systems.access import forbidden, verified_users
from ibcm_bridge.lab.site_systems.cloud_distribution_point import CloudContent
from ibcm_bridge.lab.site_systems.records import (
    MAX_BODY_RECORDED,
    Handshake,
    ReceivedRequest,
    Records,
)
from ibcm_bridge.lab.site_systems.scep import Enrollment
from ibcm_bridge.lab.site_systems.server_request import TEXT, ServerRequest, split_target
from ibcm_bridge.lab.site_systems.server_tls import server_context
from ibcm_bridge.lab.site_systems.stand_ins import (
    ANONYMOUS_DIRECTORIES,
    STAND_INS,
    ClientAuthentication,
    Site,
    StandIn,
)
from ibcm_bridge.lab.site_systems.streams import Stream, TlsStream, until_closed, write
from ibcm_bridge.lab.site_systems.unfinished import UnfinishedRequests
from ibcm_bridge.lab.site_systems.user_authentication import (
    AnyUserAccepted,
    AuthenticationStep,
    UserAuthentication,
)
from ibcm_bridge.os_errors import listening_at

MAX_BODY = 64 * 1024 * 1024
UNAUTHORIZED = ServerResponse(401, b"Unauthorized", TEXT)


class Address(NamedTuple):
    host: str
    port: int


class SiteSystems:
    """All simulated site systems. The records can be read at any time, also after the end."""

    def __init__(
        self,
        pki: SiteSystemPki,
        *,
        stand_ins: Mapping[str, StandIn] = STAND_INS,
        names: SiteNames = LAB,
        cloud: CloudContent | None = None,
        ports: Mapping[str, int] | None = None,
        download_bytes: int = 8 * 1024 * 1024,
        leaks: bool = False,
        user_authentication: Callable[[], UserAuthentication] = AnyUserAccepted,
        namespace: Namespace = HERE,
        key_log: Path | None = None,
        fixed_ports: bool = False,
        unfinished: bool = False,
    ) -> None:
        """With `fixed_ports`, or in a separate namespace, they listen on the ports in `stand_ins`.

        `stand_ins`: the site systems, by role. `names`: those in replies. `cloud`: content that is
        elsewhere. `ports`: role -> port, instead of free ones. `key_log`: the file for the TLS
        secrets of the site systems. Only a `LabPki` can enroll clients. `unfinished`: also record
        what is not a complete request.
        """
        self._stand_ins = stand_ins
        self._namespace = namespace
        enrollment = Enrollment(pki) if isinstance(pki, LabPki) else None
        self._site = Site(download_bytes, leaks, enrollment, names, cloud)
        self._user_authentication = user_authentication
        self._revoked = {entry.serial_number for crl in pki.crls() for entry in crl}
        self.records = Records()
        self._unfinished = UnfinishedRequests(self.records) if unfinished else None
        self._tasks: set[asyncio.Future[None]] = set()
        self._contexts = {
            role: server_context(stand_in, pki, key_log, self._noting(role))
            for role, stand_in in stand_ins.items()
            if stand_in.client_authentication is not ClientAuthentication.PLAINTEXT
        }
        if ports is None:
            fixed = fixed_ports or namespace.own
            ports = {role: stand_in.port if fixed else 0 for role, stand_in in stand_ins.items()}
        self._listeners: dict[str, socket] = {}
        try:
            for role in stand_ins:
                self._listeners[role] = self._bind(ports[role])
        except OSError:
            for listener in self._listeners.values():
                listener.close()
            raise
        self.addresses: Mapping[str, Address] = {
            role: Address(*listener.getsockname()) for role, listener in self._listeners.items()
        }
        self._servers: dict[str, tuple[HTTPServer, Callable[[], None]]] = {}
        self._thread = threading.Thread(target=lambda: asyncio.run(self._serve()), daemon=True)
        self._running: Future[tuple[asyncio.AbstractEventLoop, asyncio.Event]] = Future()

    def __enter__(self) -> Self:
        # Many tests cause refused handshakes; do not log them.
        logging.getLogger("tornado").setLevel(logging.CRITICAL)
        self._thread.start()
        self._running.result(timeout=10)
        return self

    def __exit__(self, *_: object) -> None:
        loop, stopped = self._running.result()
        loop.call_soon_threadsafe(stopped.set)
        self._thread.join()

    @property
    def management_point(self) -> Address:
        return self.addresses["management-point"]

    @property
    def distribution_point(self) -> Address:
        return self.addresses["distribution-point"]

    def received(self) -> tuple[ReceivedRequest, ...]:
        """Return the recorded requests."""
        return self.records.received()

    def since(self, position: int) -> tuple[tuple[ReceivedRequest, ...], int]:
        """Return the recorded requests from a position on, and the next position.

        With `unfinished`, then what is not yet a request (`UnfinishedRequests.since`).
        """
        return (self._unfinished or self.records).since(position)

    def handshakes(self) -> tuple[Handshake, ...]:
        """Return the recorded ClientHellos."""
        return self.records.handshakes()

    @property
    def pending(self) -> set[str]:
        """Names of clients that are not approved; tests can change the set."""
        return self._site.messages.clients.pending

    @property
    def uploads(self) -> UploadServer:
        """The uploads to the management point."""
        return self._site.uploads

    def take_down(self, role: str) -> None:
        """Stop the listener of a site system, and close its connections."""
        self._run_in_loop(self._stop(role))

    def bring_up(self, role: str) -> None:
        """Start the listener again on the same port. OSError if the port is in use."""
        self._run_in_loop(self._start(role))

    def clear(self) -> None:
        """Remove all records."""
        self.records.clear()

    def _noting(self, role: str) -> Callable[[str | None], None]:
        return lambda sni: self.records.add(Handshake(role, sni))

    async def _serve(self) -> None:
        stopped = asyncio.Event()
        for role, stand_in in self._stand_ins.items():
            self._servers[role] = self._listen(stand_in, self._listeners[role])
        self._running.set_result((asyncio.get_running_loop(), stopped))
        await stopped.wait()
        for role in list(self._servers):
            await self._stop(role)

    def _run_in_loop(self, change: Coroutine[None, None, None]) -> None:
        loop, _ = self._running.result()
        asyncio.run_coroutine_threadsafe(change, loop).result(timeout=10)

    async def _stop(self, role: str) -> None:
        if role not in self._servers:
            return
        server, stop_accepting = self._servers.pop(role)
        stop_accepting()
        self._listeners[role].close()
        await server.close_all_connections()

    async def _start(self, role: str) -> None:
        if role not in self._servers:
            self._listeners[role] = self._bind(self.addresses[role].port)
            self._servers[role] = self._listen(self._stand_ins[role], self._listeners[role])

    def _bind(self, port: int) -> socket:
        address = self._namespace.address
        with self._namespace.inside(), listening_at((address, port)):
            listener = create_server((address, port))
        listener.setblocking(False)
        return listener

    def _listen(self, stand_in: StandIn, listener: socket) -> tuple[HTTPServer, Callable[[], None]]:
        def respond(http_request: HTTPServerRequest) -> None:
            stream = cast(Stream, cast(HTTP1Connection, http_request.connection).stream)
            if stream.unfinished is not None:
                stream.unfinished.complete()
            # The event loop has only weak references to tasks.
            task = asyncio.ensure_future(self._respond(stand_in, http_request))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

        def accept(connection: socket, address: tuple[str, int]) -> None:
            try:
                stream = self._stream(stand_in, connection)
            except OSError:  # already closed
                connection.close()
                return
            stream.peer_port = address[1]
            verifies = verified_users if stand_in.verifies_users else self._user_authentication
            stream.user_authentication = verifies()
            if self._unfinished is not None:
                stream.unfinished = self._unfinished.begin(stand_in.role, address[1])
                stream.ended = self._unfinished.end
            server.handle_stream(stream, address)

        server = HTTPServer(respond, max_body_size=MAX_BODY)
        return server, add_accept_handler(listener, accept)

    def _stream(self, stand_in: StandIn, connection: socket) -> Stream:
        if stand_in.client_authentication is ClientAuthentication.PLAINTEXT:
            return Stream(connection, max_buffer_size=MAX_BODY + CHUNK)
        tls = self._contexts[stand_in.role].wrap_socket(
            connection, server_side=True, do_handshake_on_connect=False
        )
        return TlsStream(tls, max_buffer_size=MAX_BODY + CHUNK)

    async def _respond(self, stand_in: StandIn, http_request: HTTPServerRequest) -> None:
        connection = cast(HTTP1Connection, http_request.connection)
        stream = cast(Stream, connection.stream)
        method, target, certificate = (
            http_request.method or "",
            http_request.uri or "",
            stream.certificate,
        )
        headers = {name.lower(): value for name, value in http_request.headers.get_all()}
        request = ServerRequest(method, *split_target(target), http_request.body, headers)
        response, authentication = self._authorize(stand_in, request, stream)
        if stand_in.delay:
            await asyncio.sleep(stand_in.delay)
        if method == "GET" and response.status == 200:  # RFC 9110, 14.2: only for GET
            response = part(response, http_request.headers)
        received = ReceivedRequest(
            time=datetime.now(UTC),
            site_system=stand_in.role,
            method=method,
            target=target,
            headers=stream.fields(),
            body=http_request.body[:MAX_BODY_RECORDED],
            size=len(http_request.body),
            sha256=sha256(http_request.body).hexdigest(),
            certificate_subject=certificate.subject.rfc4514_string() if certificate else None,
            certificate_sha256=certificate.fingerprint(SHA256()).hex() if certificate else None,
            user=authentication.user,
            peer_port=stream.peer_port,
            status=0 if response.pace is Pace.SILENT else response.status,
            tls_version=stream.tls_version,
            tls_resumed=stream.tls_resumed,
        )
        self.records.add(received)
        if response.pace is Pace.SILENT:
            await until_closed(connection)
            return
        fields = {"Server": "Microsoft-IIS/10.0", "Content-Length": str(len(response.body))}
        start = ResponseStartLine("HTTP/1.1", response.status, HTTPStatus(response.status).phrase)
        fields_sent = HTTPHeaders(fields | response.fields)
        for name, value in authentication.fields:
            fields_sent.add(name, value)
        with contextlib.suppress(StreamClosedError):  # the client closed the connection
            await connection.write_headers(start, fields_sent)
            if method != "HEAD":
                for chunk in chunks(response.body):
                    await write(connection, chunk, response.pace)
            if response.pace is Pace.STALLED:
                await until_closed(connection)
                return
            connection.finish()

    def _authorize(
        self, stand_in: StandIn, request: ServerRequest, stream: Stream
    ) -> tuple[ServerResponse, AuthenticationStep]:
        """Authorize the computer, then the user, as IIS does; return the response."""
        requires_certificate = (
            stand_in.client_authentication is ClientAuthentication.PER_DIRECTORY
            and not ANONYMOUS_DIRECTORIES.fullmatch(request.directory)
        )
        if requires_certificate and (why := forbidden(stream.certificate, self._revoked)):
            return ServerResponse(403, why, TEXT), AuthenticationStep("")
        if stand_in.users is None or not stand_in.users.fullmatch(request.directory):
            return stand_in.respond(request, self._site), AuthenticationStep("")
        authentication = stream.user_authentication.authenticate(
            request.headers.get("authorization")
        )
        if not authentication.user:
            return UNAUTHORIZED, authentication
        return stand_in.respond(
            replace(request, user=authentication.user), self._site
        ), authentication
