"""Starts the workers, replaces one that ends, and stops all of them.

1. The parent process is ready when every worker is. If one cannot start, none is left.
2. A worker that ends is replaced: at once, and later if that happens again and again. If the
   workers of one place end `MOST_ENDS` times within `ENDS_SECONDS`, the bridge stops with an error.
   A worker that hangs is killed, so it is replaced in the same way.
3. All workers stop serving when the parent closes one pipe, so also when it is killed.
4. At a second signal, they close their connections at once.
5. Workers that have not stopped some seconds later are killed.

The parent runs no event loop and starts no thread, because it forks at any time.
"""

from __future__ import annotations

import collections
import contextlib
import logging
import os
import select
import signal
import time
from collections.abc import Callable, Iterator

from ibcm_bridge.addons.errors import StartError, WorkersError
from ibcm_bridge.addons.operations.service_manager import WATCHDOG, notify, watchdog_seconds
from ibcm_bridge.addons.run.serve import ignore_user_signals
from ibcm_bridge.addons.server.stopping import CLOSE_SECONDS
from ibcm_bridge.addons.workers.orders import STOP_OPERATIONS
from ibcm_bridge.addons.workers.poll_readers import PollReaders
from ibcm_bridge.addons.workers.process import RELOAD_SIGNAL, STOP_SIGNALS, WorkerProcess
from ibcm_bridge.addons.workers.reload import WorkersReload

logger = logging.getLogger(__name__)

MOST_ENDS = 5
ENDS_SECONDS = 60.0

CHECK_SECONDS = 5.0
"""The longest time between two checks whether a worker hangs."""

WAIT_SECONDS = 0.5
"""The wait before a worker is replaced that is not the first, for each before it."""

KILL_SECONDS = CLOSE_SECONDS + 2.0
"""The time in which workers must stop after their connections had theirs."""

type Work = Callable[[int, int, int], int]
"""The work of a worker: its number, the pipe that ends when it must stop, the pipe to its parent.
"""


class Supervisor:
    """The workers of a bridge."""

    def __init__(
        self,
        count: int,
        work: Work,
        ended: Callable[[int], object],
        stopping: Callable[[], object],
        *,
        hangs: Callable[[int], bool] = lambda _: False,
        drain_seconds: Callable[[], float] = float,
        reload: WorkersReload | None = None,
    ) -> None:
        """`ended` is called with the number of an ended worker, `stopping` before all stop.

        `hangs` returns whether the worker of a number serves nothing any longer.
        Their connections have `drain_seconds` then. `reload` is asked by SIGHUP.
        """
        self._work = work
        self._ended = ended
        self._hangs = hangs
        self._checked = 0.0
        self._stopping = stopping
        self._drain_seconds = drain_seconds
        self._reload = reload
        self._places = [_Place(number) for number in range(count)]
        self._stop_reading, self._stop_writing = os.pipe()
        self._handed_over = False
        self.readers = PollReaders()
        """The sockets that the parent watches, besides those of the workers."""

    def run(self, ready: Callable[[], None]) -> bool:
        """Run until a signal. Return True if no worker has cut off anything.

        Raise StartError, or WorkersError if workers fail again and again.
        """
        ignore_user_signals()
        with _signals() as signals:
            try:
                for place in self._places:
                    self._start(place)
                self._until(signals, self._all_ready)
                if not signals.stopped:
                    ready()
                    self._until(signals, self._replace)
            finally:
                self._stop(signals)
        return all(place.worker is None or not place.worker.status for place in self._places)

    def hand_over(self) -> None:
        """Stop, because another bridge serves. The first signal then cuts off nothing."""
        self._handed_over = True
        for place in self._places:
            if place.worker is not None:
                place.worker.order(STOP_OPERATIONS)

    def _until(self, signals: _Signals, is_done: Callable[[], bool]) -> None:
        """Wait for a signal to stop, or until `is_done`, called after every change."""
        watchdog = watchdog_seconds()
        while not (signals.stopped or self._handed_over or is_done()):
            due = [place.due for place in self._places if place.due is not None]
            if self._reload is not None and self._reload.due is not None:
                due.append(self._reload.due)
            if watchdog is not None:
                notify(WATCHDOG)
                due.append(time.monotonic() + watchdog)
            self._wait(signals, min([time.monotonic() + CHECK_SECONDS, *due]))

    def _start(self, place: _Place) -> None:
        place.due = None
        place.worker = WorkerProcess(lambda parent: self._begin(place.number, parent))

    def _begin(self, number: int, parent: int) -> int:
        """Work in the process of a worker."""
        # As long as any process has this end open, the other end does not end.
        os.close(self._stop_writing)
        return self._work(number, self._stop_reading, parent)

    def _wait(self, signals: _Signals, until: float | None) -> None:
        workers = [place.worker for place in self._places if place.worker is not None]
        channels = [worker.channel for worker in workers if worker.channel >= 0]
        times = [each for each in (until, self.readers.due) if each is not None]
        readable = signals.wait([*channels, *self.readers.files], min(times, default=None))
        for worker in workers:
            worker.update()
        self.readers.run(readable)
        if self._reload is not None and signals.reload:
            signals.reload = False
            self._reload.ask()

    def _all_ready(self) -> bool:
        for place in self._places:
            assert place.worker is not None
            if place.worker.status is not None:
                raise StartError(place.worker.end)
        return all(place.worker and place.worker.is_ready for place in self._places)

    def _replace(self) -> bool:
        now = time.monotonic()
        if self._reload is not None:
            self._reload.go_on([place.worker for place in self._places])
        # After a pause of all processes, as of a virtual machine, the workers get time to go on.
        paused, self._checked = now - self._checked > 2 * CHECK_SECONDS, now
        for place in self._places:
            worker = place.worker
            if worker is not None and worker.is_ready and not paused and self._hangs(place.number):
                worker.kill("its event loop does not turn; it was killed")
            if place.worker is not None and place.worker.status is not None:
                self._took_its_end(place, now)
            if place.due is not None and place.due <= now:
                try:
                    self._start(place)
                except OSError as error:
                    self._failed(place, f"no process can be started: {error.strerror}", now)
        return False

    def _took_its_end(self, place: _Place, now: float) -> None:
        assert place.worker is not None
        worker, place.worker = place.worker, None
        self._ended(place.number)
        self._failed(place, worker.end, now)

    def _failed(self, place: _Place, why: str, now: float) -> None:
        place.due = now + place.wait(now)
        logger.error("worker %d failed: %s; another one is started", place.number + 1, why)
        if len(place.ends) >= MOST_ENDS:
            raise WorkersError(
                f"worker {place.number + 1} failed {MOST_ENDS} times within {ENDS_SECONDS:g} "
                f"seconds; the last time: {why}"
            )

    def _stop(self, signals: _Signals) -> None:
        if self._reload is not None:
            self._reload.stop()
        self._stopping()
        os.close(self._stop_writing)
        for worker in self._running():
            if not worker.is_ready:
                # It has no connections.
                worker.kill()
        deadline = time.monotonic() + self._drain_seconds() + KILL_SECONDS
        asked = 1 if self._handed_over else signals.asked
        while (running := self._running()) and time.monotonic() < deadline:
            self._wait(signals, deadline)
            if signals.asked > asked:
                asked = signals.asked
                deadline = min(deadline, time.monotonic() + KILL_SECONDS)
                for worker in running:
                    worker.stop_at_once()
        for worker in running:
            worker.kill()
        os.close(self._stop_reading)
        if running:
            count = f"{len(running)} of {len(self._places)} workers"
            raise WorkersError(f"{count} did not stop, and were killed")

    def _running(self) -> list[WorkerProcess]:
        workers = [place.worker for place in self._places if place.worker is not None]
        return [worker for worker in workers if worker.status is None]


