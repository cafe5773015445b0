"""Sends a case through the bridge and through a tunnel, and collects the results.

The client's result comes from the response, the site system's from the records of the simulated
site systems, and the proxy's from its audit.
"""

from __future__ import annotations

import ssl
import time
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from dataclasses import replace
from typing import Self

from ibcm_bridge.lab.bridge.process import RunningBridge
from ibcm_bridge.lab.capture.recording import Recording, Wire
from ibcm_bridge.lab.cases.case import Case, ClientCertificate, Destination, senders
from ibcm_bridge.lab.cases.requests import RANGE, Senders
from ibcm_bridge.lab.comparison.outcomes import (
    CaseResult,
    ClientRefused,
    ClientResult,
    Observation,
    Outcome,
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
    Request,
    Response,
    plaintext_request,
    request_bytes,
)
from ibcm_bridge.lab.protocol.content import content
from ibcm_bridge.lab.protocol.uploads import SESSION
from ibcm_bridge.lab.site_systems.records import ReceivedRequest
from ibcm_bridge.lab.site_systems.site_systems import SiteSystems


class ConnectionsByName:
    """The connections of a client, one for each destination. A context manager."""

    def __init__(
        self,
        destination: Callable[[Request], Destination],
        connect: Callable[[Destination], LabClient],
    ) -> None:
        self._destination = destination
        self._connect = connect
        self._open: dict[Destination, LabClient] = {}
        self._stack = ExitStack()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    def send(self, request: Request) -> Response:
        """Send the request on the connection to its destination."""
        destination = self._destination(request)
        if destination not in self._open:
            self._open[destination] = self._stack.enter_context(self._connect(destination))
        return self._open[destination].send(request)


