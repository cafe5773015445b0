"""An in-process bridge for tests that make it fail, and a driver for layers without a bridge.

The real `Bridge` and `serve` run in a thread with its own event loop, with the shipped policy and
the lab's site systems. A test may replace hooks and functions at any time, because the bridge looks
them up at each call.
"""

from __future__ import annotations

import asyncio
import dataclasses
import json
import logging
import ssl
import threading
import time
import warnings
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, NoReturn, Self

import pytest

with warnings.catch_warnings():
    # mitmproxy 12.2's filter language uses names that pyparsing 3.3 has deprecated.
    warnings.simplefilter("ignore", DeprecationWarning)
    import mitmproxy.addons  # noqa: F401 - here so that the runner's import does not warn

from mitmproxy.connection import Client, Connection, ConnectionState, Server
from mitmproxy.options import Options
from mitmproxy.proxy import commands, events, tunnel
from mitmproxy.proxy.context import Context
from mitmproxy.proxy.layer import Layer

from ibcm_bridge.addons.bridge import Bridge
from ibcm_bridge.addons.clock import utc_now
from ibcm_bridge.addons.connections import ConnectionRecord, ExchangeEnded
from ibcm_bridge.addons.hooks.body_inspection import BodyInspection
from ibcm_bridge.addons.hooks.client_identification import ClientIdentification
from ibcm_bridge.addons.hooks.reply_inspection import ReplyInspection
from ibcm_bridge.addons.hooks.request_authorization import RequestAuthorization
from ibcm_bridge.addons.layers import deadline as timers
from ibcm_bridge.addons.layers import site_system_leg
from ibcm_bridge.addons.layers.exchange import Exchange, Watched
from ibcm_bridge.addons.layers.exchange_layer import ExchangeLayer
from ibcm_bridge.addons.layers.tls_ending import CutOff
from ibcm_bridge.addons.run import serve
from ibcm_bridge.addons.stages import Decide, Decided, Learned
from ibcm_bridge.authentication.certificate import certificate_facts
from ibcm_bridge.authentication.client import AuthenticatedClient, authenticate
from ibcm_bridge.decisions.denial import Deny
from ibcm_bridge.lab.pki.authorities import LabPki
from ibcm_bridge.lab.pki.certificates import LabCredential
from ibcm_bridge.lab.pki.files import shipped_policy, with_ports
from ibcm_bridge.lab.protocol import ccm, documents
from ibcm_bridge.lab.protocol.client import (
    ConnectionEnded,
    HandshakeRefused,
    LabClient,
    Response,
    _alert,
)
from ibcm_bridge.lab.site_systems.site_systems import SiteSystems
from ibcm_bridge.policy.policy import Limits, Policy
from ibcm_bridge.policy.publications import BridgePublication, TunnelPublication
from ibcm_bridge.policy_file import load_policy
from ibcm_bridge.request.memory_budget import Budget, Hold

BRIDGED, TUNNELED = "bridge.internet.example", "mp-tunnel.internet.example"
GUID = "00000000-0000-0000-0000-00000000000a"
GOOD = ("GET", "/SMS_MP/.sms_aut?MPLIST")
DENIED = ("DELETE", "/SMS_MP/.sms_aut?MPLIST")
FROM_DP = ("GET", "/SMS_DP_SMSPKG$/LAB00001/sccm?/setup.exe")

SOON = 10.0
"""Limit for a refusal in seconds, sufficient on a busy machine: no client may hang."""


class Panic(BaseException):
    """Like pyo3's PanicException: not an Exception."""


def wait_for[T](condition: Callable[[], T], seconds: float = SOON) -> T:
    """Return the value of `condition` once it is true, or its last value after the timeout."""
    deadline = time.monotonic() + seconds
    while not (value := condition()) and time.monotonic() < deadline:
        threading.Event().wait(0.002)
    return value


@dataclasses.dataclass
class Lab:
    """The PKI, client and site systems around the bridge, for the whole session."""

    pki: LabPki
    computer: LabCredential
    site: SiteSystems
    policy: Policy


