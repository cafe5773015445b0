"""Runs a layer that is written as one procedure instead of a state machine.

mitmproxy calls a layer once per event. A procedure is a generator that runs for the whole
connection: it yields commands, which are forwarded to mitmproxy, and None to wait for the next
item. An item is an event of the client connection, a `Wakeup` for a passed deadline, or a report of
the leg in use.
"""

from __future__ import annotations

from collections.abc import Generator
from typing import Any

from mitmproxy.proxy import events
from mitmproxy.proxy.layer import CommandGenerator

from ibcm_bridge.addons.layers.site_system_leg import LegReport

Item = events.Event | LegReport

type Steps[Result] = Generator[Any, Any, Result]
"""A part of a procedure, with its result."""


class Procedure:
    """Runs the steps of a layer, item by item."""

    def __init__(self) -> None:
        self._steps: Steps[None]
        self._inbox: list[Item | None] = []
        self._busy = False
        self._finished = False

    def begin(self, steps: Steps[None]) -> CommandGenerator[None]:
        """Run the steps until they wait for an item."""
        # Not before: steps that never end would keep their layer, and it would keep them.
        self._steps = steps
        return self._run(None)

    def feed(self, item: Item) -> CommandGenerator[None]:
        """Pass an item to the procedure, and run it until it waits for another."""
        return self._run(item)

    def _run(self, item: Item | None) -> CommandGenerator[None]:
        self._inbox.append(item)
        if self._busy:
            return  # A leg reported while the procedure was using it; the loop below handles it.
        self._busy = True
        while self._inbox and not self._finished:
            command = self._advance(self._inbox.pop(0))
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
