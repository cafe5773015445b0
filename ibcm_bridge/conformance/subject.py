"""The subject: sends requests through the proxy, and collects the results of both ends."""

from __future__ import annotations

import contextlib
import copy
import math
import socket
import ssl
import uuid
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from types import MappingProxyType

from cryptography import x509

from ibcm_bridge.conformance.arrivals import Arrivals
from ibcm_bridge.conformance.authority_names import NamesClient
from ibcm_bridge.conformance.evidence import Evidence
from ibcm_bridge.conformance.exchange import Exchange, Pieces, Place
from ibcm_bridge.conformance.kit import Client, Kit
from ibcm_bridge.conformance.pacing import exchange_pieces, first_response
from ibcm_bridge.conformance.results import Hang, plaintext_result, result_of
from ibcm_bridge.conformance.revocation import Revocation
from ibcm_bridge.lab.cases.requests import MakeRequest, Senders
from ibcm_bridge.lab.pki.certificates import LabCredential
from ibcm_bridge.lab.protocol.client import LabClient, Request, Response, request_bytes

MAX_BODY = 64 * 1024 * 1024
"""Bytes of a response body. The largest valid one, a whole download, has 8 MiB."""

MARGIN_SECONDS = 3.0
"""How much later than its stated limit the proxy may end something slow."""


