"""A task that nobody waits for lives until its end."""

import asyncio
import gc
import weakref

from ibcm_bridge.addons.server import tasks


def test_a_task_is_kept_until_its_end() -> None:
    async def run() -> list[bool]:
        awaited: list[weakref.ref[asyncio.Future[None]]] = []

        async def work() -> None:
            # Only the task refers to it, and only this refers to the task.
            future = asyncio.get_running_loop().create_future()
            awaited.append(weakref.ref(future))
            await future

        task = weakref.ref(tasks.start(work(), "work"))
        await asyncio.sleep(0)
        gc.collect()
        kept = task() is not None
        if future := awaited[0]():
            future.set_result(None)
            del future
        for _ in range(3):
            await asyncio.sleep(0)
        gc.collect()
        return [kept, task() is None]

    assert asyncio.run(run()) == [True, True]
