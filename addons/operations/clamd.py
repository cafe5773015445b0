"""Whether clamd responds, asked independently of the traffic."""

from __future__ import annotations

import asyncio
import dataclasses
import time
from collections.abc import Iterator

from ibcm_bridge.addons.engines.clamav import ClamAvEngine, daemon_address
from ibcm_bridge.addons.operations import metrics
from ibcm_bridge.addons.operations.numbers import Series
from ibcm_bridge.inspection.engines import EngineError
from ibcm_bridge.policy.policy import ClamAv

SECONDS = 5.0
"""How long clamd may take to respond to a PING. It does not wait for scans."""


class Clamd:
    """The last response of clamd, if the policy has one."""

    def __init__(self) -> None:
        self.problem: str | None = None
        """Why bodies are refused, for the operator; None if it responds."""
        self._seconds: float | None = None
        self._configured = False

    async def check(self, settings: ClamAv | None) -> None:
        """Ask the daemon, in a thread."""
        problem = seconds = None
        if settings is not None:
            quick = dataclasses.replace(settings, seconds=min(SECONDS, settings.seconds))
            began = time.monotonic()
            try:
                await asyncio.to_thread(ClamAvEngine(quick).ping)
            except EngineError as error:
                problem = f"clamd at {daemon_address(settings)} does not respond: {error}"
            else:
                seconds = time.monotonic() - began
        # The last response counts until there is another one.
        self._configured = settings is not None
        self.problem, self._seconds = problem, seconds

    def readings(self) -> Iterator[tuple[Series, float]]:
        """Yield the gauges; none without clamd."""
        if self._configured:
            yield (metrics.CLAMAV_UP.name, ()), float(self.problem is None)
        if self._seconds is not None:
            yield (metrics.CLAMAV_SECONDS.name, ()), self._seconds
