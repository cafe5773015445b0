"""Hooks of our own, for what mitmproxy has none.

How a connection, a tunnel or a request ended; and a reply that was read before it passes.
`hooks.ends` makes one `Ended` of each end and gives it to every `Watcher`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from mitmproxy.connection import Client
from mitmproxy.http import HTTPFlow
from mitmproxy.proxy import commands

from ibcm_bridge.addons.connections import ConnectionRecord, ExchangeEnded
from ibcm_bridge.decisions.denial import Deny


@dataclass
class RefusedConnection:
    """A connection that carried no request and was not tunneled."""

    connection: ConnectionRecord
    denial: Deny


@dataclass
class ConnectionRefusedHook(commands.StartHook):
    """A connection was refused before there was a request on it."""

    data: RefusedConnection


@dataclass
class TurnedAwayHook(commands.StartHook):
    """A connection was accepted that is one too many; it is closed."""

    data: ConnectionRecord


@dataclass
class EndedTunnel:
    """A tunnel, and what passed through it: bytes only, for nothing else is known of it."""

    connection: ConnectionRecord
    opened: bool
    """Whether the site system was reached; if not, nothing passed."""
    bytes_from_client: int
    bytes_to_client: int
    error: str | None


@dataclass
class TunnelEndedHook(commands.StartHook):
    """A tunnel was closed, or could not be opened."""

    data: EndedTunnel


@dataclass
class ExchangeEndedHook(commands.StartHook):
    """A request has been answered, refused or given up."""

    data: ExchangeEnded


@dataclass
class Defect:
    """The bridge itself failed."""

    client: Client
    where: str
    kind: str
    """The type of what was raised. Not its text, which may quote what a client sent."""


@dataclass
class DefectHook(commands.StartHook):
    """The bridge itself failed. Called at once, and not waited for."""

    data: Defect


type Ended = ExchangeEnded | EndedTunnel | RefusedConnection
"""What the audit has a record of."""


class Watcher(Protocol):
    """The audit, and addons that look on."""

    def ended(self, ended: Ended) -> None:
        """Something has ended. Called once, and for addons only once the audit has its record."""


@dataclass
class ReplyShownHook(commands.StartHook):
    """A reply has been read and decided on; until the hook ends, the flow's response has it all."""

    data: HTTPFlow
