"""Runs the bridge without its periodic checks: `python -m benchmarks.without_checks run ...`.

For counting instructions. A check every second takes hundreds of thousands, and under callgrind
how many of them fall into a message depends on how fast the machine is. That was up to 7 % of a
message, more than the difference that `benchmarks.cost` looks for.
"""

from __future__ import annotations

import asyncio
import sys
from typing import Any

from ibcm_bridge.commands.main import main

SHORTEST_SECONDS = 1.0
"""All checks sleep at least so long between two of them, and no request sleeps."""

_sleep = asyncio.sleep


async def _sleep_or_wait(delay: float, result: Any = None) -> Any:
    """Sleep, or wait until it is cancelled."""
    if delay >= SHORTEST_SECONDS:
        await asyncio.Event().wait()
    return await _sleep(delay, result)


if __name__ == "__main__":
    asyncio.sleep = _sleep_or_wait
    sys.exit(main())