@pytest.fixture(scope="session")
def running_lab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lab]:
    pki = LabPki.make(now=datetime.now(UTC))
    directory = tmp_path_factory.mktemp("lab")
    pki.write(directory / "pki")
    with SiteSystems(pki, download_bytes=300_000) as site:
        yield Lab(pki, pki.computer("pc1.corp.example"), site, write_policy(directory, site))


@pytest.fixture
def lab(running_lab: Lab) -> Lab:
    running_lab.site.clear()
    return running_lab


def write_policy(directory: Path, site: SiteSystems) -> Policy:
    """The shipped policy's first listener, on a free port and in front of these site systems."""
    ports = {8443: 0, 9443: site.management_point.port, 9444: site.distribution_point.port}
    text = with_ports(shipped_policy(), ports)
    path = directory / "bridge.yaml"
    path.write_text(text.replace("../audit.jsonl", "audit.jsonl"), "utf-8")
    policy = load_policy(path)
    return dataclasses.replace(policy, listeners=policy.listeners[:1])


def changed(policy: Policy, audit_file: Path, **changes: Any) -> Policy:
    """Return the policy with a changed bridged publication."""
    listener = policy.listeners[0]
    publications = dict(listener.publications)
    publications[BRIDGED] = dataclasses.replace(bridged_publication(policy), **changes)
    changed_listener = dataclasses.replace(listener, publications=publications)
    return dataclasses.replace(policy, audit_file=audit_file, listeners=(changed_listener,))


def bridged_publication(policy: Policy) -> BridgePublication:
    """Return the bridged publication of the lab."""
    publication = policy.listeners[0].publications[BRIDGED]
    assert isinstance(publication, BridgePublication)
    return publication


class Running:
    """A bridge in a separate thread. A context manager."""

    def __init__(self, lab: Lab, policy: Policy, **options: Any) -> None:
        self.lab = lab
        self.policy = policy
        self._options = options
        self.bridge: Bridge
        self.address = ("", 0)
        self.unhandled: list[str] = []
        self._started: Future[tuple[Any, ...]] = Future()
        # YARA-X requires that engines are made in the thread that uses them.
        self._thread = threading.Thread(target=self._run, name="bridge")
        self._log = _Unhandled(self.unhandled)

    def __enter__(self) -> Self:
        logging.getLogger().addHandler(self._log)
        self._thread.start()
        self.address, self._loop, self._stop = self._started.result(timeout=3 * SOON)
        return self

    def __exit__(self, *_: object) -> None:
        self._loop.call_soon_threadsafe(self._stop.set)
        self._thread.join(3 * SOON)
        logging.getLogger().removeHandler(self._log)
        assert not self._thread.is_alive(), "the bridge does not stop"
        assert not self.bridge.connections._records, "connections are left"
        assert self.bridge.connections.budget.held == 0, "memory was not released"
        assert self.bridge.generation.workers.under_way == 0, "a body still waits for inspection"
        assert not self.unhandled, "an exception was not handled"

    def hook(self, name: str, index: int, function: Callable[[Any], Any]) -> Callable[[Any], Any]:
        """Replace one function of a hook. Return the previous one."""
        functions = self.bridge.generation.hooks._by_name[name]
        before, functions[index] = functions[index], function
        return before

    def add_hook(self, name: str, function: Callable[[Any], Any], *, first: bool = False) -> None:
        """Add a function to a hook."""
        self.bridge.generation.hooks._by_name[name].insert(0 if first else 1_000, function)

    def client(
        self, name: str = BRIDGED, credential: LabCredential | None = None, **options: Any
    ) -> LabClient:
        """Return a client; by default one that the bridge accepts."""
        return LabClient(
            self.address,
            name,
            trust=self.lab.pki.root,
            credential=credential or self.lab.computer,
            timeout=SOON,
            **options,
        )

    def anonymous(self, name: str = BRIDGED, **options: Any) -> LabClient:
        """Return a client without a certificate."""
        return LabClient(
            self.address, name, trust=self.lab.pki.root, credential=None, timeout=SOON, **options
        )

    def ask(self, method: str, target: str, name: str = BRIDGED) -> Response | Exception:
        """Send one request on a new connection. Return the response or how it ended."""
        with self.client(name) as client:
            return outcome_of(client, method, target)

    def alert(self, client: LabClient) -> str | None:
        """Return the alert that refuses the handshake, before the client sends anything."""
        try:
            with client:
                assert not client.connect().recv(1)
        except HandshakeRefused as refused:
            return refused.alert
        except ssl.SSLError as error:
            return _alert(error)
        except ConnectionError:
            return None
        return None

    def assert_serves(self) -> None:
        """Assert that the next valid client is served."""
        reply = self.ask(*GOOD)
        assert isinstance(reply, Response), reply
        assert reply.status == 200

    def audit(self) -> list[dict[str, Any]]:
        """Return the records written so far."""
        assert self.policy.audit_file
        lines = self.policy.audit_file.read_text("utf-8").splitlines()
        return [json.loads(line) for line in lines]

    def reasons(self) -> list[str | None]:
        """Return the reason of each record; None if it is not a refusal."""
        return [record.get("reason") for record in self.audit()]

    def wait_for_reason(self, reason: str) -> dict[str, Any]:
        """Wait for the first record with this reason, and return it."""
        found = wait_for(
            lambda: [record for record in self.audit() if record.get("reason") == reason]
        )
        assert found, f"no {reason} in {self.audit()}"
        return found[0]

    def _run(self) -> None:
        try:
            asyncio.run(self._serve())
        except BaseException as error:
            if not self._started.done():
                self._started.set_exception(error)
            else:
                self.unhandled.append(f"serve: {error!r}")

    async def _serve(self) -> None:
        self.bridge = Bridge(self.policy, **self._options)
        stop, loop = asyncio.Event(), asyncio.get_running_loop()
        await serve(
            self.bridge, lambda found: self._started.set_result((found[0], loop, stop)), stop
        )


