"""The subject: sends requests through the proxy, and collects the results of both ends."""

from __future__ import annotations

import contextlib
import http.client
import re
import socket
import ssl
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass

from ibcm_bridge.conformance.evidence import Evidence
from ibcm_bridge.conformance.kit import Client, Kit
from ibcm_bridge.lab.cases.requests import MakeRequest, Senders
from ibcm_bridge.lab.comparison.outcomes import ClientRefused
from ibcm_bridge.lab.protocol.client import (
    ConnectionEnded,
    HandshakeRefused,
    LabClient,
    Request,
    Response,
    request_bytes,
)
from ibcm_bridge.lab.site_systems.records import ReceivedRequest

MAX_BODY = 64 * 1024 * 1024
"""Bytes of a response body. The largest valid one, a whole download, has 8 MiB."""

MAX_RAW = 1024 * 1024
QUIET_SECONDS = 0.25
"""After the first bytes of raw responses, the time until they are taken for complete."""


@dataclass(frozen=True)
class Place:
    """How clients reach a role through the subject."""

    name: str
    address: tuple[str, int]


@dataclass(frozen=True)
class Hang:
    """No complete response, and no end of the connection."""

    seconds: float


@dataclass(frozen=True)
class Unreachable:
    """No TCP connection, for this reason."""

    why: str


type ClientResult = (
    Response | HandshakeRefused | ConnectionEnded | ClientRefused | Unreachable | Hang
)


@dataclass(frozen=True)
class Exchange:
    """A request, and its results at the client and at the site systems."""

    sent: Request | bytes
    """Bytes: several requests, or a malformed one."""
    to: str
    place: Place
    client: Client
    result: ClientResult
    received: tuple[ReceivedRequest, ...]
    tls_version: str = ""


class NotApplicable(Exception):
    """The subject file does not declare what the check needs, for this reason."""


class Subject:
    """The proxy, and the clients in front of it."""

    def __init__(
        self,
        places: Mapping[str, Place],
        kit: Kit,
        evidence: Evidence,
        *,
        seconds: float = 30.0,
        features: frozenset[str] = frozenset(),
    ) -> None:
        self.places = places
        self._kit = kit
        self._evidence = evidence
        self._seconds = seconds
        self._features = features
        self._senders = kit.senders()
        self.exchanges: list[Exchange] = []
        """The exchanges since the last `begin`."""
        self._seen = 0
        """The number of records that belong to exchanges."""

    def begin(self) -> None:
        """Forget the exchanges, and remove all records."""
        self.exchanges.clear()
        self._evidence.clear()
        self._seen = 0

    def unseen(self) -> tuple[ReceivedRequest, ...]:
        """Return the requests that arrived since the last exchange."""
        received = self._evidence.received()[self._seen :]
        self._seen += len(received)
        return received

    def place(self, to: str) -> Place:
        """Return how to reach a publication. NotApplicable."""
        if to not in self.places:
            raise NotApplicable(f"the subject file has no {to}")
        return self.places[to]

    def needs(self, feature: str) -> None:
        """Require a declared feature. NotApplicable."""
        if feature not in self._features:
            raise NotApplicable(f"the subject file does not declare {feature}")

    def senders(self, client: Client) -> Senders:
        """Return the ConfigMgr client with this certificate."""
        return self._senders[client]

    def send(
        self,
        make: MakeRequest,
        *,
        to: str = "management-point",
        client: Client = Client.COMPUTER,
        maximum_version: ssl.TLSVersion = ssl.TLSVersion.MAXIMUM_SUPPORTED,
        name: str = "",
    ) -> Exchange:
        """Send a request on a new connection. `name`: another server name."""
        request = make(self.senders(client))
        place = self.place(to)
        if request.plaintext:
            data = _encoded(request, place)
            result, version = _plaintext(place.address, data, request.method, self._seconds), ""
        else:
            opened = self._open(place, client, maximum_version, name)
            with opened:
                result = self._result(opened, lambda: opened.send(request))
            version = _tls_version(opened)
        return self._collect(request, to, client, result, version)

    @contextlib.contextmanager
    def connection(
        self, to: str = "management-point", client: Client = Client.COMPUTER
    ) -> Iterator[Callable[[MakeRequest], Exchange]]:
        """Open one connection for several requests."""
        place = self.place(to)

        def send(make: MakeRequest) -> Exchange:
            request = make(self.senders(client))
            result = self._result(opened, lambda: opened.send(request))
            return self._collect(request, to, client, result, _tls_version(opened))

        with self._open(place, client) as opened:
            yield send

    def send_resumed(
        self, make: MakeRequest, *, after: MakeRequest, at: str, client: Client
    ) -> Exchange:
        """Send a request to the management point, with the session of a connection to `at`.

        `after` is the request on that connection: its response has the session.
        """
        to = "management-point"
        place, other = self.place(to), self.place(at)
        senders = self.senders(client)
        before, request = after(senders), make(senders)
        with self._open(other, client) as first:
            result = self._result(first, lambda: first.send(before))
            self._collect(before, at, client, result, _tls_version(first))
            with first.with_its_session(place.address, place.name) as opened:
                result = self._result(opened, lambda: opened.send(request))
        return self._collect(request, to, client, result, _tls_version(opened))

    def send_bytes(
        self, data: bytes, *, to: str = "management-point", client: Client = Client.COMPUTER
    ) -> Exchange:
        """Send bytes on a new connection; the result has the status of the first response."""
        place = self.place(to)
        with self._open(place, client) as opened:
            result = self._result(opened, lambda: _raw(opened, data))
        return self._collect(data, to, client, result, "")

    def _open(
        self,
        place: Place,
        client: Client,
        maximum_version: ssl.TLSVersion = ssl.TLSVersion.MAXIMUM_SUPPORTED,
        name: str = "",
    ) -> LabClient:
        return LabClient(
            place.address,
            name or place.name,
            trust=self._kit.root,
            credential=self._kit.clients[client],
            timeout=self._seconds,
            maximum_version=maximum_version,
            max_body=MAX_BODY,
        )

    def _result(self, opened: LabClient, send: Callable[[], Response]) -> ClientResult:
        # The timeout of a socket is for one call; a slow response can take any number of calls.
        watch = threading.Timer(self._seconds, opened.abort)
        began = time.monotonic()
        watch.start()
        try:
            return send()
        except TimeoutError:
            return Hang(self._seconds)
        except ssl.SSLCertVerificationError as refused:
            return ClientRefused(refused.verify_message.rstrip("."))
        except (HandshakeRefused, ConnectionEnded) as ended:
            late = time.monotonic() - began >= self._seconds
            return Hang(self._seconds) if late else ended
        except OSError as error:
            return Unreachable(error.strerror or str(error))
        finally:
            watch.cancel()

    def _collect(
        self,
        sent: Request | bytes,
        to: str,
        client: Client,
        result: ClientResult,
        version: str,
    ) -> Exchange:
        exchange = Exchange(sent, to, self.place(to), client, result, self.unseen(), version)
        self.exchanges.append(exchange)
        return exchange


