"""Tasks that nothing waits for."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine

_tasks: set[asyncio.Task[object]] = set()


def run_in_background(work: Coroutine[object, object, object]) -> None:
    """Run something that does not raise."""
    task = asyncio.create_task(work)
    _tasks.add(task)
    task.add_done_callback(_tasks.discard)
