"""Hooks of our own, for what mitmproxy has none.

How a connection, a tunnel or a request ended; and an answer that is to be read before it passes.
`hooks.ends` makes one `Ended` of each end and gives it to every `Watcher`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from mitmproxy.connection import Client
from mitmproxy.http import HTTPFlow
from mitmproxy.proxy import commands

from ibcm_bridge.addons.connections import ConnectionRecord, Exchange
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

    data: Exchange


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


type Ended = Exchange | EndedTunnel | RefusedConnection
"""What the audit has a record of."""


class Watcher(Protocol):
    """The audit, and addons that look on."""

    def ended(self, ended: Ended) -> None:
        """Something has ended. Called once, and for addons only once the audit has its record."""


@dataclass
class ReplyCollectedHook(commands.StartHook):
    """An answer that has to be decided on is there, and none of it has been passed on."""

    data: HTTPFlow