class Comparison:
    """Sends a case on both paths and collects the results."""

    def __init__(
        self,
        pki: LabPki,
        clients: dict[ClientCertificate, LabCredential | None],
        site_systems: SiteSystems,
        bridge: RunningBridge,
        *,
        namespace: Namespace = HERE,
        recording: Recording | None = None,
    ) -> None:
        """`namespace` is the network namespace of the clients. `recording`: records each case."""
        self._recording = recording
        self._addresses: Mapping[int, tuple[str, int]] = bridge.addresses
        if recording is not None:
            self._addresses = recording.before_bridge(bridge.addresses)
        self._namespace = namespace
        self.senders_by_client = senders(clients)
        """Certificate -> the client that sends, and another client."""
        self._pki = pki
        self._clients = clients
        self._site_systems = site_systems
        self._bridge = bridge
        self._problems: list[str] = []

    def result(self, case: Case) -> CaseResult:
        """Send a case on both paths."""
        self._problems.clear()
        for client, request_before in case.before:
            self._send_before(client, request_before(self.senders(client)), case.to)
        request = case.request(self.senders(case.client))
        bridge = self._send(case, request, case.to, bridged=True)
        tunnel = None
        if case.tunnel is not None:
            tunnel = self._send(case, request, case.tunnel_to, bridged=False)
        found = (*self._problems, *problems(case, bridge, tunnel))
        return CaseResult(case, request, bridge, tunnel, found)

    def through_tunnel(self, case: Case, version: ssl.TLSVersion) -> Wire | None:
        """Send a case through the tunnel only, with this version of TLS. Judge nothing.

        Return what passed the wire; None if nothing is recorded, or if it cannot be tunneled.
        """
        if case.tunnel is None:
            return None
        request = case.request(self.senders(case.client))
        sent = self._send(case, request, case.tunnel_to, bridged=False, version=version)
        return sent.observation.wire

    def senders(self, client: ClientCertificate) -> Senders:
        """Return the client that sends, and another client that a message can name."""
        return self.senders_by_client[client]

    def _send_before(
        self, client: ClientCertificate, request: Request, destination: Destination
    ) -> Response:
        before = len(self._bridge.audit())
        credential = self._clients[client]
        try:
            with self.client(destination, credential) as sender:
                response = sender.send(request)
        except (HandshakeRefused, ConnectionEnded) as ended:
            self._problems.append(f"the preceding {request.method} failed: {ended}")
            response = Response(0, "", (), b"")
        if response.status not in (0, 200):
            self._problems.append(f"the preceding {request.method} got status {response.status}")
        self._bridge.wait_for_records(before + 1)
        return response

    def _send(
        self,
        case: Case,
        request: Request,
        destination: Destination,
        *,
        bridged: bool,
        version: ssl.TLSVersion = ssl.TLSVersion.MAXIMUM_SUPPORTED,
    ) -> Outcome:
        session = self._begin_session(case, destination)
        request = of_session(request, session)
        self._site_systems.clear()
        if self._recording is not None:
            self._recording.begin()
        before = len(self._bridge.audit())
        client = self.client(destination, self._clients[case.client], version)
        began = time.perf_counter()
        client_result = self._send_to(client, request, destination)
        seconds = time.perf_counter() - began
        cancellations = 1 if bridged and case.cancels_upload else 0
        written = self._bridge.wait_for_records(before + 1 + cancellations)[before:]
        if len(written) != 1 + cancellations:
            self._problems.append(f"{len(written)} audit records for {destination.name}")
        # The bridge records its own Cancel-Session before the request that caused it.
        received = self._site_systems.received()[cancellations:]
        written = written[cancellations:]
        if bridged and received:
            self._compare(case, request, received[-1], client_result)
        record = written[0] if written else {}
        handshakes = 0 if cancellations else len(self._site_systems.handshakes())
        seen = Observation(
            client_result,
            client.presented,
            received,
            handshakes,
            record,
            bridged,
            client.handshake,
            seconds,
            cancelled=cancellations > 0,
            wire=self._wire(bridged=bridged),
        )
        return outcome(case, seen)

    def _wire(self, *, bridged: bool) -> Wire | None:
        """Return what passed the wire since the recording began."""
        return None if self._recording is None else self._recording.take(bridged=bridged)

    def _begin_session(self, case: Case, destination: Destination) -> str:
        """Send the preceding requests; return the id of the upload session, or an empty string."""
        session = ""
        for client, make in case.session_requests:
            request = of_session(make(self.senders(client)), session)
            response = self._send_before(client, request, destination)
            session = response.header("BITS-Session-Id") or session
        return session

    def _send_to(
        self, client: LabClient, request: Request, destination: Destination
    ) -> ClientResult:
        if request.plaintext:
            address = self._addresses[destination.port]
            return plaintext_result(address, request, destination.name, self._namespace)
        return send_and_close(client, request)

    def client(
        self,
        destination: Destination,
        credential: LabCredential | None,
        version: ssl.TLSVersion = ssl.TLSVersion.MAXIMUM_SUPPORTED,
    ) -> LabClient:
        """Return a client for this destination; it connects on the first request.

        `version`: the highest version of TLS.
        """
        return LabClient(
            self._addresses[destination.port],
            destination.name,
            trust=self._pki.root,
            credential=credential,
            maximum_version=version,
            namespace=self._namespace,
            key_log=None if self._recording is None else self._recording.key_log,
        )

    def _compare(
        self, case: Case, request: Request, received: ReceivedRequest, client_result: object
    ) -> None:
        """Check that the site system received the request unchanged, without the dropped fields."""
        if received.body != (request.body or b""):
            self._problems.append("the body did not arrive byte for byte (BRIDGE-IDENTITY)")
        arrived = field_names(received)
        for name, _ in request.headers:
            if (name in arrived) == (name in case.dropped):
                received_it = "received" if name in arrived else "did not receive"
                self._problems.append(f"the site system {received_it} {name}")
        if isinstance(client_result, Response) and client_result.status == 206:
            first, last = RANGE
            if client_result.body != content(first, last + 1):
                self._problems.append("the bytes of the range are wrong")


def of_session(request: Request, session: str) -> Request:
    """Return the packet with the session id of the server in place of `SESSION`."""
    fields = tuple(
        (name, session if value == SESSION else value) for name, value in request.headers
    )
    return replace(request, headers=fields)


def send_and_close(client: LabClient, request: Request) -> ClientResult:
    """Send a request, and close the connection. Return what the client received."""
    try:
        with client:
            return client.send(request)
    except (HandshakeRefused, ConnectionEnded) as refused:
        return refused
    except ssl.SSLCertVerificationError as refused:
        return ClientRefused(refused.verify_message.rstrip("."))


def plaintext_result(
    address: tuple[str, int], request: Request, name: str, namespace: Namespace
) -> ClientResult:
    """Send a request without TLS; return its result."""
    # The response ends with the connection.
    headers = (*request.headers, ("Connection", "close"))
    line = (request.method, request.target)
    sent = request_bytes(*line, headers, request.body, name, version=request.version)
    status_line = (
        plaintext_request(address, sent, namespace=namespace).split(b"\r\n")[0].decode("latin-1")
    )
    try:
        _, status, reason = status_line.split(" ", 2)
        return Response(int(status), reason, (), b"")
    except ValueError:
        return ConnectionEnded("no response")
