"""Decides on each request body: `request` -> `inspection.inspect` (BRIDGE-INSPECT)."""

from __future__ import annotations

from collections.abc import Sequence

from mitmproxy.http import HTTPFlow

from ibcm_bridge.addons.connections import exchange_of
from ibcm_bridge.decisions import Authorized
from ibcm_bridge.inspection import inspect
from ibcm_bridge.inspection.engines import ContentEngine


class BodyInspection:
    """Looks into what an authorized request carries."""

    def __init__(self, engines: Sequence[ContentEngine]) -> None:
        self._engines = engines

    def request(self, flow: HTTPFlow) -> None:
        """Decide on the body."""
        exchange = exchange_of(flow)
        authorized = exchange.decision
        assert isinstance(authorized, Authorized)
        exchange.decision = inspect(authorized, exchange.body, self._engines)
