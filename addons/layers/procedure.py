"""A layer written as one procedure, rather than as a state for every place in it.

mitmproxy calls a layer with one event after another. A procedure is a generator that runs through
the whole life of a connection: it yields commands, which are passed up, and None where it waits
for the next item. An item is an event of the client connection, a `Wakeup` that means the
deadline has passed, or the news of the leg in use.
"""

from __future__ import annotations

import collections
from collections.abc import Generator
from typing import Any

from mitmproxy.proxy import events
from mitmproxy.proxy.layer import CommandGenerator

from ibcm_bridge.addons.layers.site_system_leg import News

Item = events.Event | News

type Steps[Result] = Generator[Any, Any, Result]
"""A part of a procedure, and what it comes to."""


class Procedure:
    """Runs the steps of a layer, item by item."""

    def __init__(self, steps: Steps[None]) -> None:
        """The first `yield None` waits for the start of the connection."""
        self._steps = steps
        self._inbox: collections.deque[Item] = collections.deque()
        self._busy = False
        self._finished = False
        next(steps)

    def feed(self, item: Item) -> CommandGenerator[None]:
        """Give the procedure an item, and carry on until it waits for another."""
        self._inbox.append(item)
        if self._busy:
            return  # News of a leg while the procedure is speaking to it: taken in below.
        self._busy = True
        while self._inbox and not self._finished:
            command = self._advance(self._inbox.popleft())
            while command is not None:
                reply = yield command
                command = self._advance(reply)
        self._busy = False

    def _advance(self, value: Any) -> Any:
        try:
            return self._steps.send(value)
        except StopIteration:
            self._finished = True
            return None
