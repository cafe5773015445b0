"""The running generations: the current one, and earlier ones that still have connections."""

from __future__ import annotations

import asyncio
import contextlib
from typing import Self

from ibcm_bridge.addons.bridge import Bridge
from ibcm_bridge.addons.policy_generation import Generation

CHECK_SECONDS = 0.5
"""How often an earlier generation is checked for its last connection."""


class Generations:
    """Runs the generation of a bridge, and replaces it. A context manager."""

    def __init__(self, bridge: Bridge) -> None:
        self._bridge = bridge
        self._running = contextlib.AsyncExitStack()
        self._judging: asyncio.Task[None]
        self._earlier: dict[asyncio.Task[None], Generation] = {}

    async def __aenter__(self) -> Self:
        await self._running.enter_async_context(self._bridge.generation.running())
        self._judging = asyncio.create_task(self._bridge.shared.judgement.keep_judging())
        return self

    async def __aexit__(self, *_: object) -> None:
        tasks = (self._judging, *self._earlier)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await self._running.aclose()

    def release(self) -> None:
        """Release the earlier ones, after the last connection of all. The bridge has the last."""
        for generation in self._earlier.values():
            generation.release()

    async def replace(self, generation: Generation) -> None:
        """Use another generation for new connections."""
        running = contextlib.AsyncExitStack()
        await running.enter_async_context(generation.running())
        earlier, before = self._bridge.generation, self._running
        self._bridge.use(generation)
        self._running = running
        earlier.retire()
        task = asyncio.create_task(self._end(earlier, before))
        self._earlier[task] = earlier

    async def _end(self, generation: Generation, running: contextlib.AsyncExitStack) -> None:
        """Stop a generation after its last connection."""
        async with running:
            while generation.connections:
                await asyncio.sleep(CHECK_SECONDS)
        generation.release()
        task = asyncio.current_task()
        assert task is not None
        del self._earlier[task]
