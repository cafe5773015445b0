"""The event streams of the open pages (server-sent events)."""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import Mapping
from typing import Any


class Streams:
    """The event streams of the open pages. `publish` is thread-safe."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self.open: set[asyncio.Queue[str | None]] = set()

    def publish(self, event: str, data: Mapping[str, Any]) -> None:
        """Send an event to every page."""
        text = event_text(event, data)
        with contextlib.suppress(RuntimeError):  # the lab is stopping
            self._loop.call_soon_threadsafe(self._put, text)

    def _put(self, text: str | None) -> None:
        for stream in self.open:
            stream.put_nowait(text)

    def end(self) -> None:
        """Close all streams."""
        self._put(None)


def event_text(name: str, data: Mapping[str, Any]) -> str:
    """Return an event in the format of server-sent events."""
    return f"event: {name}\ndata: {json.dumps(data)}\n\n"