class _Unhandled(logging.Handler):
    """Collects what asyncio and mitmproxy log about unhandled exceptions."""

    def __init__(self, found: list[str]) -> None:
        super().__init__(logging.ERROR)
        self._found = found

    def emit(self, record: logging.LogRecord) -> None:
        text = record.getMessage()
        # The bridge logs "defect in"; asyncio and mitmproxy log these words.
        if any(word in text for word in ("Unhandled", "never retrieved", "crashed", "destroyed")):
            self._found.append(text)


@pytest.fixture
def running(lab: Lab, tmp_path: Path) -> Iterator[Running]:
    """A new bridge for the test."""
    policy = dataclasses.replace(lab.policy, audit_file=tmp_path / "audit.jsonl")
    with Running(lab, policy) as running:
        yield running


def outcome_of(client: LabClient, method: str, target: str, **more: Any) -> Response | Exception:
    """Send a request. Return the response or how it ended. A timeout fails the test."""
    try:
        return client.request(method, target, **more)
    except (ConnectionEnded, HandshakeRefused) as ended:
        return ended
    except TimeoutError:
        pytest.fail(f"the client was left hanging after {method} {target}")


def message() -> dict[str, Any]:
    """Headers and body of a CCM_POST to /ccm_system/request."""
    body = ccm.ccm_post_body(
        endpoint="MP_HinvEndpoint", body_xml=documents.inventory_report(GUID), client_guid=GUID
    )
    return {"headers": {"Content-Type": ccm.CONTENT_TYPE}, "body": body}


# Layers without sockets


class Clock:
    """Replaces `time` for deadlines and for the age of legs."""

    def __init__(self) -> None:
        self.now = 1000.0

    def monotonic(self) -> float:
        return self.now


