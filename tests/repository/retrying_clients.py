"""Clients that register and upload while parts of the system are killed, and all that they see.

1. A client sends each request on a new connection. If the connection is cut, or the response is
   503, it sends the same request again.
2. Each new computer registers, sends a signed message, and uploads a file in fragments. It never
   sends an acknowledged fragment again, and begins no upload a second time.
3. Another computer sends messages with the client GUIDs of those.
4. One keeps its connection, and connects again if that is cut.
"""

from __future__ import annotations

import contextlib
import itertools
import re
import threading
import time
import zlib
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from http import HTTPStatus
from typing import NamedTuple

from ibcm_bridge.lab.clients.device import Device
from ibcm_bridge.lab.clients.life_cycle import (
    POLICY_REQUEST,
    REGISTRATION,
    acknowledged,
    with_client_guid,
)
from ibcm_bridge.lab.pki.certificates import LabCredential
from ibcm_bridge.lab.protocol.client import ConnectionEnded, HandshakeRefused, Request, Response
from ibcm_bridge.lab.protocol.uploads import Upload
from tests.integration.reading import until
from tests.repository.two_bridges import MP_LIST, SOON, TwoBridges, is_closed

COMPUTERS = 2
"""Computers that register and upload at the same time."""

FRAGMENTS = 5
RETRY_SECONDS = 0.1
PAUSE_SECONDS = 0.05
"""After each response, so that a machine with two cores can also start a bridge."""

NO_SESSION = "0x8020001F"
"""BG_E_SESSION_NOT_FOUND ([MC-BUP] 2.2.1.2)."""


class Failure(NamedTuple):
    """A connection that was cut, or a response 503. The times are of `time.monotonic`."""

    connected: float
    """Before the client connected."""
    began: float
    """Before the request, if the connection was kept; otherwise the same."""
    ended: float
    error: str = ""
    """How the connection ended; empty if there was a response."""
    reference: str = ""
    """That of the response."""
    method: str = ""
    """That of the request: BITS_POST for an upload."""


CUT = (ConnectionEnded, HandshakeRefused, ConnectionError)


class Registered(NamedTuple):
    """A client GUID, and the certificate of the computer whose registration was acknowledged."""

    guid: str
    credential: LabCredential


