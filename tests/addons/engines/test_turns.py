"""Holders get slots in turn."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

from hypothesis import given
from hypothesis import strategies as st

from ibcm_bridge.addons.engines.turns import Turns


def run(use: Callable[[], Awaitable[None]]) -> None:
    asyncio.run(asyncio.wait_for(use(), 10))  # type: ignore[arg-type]


async def settled() -> None:
    for _ in range(3):
        await asyncio.sleep(0)


class Bodies:
    """Starts waiting bodies, and records the order in which they get a slot."""

    def __init__(self, turns: Turns) -> None:
        self.turns = turns
        self.served: list[str] = []
        self.refused: list[str] = []

    async def wait(self, holder: str, count: int = 1) -> list[asyncio.Task[None]]:
        tasks = [asyncio.create_task(self._take(holder)) for _ in range(count)]
        await settled()
        return tasks

    async def _take(self, holder: str) -> None:
        got = await self.turns.take(holder)
        (self.served if got else self.refused).append(holder)

    async def free(self, times: int = 1) -> None:
        for _ in range(times):
            self.turns.free()
            await settled()


def test_a_free_slot_is_taken_at_once() -> None:
    async def use() -> None:
        bodies = Bodies(Turns(2, 10))
        await bodies.wait("a", 3)
        assert bodies.served == ["a", "a"]
        await bodies.free()
        assert bodies.served == ["a", "a", "a"]
        await bodies.free(3)
        await bodies.wait("b", 2)
        assert bodies.served[3:] == ["b", "b"]

    run(use)


def test_a_holder_with_one_body_waits_for_one_of_each_other_holder() -> None:
    async def use() -> None:
        bodies = Bodies(Turns(1, 100))
        await bodies.wait("flood", 20)
        await bodies.wait("client")
        await bodies.wait("other", 2)
        await bodies.free(5)
        assert bodies.served == ["flood", "flood", "client", "other", "flood", "other"]

    run(use)


def test_too_many_waiting_bodies_of_one_holder_are_refused() -> None:
    async def use() -> None:
        bodies = Bodies(Turns(1, 2))
        await bodies.wait("flood", 4)
        assert (bodies.served, bodies.refused) == (["flood"], ["flood"])

    run(use)


def test_the_holder_with_the_most_waiting_bodies_gives_way() -> None:
    async def use() -> None:
        bodies = Bodies(Turns(1, 2))
        await bodies.wait("flood", 3)
        await bodies.wait("client")
        assert bodies.refused == ["flood"]
        await bodies.free(2)
        assert bodies.served == ["flood", "flood", "client"]

    run(use)


def test_a_cancelled_body_leaves_its_slot_to_another() -> None:
    async def use() -> None:
        bodies = Bodies(Turns(1, 10))
        await bodies.wait("first")
        (waiting,) = await bodies.wait("cancelled")
        await bodies.wait("next")
        waiting.cancel()
        await settled()
        await bodies.free()
        assert bodies.served == ["first", "next"]

    run(use)


def test_a_slot_given_to_a_body_that_is_cancelled_is_free_again() -> None:
    async def use() -> None:
        bodies = Bodies(Turns(1, 10))
        await bodies.wait("first")
        (waiting,) = await bodies.wait("cancelled")
        bodies.turns.free()
        waiting.cancel()
        await settled()
        await bodies.wait("next")
        assert bodies.served == ["first", "next"]

    run(use)


ACTIONS = st.lists(st.tuples(st.sampled_from(["wait", "free", "cancel"]), st.integers(0, 3)))


@given(ACTIONS)
def test_no_slot_is_lost(actions: list[tuple[str, int]]) -> None:
    async def use() -> None:
        bodies = Bodies(Turns(2, 4))
        tasks: list[asyncio.Task[None]] = []
        freed = 0
        for action, which in actions:
            if action == "wait":
                tasks += await bodies.wait(str(which))
            elif action == "free" and freed < len(bodies.served):
                await bodies.free()
                freed += 1
            elif action == "cancel" and tasks:
                tasks[which % len(tasks)].cancel()
                await settled()
        while freed < len(bodies.served):
            await bodies.free()
            freed += 1
        assert all(task.done() for task in tasks)
        assert (bodies.turns._free, bodies.turns._queues) == (2, {})
        assert bodies.turns._waiting.held == 0

    run(use)
