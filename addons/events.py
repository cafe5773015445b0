"""The bridge's own hooks, in addition to mitmproxy's.

They report the end of a connection, a tunnel or a request, and a response before it is forwarded.
`hooks.end_reporting` turns each end into one `Ended` value and passes it to every
`TrafficObserver`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol, runtime_checkable

from mitmproxy.connection import Client, Connection
from mitmproxy.http import HTTPFlow
from mitmproxy.proxy import commands, events

from ibcm_bridge.addons.connections import ConnectionRecord, ExchangeEnded
from ibcm_bridge.decisions import rules
from ibcm_bridge.decisions.denial import Deny, Reason
from ibcm_bridge.policy.addresses import Address


@dataclass
class RefusedConnection:
    """A connection that carried no request and was not tunneled, or that ends between two requests
    because its client is no longer accepted."""

    connection: ConnectionRecord
    denial: Deny


@dataclass
class ConnectionRefusedHook(commands.StartHook):
    """A connection was refused before it carried a request."""

    data: RefusedConnection


@dataclass
class TurnedAwayHook(commands.StartHook):
    """A connection over the limit was accepted; it is being closed."""

    data: ConnectionRecord


class DataLent(events.DataReceived):
    """Received data in memory that has other data later.

    `view` is for a layer that reads the data at once. Any other uses `data`, which is a copy.
    """

    def __init__(self, connection: Connection, view: memoryview) -> None:
        self.connection = connection
        self._view: memoryview | None = view
        self._copy: bytes | None = None

    def view(self) -> bytes | memoryview:
        """Return the data, which is valid until the event has been processed. It is not copied."""
        view, self._view = self._view, None
        return self.data if view is None else view

    @property
    def data(self) -> bytes:  # type: ignore[override]
        """The data, copied."""
        if self._copy is None:
            assert self._view is not None, "read before"
            self._copy, self._view = bytes(self._view), None
        return self._copy

    def take_back(self) -> None:
        """Copy the data if no layer has read it: the event waits for a layer."""
        if self._view is not None:
            self._copy, self._view = bytes(self._view), None


@dataclass
class GiveWay(events.Event):
    """The connection must end, because another client needs what it holds."""

    denial: Deny
    """For a request under way."""


class Forward(commands.ConnectionCommand):
    """Forward everything that a connection receives to another connection, from now on.

    `Forwarded` reports the bytes that were forwarded. The layer itself forwards the bytes that are
    reported as `DataReceived`; these come first.
    """

    def __init__(self, connection: Connection, receiver: Connection) -> None:
        """Nothing else may be sent to `receiver`."""
        super().__init__(connection)
        self.receiver = receiver


@dataclass
class Forwarded(events.ConnectionEvent):
    """Bytes of a connection were forwarded."""

    count: int


@dataclass
class EndedTunnel:
    """A tunnel and its byte counts. Nothing else is known of its content."""

    connection: ConnectionRecord
    denial: Deny | None
    """Why the site system was not reached, so that no bytes were forwarded; None if it was."""
    bytes_from_client: int
    bytes_to_client: int
    error: str | None
    """Why an opened tunnel was closed; None if one side closed it."""
    site_system: Address
    """The one that was connected to, or tried last."""
    notes: tuple[str, ...] = ()
    """Why the ones before it were not connected to."""


@dataclass
class TunnelEndedHook(commands.StartHook):
    """A tunnel was closed, or could not be opened."""

    data: EndedTunnel


@dataclass
class ExchangeEndedHook(commands.StartHook):
    """A request has ended: with a response, a refusal or an aborted connection."""

    data: ExchangeEnded


@dataclass
class Defect:
    """The bridge itself failed."""

    client: Client
    where: str
    kind: str
    """The type of the exception. Its text is left out, because it may quote client data."""
    refused: bool = False
    """True if the layer now responds with a refusal; otherwise the connection is aborted."""

    @property
    def denial(self) -> Deny:
        """The denial of the request or connection in which the bridge failed."""
        return Deny(Reason.BRIDGE_DEFECT, rules.DEFECT_IN.of(self.where), self.kind)


@dataclass
class DefectHook(commands.StartHook):
    """The bridge itself failed. Its functions are called at once and not awaited."""

    data: Defect


@dataclass
class ReplyShownHook(commands.StartHook):
    """A response was read and allowed. During the hook the flow has its whole body."""

    data: HTTPFlow


type Ended = ExchangeEnded | EndedTunnel | RefusedConnection
"""An ended request, an ended tunnel, or a connection that carried neither. Each has one audit
record."""


class TrafficObserver(Protocol):
    """The audit, or an addon that only watches, such as metrics or the page of `run --web`.

    It is added in `run`: `Bridge(policy, observers)`. Besides `ended` it may have methods with the
    names of mitmproxy's hooks and of `reply_shown`; they are called last, and cannot decide or
    change what is sent. An exception in one of them refuses the request or closes the connection.
    """

    def ended(self, ended: Ended) -> None:
        """Called once for each end; for addons after the audit record is written."""


@runtime_checkable
class ScanObserver(Protocol):
    """A `TrafficObserver` that also wants to know each scan of a content engine."""

    def scanned(self, engine: str, seconds: float) -> None:
        """Called after an engine has scanned a view of a body. Must not raise."""
