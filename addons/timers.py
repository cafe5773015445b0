"""Deadlines for layers. One timer per layer, re-armed when it fires early."""

from __future__ import annotations

import time

from mitmproxy.proxy import commands, events
from mitmproxy.proxy.layer import CommandGenerator


class Deadline:
    """A time by which something must have happened; moving it costs nothing.

    mitmproxy's `RequestWakeup` cannot be taken back, so at most one is outstanding: when it fires
    before the deadline that has moved meanwhile, another is asked for.
    """

    def __init__(self) -> None:
        self._due: float | None = None
        self._timer: commands.RequestWakeup | None = None

    def move(self, seconds: float) -> CommandGenerator[None]:
        """Set the deadline to `seconds` from now."""
        self._due = time.monotonic() + seconds
        if self._timer is None:
            yield from self._arm(seconds)

    def lift(self) -> None:
        """No deadline for now."""
        self._due = None

    def passed(self, event: events.Wakeup) -> CommandGenerator[bool]:
        """Whether this wake-up means that the deadline has passed."""
        if event.command is not self._timer:
            return False
        self._timer = None
        if self._due is None:
            return False
        remaining = self._due - time.monotonic()
        if remaining <= 0:
            return True
        yield from self._arm(remaining)
        return False

    def _arm(self, seconds: float) -> CommandGenerator[None]:
        self._timer = commands.RequestWakeup(seconds)
        yield self._timer