class Driver:
    """Drives a layer: passes events to it, and simulates its commands.

    `to(connection)` is the data sent to a connection. Connections open at once, unless
    `refuse_dial` is an error. `hooks` has the functions for hooks and decisions, and `hook_calls`
    the hooks that were called. Timers fire when `advance` reaches them.
    """

    def __init__(self, layer: Layer, client: Client, clock: Clock) -> None:
        self.layer = layer
        self.client = client
        self.clock = clock
        self.hooks: dict[str, Callable[[Any], Any]] = {}
        self.hook_calls: list[tuple[str, Any]] = []
        self.dialled: list[Server] = []
        self.refuse_dial: str | None = None
        self.hold_dial = False
        self.dialling: list[commands.OpenConnection] = []
        self.half_closed: list[Connection] = []
        self.closed: list[Connection] = []
        self.cut_off: list[Connection] = []
        self._sent: dict[str, bytearray] = {}
        self._timers: list[tuple[float, commands.RequestWakeup]] = []
        self._queue: list[events.Event] = []

    def start(self) -> Self:
        self.feed(events.Start())
        return self

    def feed(self, event: events.Event) -> None:
        self._queue.append(event)
        while self._queue:
            for command in self.layer.handle_event(self._queue.pop(0)):
                self._execute(command)

    def receive(self, data: bytes, connection: Connection | None = None) -> None:
        self.feed(events.DataReceived(connection or self.client, data))

    def close(self, connection: Connection | None = None) -> None:
        """Simulate that the peer closes a connection."""
        closed = connection or self.client
        closed.state &= ~ConnectionState.CAN_READ
        self.feed(events.ConnectionClosed(closed))

    def advance(self, seconds: float) -> None:
        """Advance the clock, and fire the timers that are due, in order."""
        end = self.clock.now + seconds
        while due := sorted(
            (timer for timer in self._timers if timer[0] <= end), key=lambda timer: timer[0]
        ):
            self._timers.remove(due[0])
            self.clock.now = due[0][0]
            self.feed(events.Wakeup(due[0][1]))
        self.clock.now = end

    def complete_dial(self, error: str | None = None) -> None:
        self._dial(self.dialling.pop(0), error)
        self.feed(self._queue.pop(0))

    def to(self, connection: Connection) -> bytes:
        return bytes(self._sent.get(connection.id, b""))

    def to_client(self) -> bytes:
        """Return the data sent to the client since the last call."""
        return bytes(self._sent.pop(self.client.id, b""))

    @property
    def server(self) -> Server:
        """The site-system connection opened last."""
        return self.dialled[-1]

    @property
    def gone(self) -> bool:
        """True if the client connection was closed."""
        return self.client in self.closed

    def _execute(self, command: commands.Command) -> None:
        if isinstance(command, commands.StartHook):
            (data,) = command.args()
            self.hook_calls.append((command.name, data))
            if function := self.hooks.get(command.name):
                function(data)
            self._queue.append(events.HookCompleted(command))
        elif isinstance(command, Decide):
            self._queue.append(Decided(command, self.hooks[command.stage.hook](command.stage)))
        elif isinstance(command, commands.OpenConnection):
            if self.hold_dial:
                self.dialling.append(command)
            else:
                self._dial(command, self.refuse_dial)
        elif isinstance(command, commands.RequestWakeup):
            self._timers.append((self.clock.now + command.delay, command))
        elif isinstance(command, commands.SendData):
            assert command.connection not in self.closed, "sent after it was closed"
            self._sent.setdefault(command.connection.id, bytearray()).extend(command.data)
        elif isinstance(command, commands.CloseTcpConnection) and command.half_close:
            command.connection.state &= ~ConnectionState.CAN_WRITE
            self.half_closed.append(command.connection)
        elif isinstance(command, commands.CloseConnection):
            command.connection.state = ConnectionState.CLOSED
            self.closed.append(command.connection)
            if isinstance(command, CutOff):
                self.cut_off.append(command.connection)
        else:
            assert isinstance(command, commands.Log), command

    def _dial(self, command: commands.OpenConnection, error: str | None) -> None:
        if error is None:
            command.connection.state = ConnectionState.OPEN
            command.connection.timestamp_tcp_setup = time.time()
            self.dialled.append(command.connection)
        self._queue.append(events.OpenConnectionCompleted(command, error))


class PlainLeg(tunnel.TunnelLayer):
    """Replaces `_LegTls`, so that a test can read the data sent to a site system."""

    ended_cleanly = True
    alert = None
    verification_failure = None

    def __init__(self, context: Context, server: Server) -> None:
        super().__init__(context, tunnel_connection=server, conn=server)