def _tls_version(opened: LabClient) -> str:
    """Return the version of a completed handshake; empty without one."""
    return opened.handshake.version if opened.handshake else ""


def _encoded(request: Request, place: Place) -> bytes:
    headers = (*request.headers, ("Connection", "close"))
    return request_bytes(request.method, request.target, headers, request.body, place.name)


def _plaintext(address: tuple[str, int], data: bytes, method: str, seconds: float) -> ClientResult:
    try:
        with socket.create_connection(address, seconds) as connection:
            watch = threading.Timer(seconds, connection.shutdown, (socket.SHUT_RDWR,))
            began = time.monotonic()
            watch.start()
            try:
                with contextlib.suppress(ConnectionError):
                    connection.sendall(data)
                with http.client.HTTPResponse(connection, method=method) as response:
                    response.begin()
                    body = response.read(MAX_RAW)
                    headers = tuple(response.getheaders())
                    return Response(response.status, response.reason, headers, body)
            except (http.client.HTTPException, ConnectionError) as error:
                late = time.monotonic() - began >= seconds
                return Hang(seconds) if late else ConnectionEnded(f"no response: {error!r}")
            finally:
                watch.cancel()
    except TimeoutError:
        return Hang(seconds)
    except OSError as error:
        return Unreachable(error.strerror or str(error))


def _raw(opened: LabClient, data: bytes) -> Response:
    """Send bytes; return the first status, and everything else as the body."""
    connection = opened.connect()
    received = bytearray()
    try:
        # The server can refuse early; its response can still be read.
        with contextlib.suppress(ssl.SSLError, ConnectionError):
            connection.sendall(data)
        while chunk := connection.recv(65_536):
            received += chunk
            if len(received) > MAX_RAW:
                break
            connection.settimeout(QUIET_SECONDS)
    except TimeoutError:
        if not received:
            raise
    except (ssl.SSLError, ConnectionError):
        pass  # the responses before the end are the result
    status = re.match(rb"HTTP/1\.[01] ([1-5][0-9][0-9])[^\r\n]*\r?\n", received)
    if status is None:
        raise ConnectionEnded("no response")
    return Response(int(status[1]), "", (), bytes(received[status.end() :]))
