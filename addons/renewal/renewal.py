"""The common part of all renewals: each checks periodically while the bridge runs.

Renewals replace lists and rules within one policy. A reload of the policy itself would belong to
`addons.policy_generation`.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Sequence
from enum import StrEnum
from typing import Protocol

logger = logging.getLogger(__name__)

CHECK_SECONDS = 5.0
"""The interval at which files are checked for changes, in seconds."""


class Kind(StrEnum):
    """The kind of files that are taken when they change."""

    CERTIFICATES = "certificates"
    """Certificates, keys and trusted authorities."""
    LISTS = "lists"
    RULES = "rules"


class Checking(Protocol):
    """Checks something again and again."""

    async def check(self) -> float:
        """Check for changes and apply them. Return the seconds to the next check. Never raises."""


class Renewal(Checking, Protocol):
    """Keeps files of one kind current."""

    kind: Kind

    reads_files: bool
    """True if a check only reads files, which takes no time that depends on other machines."""

    def problems(self) -> Sequence[str]:
        """Return why new files are not in use, for the operator."""


async def keep_current(renewal: Checking) -> None:
    """Run a renewal until it is cancelled."""
    while True:
        await asyncio.sleep(await renewal.check())


async def stop_renewal(task: asyncio.Task[None]) -> None:
    """Stop a renewal. Log the exception of one that has failed."""
    task.cancel()
    (ended,) = await asyncio.gather(task, return_exceptions=True)
    if isinstance(ended, Exception):
        logger.error("a renewal had failed: %s", type(ended).__name__)
