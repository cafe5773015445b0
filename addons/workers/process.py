"""One worker process, as its parent sees it."""

from __future__ import annotations

import contextlib
import gc
import logging
import os
import signal
import socket
import sys
from collections.abc import Callable, Sequence

logger = logging.getLogger(__name__)

STOP_SIGNALS = (signal.SIGTERM, signal.SIGINT)

RELOAD_SIGNAL = signal.SIGHUP
"""Only the parent reloads by a signal. Workers ignore it."""

STOP_AT_ONCE = signal.SIGQUIT
"""The signal with which the parent stops a worker that drains."""

CUT_OFF = 2
"""The exit status of a worker that has cut off requests or tunnels."""

READY = b"ready"
"""What a worker writes to its parent when it serves. Anything else is why it cannot start."""

REASON_BYTES = 4_096
"""The limit for a reason: the parent gets it whole (PIPE_BUF)."""


class WorkerProcess:
    """A worker process that was started, and may have ended."""

    def __init__(self, work: Callable[[int], int]) -> None:
        """Fork. The worker calls `work` with a socket to its parent, and ends with its result.

        It calls `work` with `STOP_SIGNALS` blocked, so that none is lost before it handles them.
        Raise OSError if there can be no other process.
        """
        # Each write is one message.
        own, others = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        own.setblocking(False)
        self._channel = own
        self.reported = b""
        self._killed_because = ""
        self.reports: list[bytes] = []
        """The reports since it was ready."""
        self.status: int | None = None
        """The exit status; negative: the signal that ended the worker."""
        _flush()
        # Otherwise the collector would write to, and so copy, all memory that the processes share.
        gc.freeze()
        before = signal.pthread_sigmask(signal.SIG_BLOCK, STOP_SIGNALS)
        try:
            self.pid = os.fork()
            if self.pid == 0:
                own.close()
                _end_with(lambda: work(others.fileno()))
        except OSError:
            own.close()
            raise
        finally:
            signal.pthread_sigmask(signal.SIG_SETMASK, before)
            others.close()

    @property
    def channel(self) -> int:
        """Readable when the worker has written something, or has ended; then -1."""
        return self._channel.fileno()

    @property
    def is_ready(self) -> bool:
        """Whether it serves connections."""
        return self.reported == READY

    @property
    def end(self) -> str:
        """Why it ended, for the operator."""
        if self._killed_because:
            return self._killed_because
        if self.reported and not self.is_ready:
            return self.reported.decode("utf-8", "replace")
        if self.status is not None and self.status < 0:
            return f"a worker process was ended by {signal.Signals(-self.status).name}"
        return f"a worker process ended with status {self.status}"

    def update(self) -> None:
        """Read what it has reported, and whether it has ended."""
        # Its end first, so that what it reported before is read below.
        if self.status is None:
            self._wait(os.WNOHANG)
        with contextlib.suppress(BlockingIOError):
            while self.channel >= 0:
                self._receive()

    def _receive(self) -> None:
        try:
            data = self._channel.recv(REASON_BYTES)
        except ConnectionResetError:  # it ended before it read an order
            data = b""
        if not data:
            self._channel.close()
        elif self.is_ready:
            self.reports.append(data)
        else:
            self.reported += data

    def order(self, message: bytes, files: Sequence[int] = ()) -> None:
        """Send an order, with open files. A worker that has ended, or is ending, gets none."""
        with contextlib.suppress(OSError):
            socket.send_fds(self._channel, [message], files)

    def stop_at_once(self) -> None:
        """Let it close its connections now."""
        self.update()
        if self.status is None:
            os.kill(self.pid, STOP_AT_ONCE)

    def kill(self, why: str = "") -> None:
        """End it at once. `why` is for the operator."""
        self._killed_because = why
        if self.status is None:
            # Not waited for, so the number is still that of this process.
            os.kill(self.pid, signal.SIGKILL)
            self._wait(0)
        self._channel.close()

    def _wait(self, options: int) -> None:
        pid, status = os.waitpid(self.pid, options)
        if pid:
            self.status = os.waitstatus_to_exitcode(status)


def report(parent: int, text: bytes) -> None:
    """Report to the parent. Without one, the worker is about to end anyway."""
    with contextlib.suppress(ConnectionError):
        os.write(parent, text[:REASON_BYTES])


def _end_with(work: Callable[[], int]) -> None:
    """End this process with the result of `work`, without the cleanup that is its parent's."""
    status = 1
    try:
        signal.set_wakeup_fd(-1)
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        signal.signal(RELOAD_SIGNAL, signal.SIG_IGN)
        status = work()
    except BaseException:
        logger.exception("a worker process failed")
    finally:
        _flush()
        os._exit(status)


def _flush() -> None:
    for stream in (sys.stdout, sys.stderr):
        if stream is not None:
            with contextlib.suppress(OSError):
                stream.flush()
