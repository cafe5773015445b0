"""Deadlines for layers, with one timer per layer, which is set again if it fires early."""

from __future__ import annotations

import time
from collections.abc import Iterable

from mitmproxy.proxy import commands, events
from mitmproxy.proxy.layer import CommandGenerator


class Deadline:
    """A deadline that is cheap to move to a later time.

    mitmproxy's `RequestWakeup` cannot be cancelled, so only one timer is valid. If it fires before
    a deadline that was moved, another is requested. If the deadline moves to an earlier time, the
    timer is replaced and its wake-up is ignored.
    """

    def __init__(self) -> None:
        self._due: float | None = None
        self._timer: commands.RequestWakeup | None = None
        self._fires = 0.0

    def move(self, seconds: float) -> Iterable[commands.Command]:
        """Set the deadline to `seconds` from now. Return the commands for it, usually none."""
        self._due = time.monotonic() + seconds
        if self._timer is None or self._due < self._fires:
            return self._arm(seconds)
        return ()

    def now(self) -> float:
        """Return the time in seconds, by the clock of the deadlines."""
        return time.monotonic()

    def lift(self) -> None:
        """Remove the deadline."""
        self._due = None

    def passed(self, event: events.Wakeup) -> CommandGenerator[bool]:
        """Return whether this wake-up means that the deadline has passed."""
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

    def _arm(self, seconds: float) -> Iterable[commands.Command]:
        self._fires = time.monotonic() + seconds
        self._timer = commands.RequestWakeup(seconds)
        return (self._timer,)
