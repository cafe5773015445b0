"""Slots that waiting holders get in turn, so that one with many bodies does not delay another."""

from __future__ import annotations

import asyncio
import collections

from ibcm_bridge.shares import Hold, Holder, Shares


class Turns:
    """A number of slots, and the queues of those that wait for one."""

    def __init__(self, slots: int, waiting: int) -> None:
        """At most `waiting` wait. They share this number as `shares` describes."""
        self._free = slots
        self._waiting = Shares(waiting)
        self._queues: dict[Holder, collections.deque[asyncio.Future[bool]]] = {}
        """The holder whose turn is next comes first. No queue is empty."""

    async def take(self, holder: Holder) -> bool:
        """Wait for a slot. Return False if too many wait, or if it gave way to another holder."""
        if self._free:
            self._free -= 1
            return True
        waiter: asyncio.Future[bool] = asyncio.get_running_loop().create_future()
        hold = Hold(self._waiting, holder, lambda: _settle(waiter, False))
        if not hold.change(1):
            return False
        self._queues.setdefault(holder, collections.deque()).append(waiter)
        try:
            return await waiter
        except asyncio.CancelledError:
            if waiter.done() and not waiter.cancelled() and waiter.result():
                self.free()
            raise
        finally:
            hold.end()
            self._leave(holder, waiter)

    def free(self) -> None:
        """Give the slot to the next holder."""
        for holder in list(self._queues):
            queue = self._queues.pop(holder)
            waiter = queue.popleft()
            if queue:
                self._queues[holder] = queue
            if _settle(waiter, True):
                return
        self._free += 1

    def _leave(self, holder: Holder, waiter: asyncio.Future[bool]) -> None:
        queue = self._queues.get(holder)
        if queue is not None and waiter in queue:
            queue.remove(waiter)
            if not queue:
                del self._queues[holder]


def _settle(waiter: asyncio.Future[bool], got: bool) -> bool:
    """Return whether the waiter was still waiting."""
    if waiter.done():
        return False
    waiter.set_result(got)
    return True