class _Place:
    """The place of a worker, which its successors take."""

    def __init__(self, number: int) -> None:
        self.number = number
        self.worker: WorkerProcess | None = None
        self.due: float | None = None
        """When the next worker is started, if there is none."""
        self.ends: collections.deque[float] = collections.deque()

    def wait(self, now: float) -> float:
        """Count an end; return the seconds until the next worker starts."""
        self.ends.append(now)
        while self.ends[0] < now - ENDS_SECONDS:
            self.ends.popleft()
        return WAIT_SECONDS * (len(self.ends) - 1)


class _Signals:
    """Notices signals while the parent waits."""

    def __init__(self, pipe: int) -> None:
        self._pipe = pipe
        self.asked = 0
        """How often a signal asked to stop."""
        self.reload = False
        """Whether a signal asked to reload."""

    @property
    def stopped(self) -> bool:
        return self.asked > 0

    def wait(self, files: list[int], until: float | None) -> list[int]:
        """Wait for a signal, until a file is readable, or until a time. Return these files."""
        # Not select(2), which has a limit of 1,024 for the numbers of files.
        poll = select.poll()
        for file in (self._pipe, *files):
            poll.register(file, select.POLLIN)
        left = None if until is None else max(0.0, until - time.monotonic()) * 1_000
        readable = [file for file, _ in poll.poll(left)]
        if self._pipe in readable:
            numbers = os.read(self._pipe, 4_096)
            self.reload = self.reload or RELOAD_SIGNAL in numbers
            self.asked += sum(number in STOP_SIGNALS for number in numbers)
        return readable


@contextlib.contextmanager
def _signals() -> Iterator[_Signals]:
    """Handle the signals to stop, and that a worker has ended."""
    reading, writing = os.pipe()
    os.set_blocking(writing, False)
    handled = (*STOP_SIGNALS, RELOAD_SIGNAL, signal.SIGCHLD)
    # First the pipe: a signal before it would be lost. Its number is written there only if it has a
    # handler.
    wakeup = signal.set_wakeup_fd(writing, warn_on_full_buffer=False)
    before = {number: signal.signal(number, lambda *_: None) for number in handled}
    try:
        yield _Signals(reading)
    finally:
        signal.set_wakeup_fd(wakeup)
        for number, handler in before.items():
            signal.signal(number, handler)
        os.close(reading)
        os.close(writing)
