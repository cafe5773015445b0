"""A stopping bridge closes idle connections, and waits for the others."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import pytest
from mitmproxy.proxy.server import ConnectionIO

from ibcm_bridge.addons.connections import Capacity, ConnectionRecord, Connections
from ibcm_bridge.addons.server import stopping
from ibcm_bridge.addons.server.stopping import drain
from tests.addons.stand_ins.driver import open_connection
from tests.addons.stand_ins.lab import Lab

SECONDS = 30.0
"""How long a drain may take at most."""


class Draining:
    """One open connection of a bridge that drains."""

    def __init__(self, lab: Lab) -> None:
        context, _ = open_connection(lab)
        self.connections = Connections(Capacity(10, 1_000_000))
        self.record: ConnectionRecord = self.connections.open(
            context.client, lab.policy.listeners[0]
        )
        self.handlers: dict[Any, Any] = {}
        self.closed_at = 0.0

    async def run(self, then: Callable[[Draining], Any]) -> int:
        """Drain, and run `then` meanwhile. Return how many are left."""
        self.open()
        meanwhile = asyncio.create_task(then(self))
        left = await drain(self.handlers, self.connections, asyncio.Event(), SECONDS)
        await meanwhile
        return left

    def open(self) -> None:
        """Serve the connection until it is closed."""
        loop = asyncio.get_running_loop()
        task = asyncio.create_task(asyncio.sleep(SECONDS))
        transports = {self.record.client: ConnectionIO(handler=task)}
        self.handlers[1] = SimpleNamespace(client=self.record.client, transports=transports)

        def closed(_: object) -> None:
            self.closed_at = loop.time()
            self.handlers.clear()

        task.add_done_callback(closed)


@pytest.fixture
def draining(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> Draining:
    monkeypatch.setattr(stopping, "IDLE_SECONDS", 0.2)
    return Draining(lab)


def test_a_connection_has_its_time_after_each_response(draining: Draining) -> None:
    """A client that has just got a 401 sends its next request."""
    ended_at = 0.0

    async def request(draining: Draining) -> None:
        nonlocal ended_at
        draining.record.under_way = (None,)  # type: ignore[assignment]
        await asyncio.sleep(0.5)
        assert not draining.closed_at, "a request is under way"
        draining.record.end_request()
        ended_at = asyncio.get_running_loop().time()

    assert asyncio.run(draining.run(request)) == 0
    assert draining.closed_at - ended_at >= 0.2


def test_a_connection_whose_task_has_not_run_yet_is_waited_for(draining: Draining) -> None:
    async def drained() -> bool:
        asyncio.get_running_loop().call_soon(lambda: accepted.append(asyncio.create_task(opened())))
        await drain(draining.handlers, draining.connections, asyncio.Event(), SECONDS)
        return bool(draining.closed_at)

    async def opened() -> None:
        draining.open()

    accepted: list[asyncio.Task[None]] = []
    assert asyncio.run(drained())


def test_the_ends_of_responses_that_are_still_to_be_sent_are_reported() -> None:
    connections = Connections(Capacity(1, 1))
    connections.flushing = 2
    assert asyncio.run(drain({}, connections, asyncio.Event(), 0.05)) == 2