_VERSIONS = {ssl.TLSVersion.TLSv1_2: "1.2"}


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
        time_limits: Mapping[str, float] = MappingProxyType({}),
        revocation: Revocation | None = None,
    ) -> None:
        """`time_limits`: those that the subject file states, in seconds. LabError."""
        self.places = places
        self._kit = kit
        self._arrivals = Arrivals(evidence)
        self._lane = self._arrivals.alone()
        self._seconds = seconds
        self._features = features
        self._time_limits = time_limits
        self._revocation = revocation
        self._senders = kit.senders()
        self.marker = str(uuid.uuid4())
        """A name for targets, which no other check uses at the same time."""
        self.exchanges: list[Exchange] = []
        """The exchanges since the last `begin`."""

    def beside(self) -> Subject:
        """Return the same subject for a check that runs at the same time."""
        other = copy.copy(self)
        other.marker = str(uuid.uuid4())
        other.exchanges = []
        other._lane = self._arrivals.beside(other.marker)
        return other

    def begin(self) -> None:
        """Forget the exchanges, and the requests that arrived."""
        self.exchanges.clear()
        self._lane.new()

    def place(self, to: str) -> Place:
        """Return how to reach a publication. NotApplicable."""
        if to not in self.places:
            raise NotApplicable(f"the subject file has no {to}")
        return self.places[to]

    def needs(self, feature: str) -> None:
        """Require a declared feature. NotApplicable."""
        if feature not in self._features:
            raise NotApplicable(f"the subject file does not declare {feature}")

    def revocation(self) -> Revocation:
        """Return how the subject gets new revocation lists. NotApplicable."""
        if self._revocation is None:
            raise NotApplicable("the subject file does not declare revocation")
        return self._revocation

    def present(self, client: Client, credential: LabCredential) -> None:
        """Use another certificate for a client."""
        self._kit = replace(self._kit, clients={**self._kit.clients, client: credential})
        self._senders = self._kit.senders()

    def patience(self, limit: str) -> float:
        """Return how long to wait for the end of something slow: not less than its limit."""
        stated = self._time_limits.get(limit)
        return self._seconds if stated is None else stated + MARGIN_SECONDS

    def senders(self, client: Client) -> Senders:
        """Return the ConfigMgr client with this certificate. NotApplicable."""
        if client not in self._senders:
            raise NotApplicable(f"{self._kit.client_folder} has no {client}.pem")
        return self._senders[client]

    def authorities(self) -> Sequence[x509.Name]:
        """Return the issuers of the computer certificate, and of the other ones of its path."""
        credential = self._kit.clients[Client.COMPUTER]
        assert credential is not None
        return [each.issuer for each in (credential.certificate, *credential.issuers)]

    def bytes_of(self, request: Request, to: str) -> bytes:
        """Return a request as it is sent to a publication."""
        return _encoded(request, self.place(to))

    def send(
        self,
        make: MakeRequest,
        *,
        to: str = "management-point",
        client: Client = Client.COMPUTER,
        maximum_version: ssl.TLSVersion = ssl.TLSVersion.MAXIMUM_SUPPORTED,
        name: str = "",
        limit: str = "",
        at_least: float = 0.0,
        at_most: float = math.inf,
    ) -> Exchange:
        """Send a request on a new connection. `name`: another server name.

        `limit`: the time limit that should end it. `at_least`, `at_most`: seconds to wait.
        """
        request = make(self.senders(client))
        place = self.place(to)
        seconds = max(self.patience(limit) if limit else self._seconds, at_least)
        seconds = min(seconds, at_most)
        if request.plaintext:
            request = replace(request, headers=(*request.headers, ("Connection", "close")))
            data = _encoded(request, place)
            result, version = plaintext_result(place.address, data, request.method, seconds), ""
        else:
            with self._open(place, client, maximum_version, name, seconds) as opened:
                result = result_of(lambda: opened.send(request), opened.abort, seconds)
            version = _tls_version(opened)
        return self._collect(
            Exchange(
                request,
                to,
                place,
                client,
                result,
                tls_version=version,
                other_name=name,
                maximum_version=_VERSIONS.get(maximum_version, ""),
            )
        )

    def authority_names(self) -> Exchange:
        """Complete a handshake with the management point, and read the names of authorities."""
        to, client = "management-point", Client.COMPUTER
        place, credential = self.place(to), self._kit.clients[client]
        assert credential is not None
        opened = NamesClient(place.address, place.name, credential, self._seconds)
        result = result_of(opened.names, opened.abort, self._seconds)
        return self._collect(Exchange(b"", to, place, client, result))

    @contextlib.contextmanager
    def connection(
        self, to: str = "management-point", client: Client = Client.COMPUTER
    ) -> Iterator[Callable[[MakeRequest], Exchange]]:
        """Open one connection for several requests."""
        place = self.place(to)
        before: list[Exchange] = []

        def send(make: MakeRequest) -> Exchange:
            request = make(self.senders(client))
            result = result_of(lambda: opened.send(request), opened.abort, self._seconds)
            version = _tls_version(opened)
            exchange = Exchange(request, to, place, client, result, tls_version=version)
            before.append(self._collect(replace(exchange, follows=tuple(before))))
            return before[-1]

        with self._open(place, client) as opened:
            yield send

    def send_resumed(
        self,
        make: MakeRequest,
        *,
        after: MakeRequest,
        at: str,
        client: Client,
        meanwhile: Callable[[], None] = lambda: None,
    ) -> Exchange:
        """Send a request to the management point, with the session of a connection to `at`.

        `after` is the request on that connection: its response has the session. `meanwhile` is
        called between the two.
        """
        to = "management-point"
        place, other = self.place(to), self.place(at)
        senders = self.senders(client)
        before, request = after(senders), make(senders)
        with self._open(other, client) as first:
            result = result_of(lambda: first.send(before), first.abort, self._seconds)
            version = _tls_version(first)
            made = self._collect(Exchange(before, at, other, client, result, tls_version=version))
            resumed = first.with_its_session(place.address, place.name)
            meanwhile()
            with resumed as opened:
                result = result_of(lambda: opened.send(request), opened.abort, self._seconds)
        version = _tls_version(opened)
        return self._collect(
            Exchange(request, to, place, client, result, tls_version=version, resumes=made)
        )

    def send_bytes(
        self, data: bytes, *, to: str = "management-point", client: Client = Client.COMPUTER
    ) -> Exchange:
        """Send bytes on a new connection; the result has the status of the first response."""
        place = self.place(to)

        def send() -> Response:
            return first_response(exchange_pieces(opened.connect(), (data,), 0, self._seconds))

        with self._open(place, client) as opened:
            result = result_of(send, opened.abort, self._seconds)
        return self._collect(Exchange(data, to, place, client, result))

    def send_slowly(
        self,
        pieces: Iterable[bytes],
        *,
        limit: str,
        pause: float = 0.0,
        to: str = "management-point",
        client: Client = Client.COMPUTER,
        tls: bool = True,
        to_end: bool = False,
        after: MakeRequest | None = None,
        request: Request | None = None,
    ) -> Exchange:
        """Send pieces with pauses on a new connection, and wait for the end of it or a response.

        `limit`: the time limit that should end it. `to_end`: a response is not the end.
        `after`: a request before it. `request`: the request that the pieces are.
        """
        place, seconds = self.place(to), self.patience(limit)
        planned = list(pieces)
        sent: list[bytes] = []
        before: tuple[Exchange, ...] = ()

        def pieces_of(connection: socket.socket) -> Response:
            found = exchange_pieces(
                connection, _noted(planned, sent), pause, seconds, to_end=to_end
            )
            return first_response(found)

        # The handshake, or a request before, has its own time.
        whole = seconds + self._seconds
        with contextlib.ExitStack() as stack:
            if tls:
                opened = stack.enter_context(self._open(place, client))
                if after is not None:
                    first = after(self.senders(client))
                    result = result_of(lambda: opened.send(first), opened.abort, self._seconds)
                    version = _tls_version(opened)
                    exchange = Exchange(first, to, place, client, result, tls_version=version)
                    before = (self._collect(exchange),)
                result = result_of(lambda: pieces_of(opened.connect()), opened.abort, whole)
                version = _tls_version(opened)
            else:

                def plain() -> Response:
                    connection = socket.create_connection(place.address, self._seconds)
                    return pieces_of(stack.enter_context(connection))

                result, version = result_of(plain, lambda: None, whole), ""
        if isinstance(result, Hang):
            result = Hang(seconds)
        return self._collect(
            Exchange(
                request or b"".join(sent),
                to,
                place,
                client,
                result,
                tls_version=version,
                tls=tls,
                slowly=Pieces(tuple(map(len, planned if request else sent)), pause),
                follows=before,
            )
        )

    def _open(
        self,
        place: Place,
        client: Client,
        maximum_version: ssl.TLSVersion = ssl.TLSVersion.MAXIMUM_SUPPORTED,
        name: str = "",
        seconds: float | None = None,
    ) -> LabClient:
        return LabClient(
            place.address,
            name or place.name,
            trust=self._kit.root,
            credential=self._kit.clients[client],
            timeout=self._seconds if seconds is None else seconds,
            maximum_version=maximum_version,
            max_body=MAX_BODY,
        )

    def _collect(self, exchange: Exchange) -> Exchange:
        """Keep an exchange, with what arrived since the last one."""
        whole = replace(exchange, received=self._lane.new())
        self.exchanges.append(whole)
        return whole


def _noted(pieces: Iterable[bytes], sent: list[bytes]) -> Iterator[bytes]:
    for piece in pieces:
        sent.append(piece)
        yield piece


def _tls_version(opened: LabClient) -> str:
    """Return the version of a completed handshake; empty without one."""
    return opened.handshake.version if opened.handshake else ""


def _encoded(request: Request, place: Place) -> bytes:
    parts = (request.method, request.target, request.headers, request.body)
    return request_bytes(*parts, place.name)