@dataclass
class RetryingClients:
    """All clients, and what they have seen."""

    two: TwoBridges
    failures: list[Failure] = field(default_factory=list)
    made: list[LabCredential] = field(default_factory=list)
    """Of every computer, also those whose registration was not acknowledged."""
    registered: list[Registered] = field(default_factory=list)
    files: dict[str, bytes] = field(default_factory=dict)
    """Path as in `UploadServer.files` -> data of each upload whose end was acknowledged."""
    refused_claims: list[str] = field(default_factory=list)
    """References of the refused messages with the client GUID of another computer."""
    kept: int = 0
    """Responses on kept connections."""

    def __post_init__(self) -> None:
        self._ended = threading.Event()
        self._given_up = threading.Event()
        self._numbers = itertools.count()
        self._futures: list[Future[None]] = []
        self._acknowledged: dict[int, int] = {}

    @contextlib.contextmanager
    def running(self) -> Iterator[None]:
        """Run all clients. At the end, each computer completes its upload."""
        clients = [*[self._live] * COMPUTERS, self._impersonate, self._keep]
        with ThreadPoolExecutor(len(clients)) as pool:
            self._futures = [pool.submit(self._repeat, each) for each in clients]
            try:
                yield
                self._ended.set()
                until(lambda: all(future.done() for future in self._futures), "the end", 2 * SOON)
            finally:
                self._ended.set()
                self._given_up.set()
        for future in self._futures:
            future.result()

    def go_on(self) -> None:
        """Wait until computers that began after this call have completed their uploads."""
        files, kept = len(self.files) + COMPUTERS + 1, self.kept + 2
        claims = len(self.refused_claims) + 1
        self.wait_for(lambda: len(self.files) >= files, "uploads")
        self.wait_for(lambda: self.kept >= kept, "responses on kept connections")
        self.wait_for(lambda: len(self.refused_claims) >= claims, "refused claims")

    def wait_for(self, condition: Callable[[], bool], what: str) -> None:
        """Wait for a condition. Raise the error of a client that has failed."""

        def holds() -> bool:
            for future in self._futures:
                if future.done():
                    future.result()
            return condition()

        until(holds, what, 2 * SOON)

    def are_uploading(self) -> bool:
        """Whether a part of each computer's file is acknowledged."""
        counts = list(self._acknowledged.values())
        return len(counts) == COMPUTERS and all(0 < count < FRAGMENTS for count in counts)

    def _repeat(self, client: Callable[[], None]) -> None:
        while not self._ended.is_set():
            client()

    def _live(self) -> None:
        computer = self._new_computer()
        sent = computer.send(computer.device.registration())
        assert REGISTRATION.good(sent.response), sent
        device = with_client_guid(computer.device, sent.response)
        self.registered.append(Registered(device.guid, computer.credential))
        sent = computer.send(POLICY_REQUEST.request(device))
        assert POLICY_REQUEST.good(sent.response), sent
        upload = Upload(f"/CCM_Incoming/{device.guid.removeprefix('GUID:')}.msg", _file(device))
        self._upload(computer, upload)

    def _upload(self, computer: _Computer, upload: Upload) -> None:
        sent = computer.send(upload.create())
        assert acknowledged(sent.response), sent
        upload = replace(upload, session=sent.response.header("BITS-Session-Id") or "")
        for count, fragment in enumerate(upload.fragments(FRAGMENTS), 1):
            sent = computer.send(fragment)
            assert acknowledged(sent.response), (count, sent)
            self._acknowledged[threading.get_ident()] = count
        sent = computer.send(upload.close())
        path = upload.path.strip("/").lower()
        if sent.again and sent.response.header("BITS-Error-Code") == NO_SESSION:
            # An earlier attempt closed the session, and its response was lost.
            assert self.two.site.uploads.files[path] == upload.data, sent
        else:
            assert acknowledged(sent.response), sent
        self._acknowledged[threading.get_ident()] = 0
        self.files[path] = upload.data

    def _impersonate(self) -> None:
        computer = self._new_computer()
        while not self._ended.wait(RETRY_SECONDS):
            if self.registered:
                device = computer.device.with_guid(self.registered[-1].guid)
                response = computer.send(POLICY_REQUEST.request(device)).response
                assert response.status == HTTPStatus.FORBIDDEN, response
                self.refused_claims.append(_reference(response))

    def _keep(self) -> None:
        credential = self._new_computer().credential
        while not self._ended.wait(RETRY_SECONDS):
            began = connected = time.monotonic()
            try:
                with self.two.client(credential) as client:
                    client.connect()
                    while not (
                        client.ended or self._ended.wait(PAUSE_SECONDS) or is_closed(client)
                    ):
                        began = time.monotonic()
                        response = client.request("GET", MP_LIST)
                        if not self._is_refused("GET", response, began):
                            assert response.status == HTTPStatus.OK, response
                            self.kept += 1
            except CUT as error:
                self._note_cut(error, connected, began)

    def _new_computer(self) -> _Computer:
        name = f"pc{next(self._numbers)}.corp.example"
        credential = self.two.pki.computer(name)
        self.made.append(credential)
        return _Computer(self, credential, Device.of(credential, name))

    def send(self, credential: LabCredential, request: Request) -> Sent:
        """Send a request on a new connection, until the response is another one than 503."""
        again = False
        while True:
            began = time.monotonic()
            try:
                with self.two.client(credential) as client:
                    response = client.send(request)
                if not self._is_refused(request.method, response, began):
                    time.sleep(PAUSE_SECONDS)
                    return Sent(response, again)
            except CUT as error:
                self._note_cut(error, began, began)
            again = True
            assert not self._given_up.wait(RETRY_SECONDS), (request.target, self.failures[-1])

    def _is_refused(self, method: str, response: Response, began: float) -> bool:
        if response.status != HTTPStatus.SERVICE_UNAVAILABLE:
            return False
        failure = Failure(began, began, time.monotonic(), "", _reference(response), method)
        self.failures.append(failure)
        return True

    def _note_cut(self, error: Exception, connected: float, began: float) -> None:
        if isinstance(error, HandshakeRefused) and error.alert is not None:
            raise error  # the bridge has refused
        self.failures.append(Failure(connected, began, time.monotonic(), error=repr(error)))


class Sent(NamedTuple):
    """A response, and whether it is that of a repeated request."""

    response: Response
    again: bool


@dataclass(frozen=True)
class _Computer:
    clients: RetryingClients
    credential: LabCredential
    device: Device

    def send(self, request: Request) -> Sent:
        return self.clients.send(self.credential, request)


def _file(device: Device) -> bytes:
    """A report of this computer only. It is not compressed, so that its parts have a size."""
    rows = "".join(f"<x>{device.guid} {number}</x>" for number in range(1_000))
    return zlib.compress(f"<Report>{rows}</Report>".encode("utf-16-le"), 0)


def _reference(response: Response) -> str:
    (found,) = re.findall(r"^Reference: (\w+)$", response.text, re.MULTILINE)
    return str(found)
