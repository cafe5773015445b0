"""Tasks that nobody waits for."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from typing import Any

_TASKS: set[asyncio.Task[None]] = set()
"""asyncio itself does not keep a task."""


def start(work: Coroutine[Any, Any, None], name: str) -> asyncio.Task[None]:
    """Run something, kept until its end. mitmproxy's function also stores its time and client."""
    task = asyncio.create_task(work, name=name)
    if not task.done():
        _TASKS.add(task)
        task.add_done_callback(_TASKS.discard)
    return task
