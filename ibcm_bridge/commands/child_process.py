"""`python -m` this module runs `ibcm-bridge` as a child process that stops when its parent ends.

Standard input is a pipe that the parent never writes to. It is closed when the parent ends, even
if the parent is killed.
"""

from __future__ import annotations

import os
import signal
import sys
import threading
from typing import BinaryIO

from ibcm_bridge.commands.main import main


def _end_with(parent: BinaryIO) -> None:
    parent.read()
    if sys.platform == "win32":
        signal.raise_signal(signal.SIGTERM)
    else:
        # For the main thread: this one has all signals blocked.
        os.kill(os.getpid(), signal.SIGTERM)


def _start(parent: BinaryIO) -> None:
    """Start the thread. It never gets a signal, and holds no lock when the bridge forks workers."""
    thread = threading.Thread(target=_end_with, args=(parent,), daemon=True)
    if sys.platform == "win32":
        thread.start()
        return
    before = signal.pthread_sigmask(signal.SIG_BLOCK, signal.valid_signals())
    try:
        thread.start()
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


if __name__ == "__main__":
    # A thread that reads sys.stdin holds the lock of its buffer, which the interpreter needs at
    # exit. This file object has no buffer.
    parent = open(0, "rb", buffering=0, closefd=False)  # noqa: SIM115
    _start(parent)
    sys.exit(main())
