"""What all renewals have in common: each looks, again and again, while the bridge runs."""

from __future__ import annotations

import asyncio
import logging
from typing import Protocol

logger = logging.getLogger(__name__)

LOOK_SECONDS = 5.0
"""How soon a renewed file is noticed."""


class Renewal(Protocol):
    """Keeps something current."""

    async def look(self) -> float:
        """Take what is new; the seconds until the next look. Never raises."""


async def keep_current(renewal: Renewal) -> None:
    """Until cancelled."""
    while True:
        await asyncio.sleep(await renewal.look())


async def stopped(task: asyncio.Task[None]) -> None:
    """End a renewal. One that has failed stops nobody else from stopping."""
    task.cancel()
    (ended,) = await asyncio.gather(task, return_exceptions=True)
    if isinstance(ended, Exception):
        logger.error("a renewal had ended: %s", type(ended).__name__)
