"""A layer written as one procedure, rather than as a state for every place in it.

mitmproxy calls a layer with one event after another. Here `serve` is a generator that runs through
the whole life of a connection: it yields commands, which are passed up, and None where it waits
for the next item. An item is an event of the client connection, a `Wakeup` that means the
deadline has passed, or the news of the leg in use.

Legs are small layer stacks of their own (`site_system_leg`). Their events are found here and given
to them; what they report comes back as items, but only from the leg in use: on any other nothing
was asked, so an answer there is no answer, and that leg is closed. The one thing else that counts
is the end of a leg on which the client is authenticated, between two requests.
"""

from __future__ import annotations

import collections
from collections.abc import Generator
from typing import Any

from mitmproxy.proxy import commands, events
from mitmproxy.proxy.context import Context
from mitmproxy.proxy.layer import CommandGenerator, Layer

from ibcm_bridge.addons.layers.deadline import Deadline
from ibcm_bridge.addons.layers.site_system_leg import Closed, News, Received, SiteSystemLeg
from ibcm_bridge.policy.addresses import Address
from ibcm_bridge.policy.publications import TlsVersion

Item = events.Event | News

LegKey = tuple[Address, str, tuple[str, TlsVersion] | None]
"""Address, names and what was demanded: what was verified as one site system is not another."""

type Steps[Result] = Generator[Any, Any, Result]
"""A part of the procedure, and what it comes to."""


class ProcedureLayer(Layer):
    """The machinery. Subclasses write `serve`."""

    def __init__(self, context: Context) -> None:
        super().__init__(context)
        self.deadline = Deadline()
        self.legs: dict[LegKey, SiteSystemLeg] = {}
        self.leg_in_use: SiteSystemLeg | None = None
        self._asked_by: dict[commands.Command, SiteSystemLeg] = {}
        self._inbox: collections.deque[Item] = collections.deque()
        self._busy = False
        self._finished = False
        self._procedure = self.serve()
        next(self._procedure)

    def serve(self) -> Steps[None]:
        """The procedure. Its first `yield None` waits for the start of the connection."""
        raise TypeError("a ProcedureLayer is its procedure")

    def with_leg(self, leg: SiteSystemLeg, steps: CommandGenerator[None]) -> CommandGenerator[None]:
        """Carry out what a leg does, and take in what it reports."""
        for command in steps:
            if not isinstance(command, News):
                if command.blocking:
                    self._asked_by[command] = leg
                yield command
            elif leg is self.leg_in_use:
                yield from self._feed(command)
            elif isinstance(command, Received):
                yield from self.with_leg(leg, leg.close())
            elif isinstance(command, Closed) and leg.authenticates and self.leg_in_use is None:
                # It was a part of who the client is, who has to hear of it.
                yield from self._feed(command)

    def _handle_event(self, event: events.Event) -> CommandGenerator[None]:
        leg = self._leg_of(event)
        if leg is not None:
            yield from self.with_leg(leg, leg.stack.handle_event(event))
        elif isinstance(event, events.Wakeup):
            if (yield from self.deadline.passed(event)):
                yield from self._feed(event)
        elif not (
            isinstance(event, events.ConnectionEvent) and event.connection != self.context.client
        ):
            # What is still reported of a leg that has been replaced is nobody's.
            yield from self._feed(event)

    def _leg_of(self, event: events.Event) -> SiteSystemLeg | None:
        if isinstance(event, events.CommandCompleted):
            return self._asked_by.pop(event.command, None)
        if isinstance(event, events.ConnectionEvent):
            for leg in self.legs.values():
                if leg.server == event.connection:
                    return leg
        return None

    def _feed(self, item: Item) -> CommandGenerator[None]:
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
            return self._procedure.send(value)
        except StopIteration:
            self._finished = True
            return None