class Nobody:
    """An empty registry."""

    def find(self, _guid: str) -> None:
        return None


def all_watched(_name: str) -> bool:
    """Every hook is called."""
    return True


class ExchangeDriver(Driver):
    """Drives an `ExchangeLayer` with deciding addons and an authenticated client."""

    def __init__(self, lab: Lab, clock: Clock, watched: Watched = all_watched) -> None:
        context, self.record = open_connection(lab, BRIDGED)
        self.record.certificate = certificate_facts(lab.computer.certificate)
        assert isinstance(self.record.publication, BridgePublication)
        self.record.publication = dataclasses.replace(
            self.record.publication, request_head=LIMITS.request_head
        )
        client = authenticate(self.record.publication, self.record.certificate)
        assert isinstance(client, AuthenticatedClient)
        self.record.authenticated = client
        layer = ExchangeLayer(context, self.record, LIMITS, watched)
        super().__init__(layer, context.client, clock)
        self.hooks["head_read"] = RequestAuthorization(lab.policy.never).head_read
        self.hooks["body_read"] = BodyInspection([], inspected_at_once).body_read
        identity = ClientIdentification(Nobody(), lab.policy.messages, utc_now)  # type: ignore[arg-type]
        self.hooks["body_inspected"] = identity.body_inspected
        self.hooks["reply_collected"] = ReplyInspection(lab.policy.messages).reply_collected
        self.hooks["reply_allowed"] = lambda _: Learned()

    @property
    def under_way(self) -> Exchange:
        """The request under way."""
        found = self.record.under_way[-1]
        assert isinstance(found, Exchange)
        return found

    @property
    def ended(self) -> list[ExchangeEnded]:
        """The ended exchanges."""
        return [data for name, data in self.hook_calls if name == "exchange_ended"]

    def names(self) -> list[str]:
        """Return the names of the hooks that were called."""
        return [name for name, _ in self.hook_calls]

    def reason(self) -> str:
        """Return the reason why the last exchange was refused."""
        decision = self.ended[-1].decision
        assert isinstance(decision, Deny), decision
        return decision.reason.value


LIMITS = Limits(
    client_hello=4096,
    request_head=8192,
    handshake_seconds=5,
    head_seconds=10,
    body_seconds=30,
    response_seconds=20,
    idle_seconds=60,
    site_system_idle_seconds=40,
    tunnel_idle_seconds=120,
    connections=100,
    buffered_bytes=16_777_216,
    inspection_workers=1,
)


async def inspected_at_once(_subject: object) -> NoReturn:
    """Fail: a layer that is driven without an event loop has only small bodies."""
    raise AssertionError("a large body")


def open_connection(lab: Lab, name: str | None = None) -> tuple[Context, ConnectionRecord]:
    """Return the context of a client connection without a socket, and its record."""
    client = Client(
        peername=("127.0.0.1", 50_000),
        sockname=("127.0.0.1", 443),
        timestamp_start=1.0,
        state=ConnectionState.OPEN,
    )
    listener = lab.policy.listeners[0]
    record = ConnectionRecord(client, listener, hold=Hold(Budget(LIMITS.buffered_bytes)))
    if name is not None:
        record.server_name, record.publication = name, listener.publications[name]
    return Context(client, Options()), record


def tunnel_publication(lab: Lab) -> TunnelPublication:
    """Return the publication that tunnels to the management point."""
    publication = lab.policy.listeners[0].publications[TUNNELED]
    assert isinstance(publication, TunnelPublication)
    return publication


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr(timers, "time", clock)
    monkeypatch.setattr(site_system_leg, "time", clock)
    return clock


@pytest.fixture
def exchange(lab: Lab, clock: Clock, monkeypatch: pytest.MonkeyPatch) -> ExchangeDriver:
    """A started exchange layer."""
    monkeypatch.setattr(site_system_leg, "_LegTls", PlainLeg)
    driver = ExchangeDriver(lab, clock)
    driver.start()
    return driver


@pytest.fixture
def leg_context(lab: Lab) -> Context:
    """The context of a client connection, for a leg without an exchange."""
    context, _ = open_connection(lab, BRIDGED)
    return context
