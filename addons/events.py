"""Hooks of our own, for what mitmproxy has none.

How a connection, a tunnel or a request ended; and an answer that is to be read before it passes.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

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


type Ended = Exchange | EndedTunnel | RefusedConnection
"""What the audit has a record of."""


class Watcher(Protocol):
    """An addon that looks on."""

    def recorded(self, ended: Ended) -> None:
        """The audit has written the record of this, once. Must not raise."""


@dataclass
class ReplyCollectedHook(commands.StartHook):
    """An answer that has to be decided on is there, and none of it has been passed on."""

    data: HTTPFlow
