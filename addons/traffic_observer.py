"""An addon that only watches, such as the page of `run --web`, or metrics.

It is added in `run`: `Bridge(policy, observers)`. Besides `ended` it may have methods with the
names of mitmproxy's hooks and of `reply_shown`; they are called last, and cannot decide or change
what is sent. An exception in one of them refuses the request or closes the connection.
"""

from __future__ import annotations

from typing import Protocol

from ibcm_bridge.addons.connections import ExchangeEnded
from ibcm_bridge.addons.events import EndedTunnel, RefusedConnection

type Ended = ExchangeEnded | EndedTunnel | RefusedConnection
"""An ended request, an ended tunnel, or a connection that carried neither. Each has one audit
record."""


class TrafficObserver(Protocol):
    """The audit, or an addon that only watches."""

    def ended(self, ended: Ended) -> None:
        """Called once for each end; for addons after the audit record is written."""
