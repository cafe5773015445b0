"""Sends a case both ways, through the bridge and through a tunnel, and looks at all sides of it.

What came back is what the client saw, what the stand-ins recorded is what arrived, and what the
proxy could see is read from its audit.
"""

from __future__ import annotations

import ssl
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import replace
from typing import Self

from cryptography import x509

from ibcm_bridge.lab.bridge.process import RunningBridge
from ibcm_bridge.lab.cases.case import Case, Client, Way, senders
from ibcm_bridge.lab.cases.requests import RANGE, Senders
from ibcm_bridge.lab.comparison.outcomes import (
    ClientRefused,
    ClientResult,
    Outcome,
    Result,
    Seen,
    field_names,
    outcome,
    problems,
)
from ibcm_bridge.lab.namespaces import HERE, Namespace
from ibcm_bridge.lab.pki.authorities import LabPki
from ibcm_bridge.lab.pki.certificates import LabCredential
from ibcm_bridge.lab.protocol.client import (
    ConnectionEnded,
    HandshakeRefused,
    LabClient,
    Reply,
    Request,
    plaintext_request,
    request_bytes,
)
from ibcm_bridge.lab.protocol.content import content
from ibcm_bridge.lab.protocol.uploads import SESSION
from ibcm_bridge.lab.site_systems.records import ReceivedRequest
from ibcm_bridge.lab.site_systems.site_systems import SiteSystems


class SeveralNames:
    """A client's connections, one for each name it needs; a context manager."""

    def __init__(self, way: Callable[[Request], Way], connect: Callable[[Way], LabClient]) -> None:
        self._way = way
        self._connect = connect
        self._open: dict[Way, LabClient] = {}
        self._stack = ExitStack()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    def send(self, request: Request) -> Reply:
        """To where it belongs."""
        way = self._way(request)
        if way not in self._open:
            self._open[way] = self._stack.enter_context(self._connect(way))
        return self._open[way].send(request)


class BothWays:
    """Sends a case both ways and looks at all sides of it."""

    def __init__(
        self,
        pki: LabPki,
        clients: dict[Client, LabCredential | None],
        site_systems: SiteSystems,
        bridge: RunningBridge,
        namespace: Namespace = HERE,
    ) -> None:
        """`namespace` is where the clients are."""
        self._namespace = namespace
        self.everyone = senders(clients)
        """Who sends, by certificate."""
        self._pki = pki
        self._clients = clients
        self._site_systems = site_systems
        self._bridge = bridge
        self._problems: list[str] = []

    def result(self, case: Case) -> Result:
        """Both ways of a case."""
        self._problems.clear()
        for client, request_before in case.before:
            self._send_before(client, request_before(self.senders(client)), case.to)
        request = case.request(self.senders(case.client))
        bridge = self._send(case, request, case.to, bridged=True)
        tunnel = None
        if case.tunnel is not None:
            tunnel = self._send(case, request, case.tunnel_to, bridged=False)
        found = (*self._problems, *problems(case, bridge, tunnel))
        return Result(case, request, bridge, tunnel, found)

    def senders(self, client: Client) -> Senders:
        """Who sends a case, and whom it may be about."""
        return self.everyone[client]

    def _send_before(self, client: Client, request: Request, way: Way) -> Reply:
        before = len(self._bridge.audit())
        credential = self._clients[client]
        try:
            with self.client(way, credential) as sender:
                reply = sender.send(request)
        except (HandshakeRefused, ConnectionEnded) as ended:
            self._problems.append(f"{request.method} before it was not answered: {ended}")
            reply = Reply(0, "", (), b"")
        if reply.status not in (0, 200):
            self._problems.append(f"{request.method} before it was answered {reply.status}")
        self._bridge.wait_for_records(before + 1)
        return reply

    def _send(self, case: Case, request: Request, way: Way, *, bridged: bool) -> Outcome:
        session = self._lead(case, way)
        request = _of_session(request, session)
        self._site_systems.clear()
        before = len(self._bridge.audit())
        answer, presented = self._answer(case, request, way)
        own = 1 if bridged and case.withdraws else 0
        written = self._bridge.wait_for_records(before + 1 + own)[before:]
        if len(written) != 1 + own:
            self._problems.append(f"{len(written)} audit records for {way.name}")
        # What the bridge sends by itself is written down before what made it do so.
        received, written = self._site_systems.received()[own:], written[own:]
        if bridged and received:
            self._compare(case, request, received[-1], answer)
        record = written[0] if written else {}
        handshakes = 0 if own else len(self._site_systems.handshakes())
        seen = Seen(answer, presented, received, handshakes, record, bridged, withdrawn=own > 0)
        return outcome(case, seen)

    def _lead(self, case: Case, way: Way) -> str:
        """Send what comes first; the upload session that it began, if it did."""
        session = ""
        for client, make in case.leading:
            request = _of_session(make(self.senders(client)), session)
            reply = self._send_before(client, request, way)
            session = reply.header("BITS-Session-Id") or session
        return session

    def _answer(
        self, case: Case, request: Request, way: Way
    ) -> tuple[ClientResult, x509.Certificate | None]:
        if request.plaintext:
            address = self._bridge.addresses[way.port]
            return _plaintext_answer(address, request, way.name, self._namespace), None
        client = self.client(way, self._clients[case.client])
        try:
            with client:
                return client.send(request), client.presented
        except (HandshakeRefused, ConnectionEnded) as refused:
            return refused, client.presented
        except ssl.SSLCertVerificationError as refused:
            return ClientRefused(refused.verify_message.rstrip(".")), None

    def client(self, way: Way, credential: LabCredential | None) -> LabClient:
        """A connection there, made by its first request."""
        return LabClient(
            self._bridge.addresses[way.port],
            way.name,
            trust=self._pki.root,
            credential=credential,
            namespace=self._namespace,
        )

    def _compare(
        self, case: Case, request: Request, received: ReceivedRequest, answer: object
    ) -> None:
        """What passed the bridge is what was sent, less what had to go."""
        if received.body != (request.body or b""):
            self._problems.append("the body did not arrive byte for byte (BRIDGE-IDENTITY)")
        arrived = field_names(received)
        for name, _ in request.headers:
            if (name in arrived) == (name in case.dropped):
                self._problems.append(f"{name} should {'not ' * (name in arrived)}have arrived")
        if isinstance(answer, Reply) and answer.status == 206:
            first, last = RANGE
            if answer.body != content(first, last + 1):
                self._problems.append("the bytes of the range are not those that were asked for")


def _of_session(request: Request, session: str) -> Request:
    """A packet of an upload, in the session that the server has given."""
    fields = tuple(
        (name, session if value == SESSION else value) for name, value in request.headers
    )
    return replace(request, headers=fields)


def _plaintext_answer(
    address: tuple[str, int], request: Request, name: str, namespace: Namespace
) -> ClientResult:
    # Only the end of the connection says that the answer is whole.
    headers = (*request.headers, ("Connection", "close"))
    sent = request_bytes(request.method, request.target, headers, request.body, name)
    status_line = (
        plaintext_request(address, sent, namespace=namespace).split(b"\r\n")[0].decode("latin-1")
    )
    try:
        _, status, reason = status_line.split(" ", 2)
        return Reply(int(status), reason, (), b"")
    except ValueError:
        return ConnectionEnded("no answer")
