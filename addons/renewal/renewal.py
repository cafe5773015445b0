"""The common part of all renewals: each checks periodically while the bridge runs.

Renewals replace lists and rules within one policy. A reload of the policy itself would belong to
`addons.policy_generation`.
"""

from __future__ import annotations

import asyncio
import logging
from typing import Protocol

logger = logging.getLogger(__name__)

CHECK_SECONDS = 5.0
"""The interval at which files are checked for changes, in seconds."""


class Renewal(Protocol):
    """Keeps lists or rules current."""

    reads_files: bool
    """True if a check only reads files, which takes no time that depends on other machines."""

    async def check(self) -> float:
        """Check for changes and apply them. Return the seconds to the next check. Never raises."""


async def keep_current(renewal: Renewal) -> None:
    """Run a renewal until it is cancelled."""
    while True:
        await asyncio.sleep(await renewal.check())


async def stop_renewal(task: asyncio.Task[None]) -> None:
    """Stop a renewal. Log the exception of one that has failed."""
    task.cancel()
    (ended,) = await asyncio.gather(task, return_exceptions=True)
    if isinstance(ended, Exception):
        logger.error("a renewal had failed: %s", type(ended).__name__)
