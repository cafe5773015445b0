"""Decides on each request body: `request` -> `inspection` (BRIDGE-INSPECT).

Small bodies are decided on at once; for a large one the hook waits for a worker process.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence

from mitmproxy.http import HTTPFlow

from ibcm_bridge.addons.connections import Exchange, exchange_of
from ibcm_bridge.decisions.denial import Deny
from ibcm_bridge.inspection.body import conclude, inspect_small
from ibcm_bridge.inspection.engines import ContentEngine
from ibcm_bridge.inspection.reports import Report
from ibcm_bridge.inspection.subject import Subject
from ibcm_bridge.request.authorization import Authorized

Elsewhere = Callable[[Subject], Awaitable[Report | Deny]]


class BodyInspection:
    """Looks into what an authorized request carries; `elsewhere` does it for large bodies."""

    def __init__(self, engines: Sequence[ContentEngine], elsewhere: Elsewhere) -> None:
        self.engines = engines
        """What is looked with; may be replaced between two requests."""
        self._elsewhere = elsewhere

    def request(self, flow: HTTPFlow) -> Awaitable[None] | None:
        """Decide on the body."""
        exchange = exchange_of(flow)
        authorized = exchange.decision
        if isinstance(authorized, Deny):
            return None  # an upload that could not be kept
        assert isinstance(authorized, Authorized)
        decided = inspect_small(authorized, exchange.body, self.engines, exchange.upload)
        if isinstance(decided, Subject):
            return self._decide_later(exchange, authorized, decided)
        exchange.decision = decided
        return None

    async def _decide_later(
        self, exchange: Exchange, authorized: Authorized, subject: Subject
    ) -> None:
        while True:
            engines = self.engines
            report = await self._elsewhere(subject)
            # With other rules meanwhile it is looked at again, by those.
            if engines is self.engines:
                break
        # While it was looked at, the connection may have been given up: that stands.
        if exchange.decision is authorized:
            exchange.decision = (
                report
                if isinstance(report, Deny)
                else conclude(authorized, exchange.body, engines, report, exchange.upload)
            )
