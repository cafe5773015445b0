"""`python -m` this module runs `ibcm-bridge` as a child process that stops when its parent ends.

Standard input is a pipe that the parent never writes to. It is closed when the parent ends, even
if the parent is killed.
"""

from __future__ import annotations

import signal
import sys
import threading
from typing import BinaryIO

from ibcm_bridge.commands.main import main


def _end_with(parent: BinaryIO) -> None:
    parent.read()
    signal.raise_signal(signal.SIGTERM)


if __name__ == "__main__":
    # A thread that reads sys.stdin holds the lock of its buffer, which the interpreter needs at
    # exit. This file object has no buffer.
    parent = open(0, "rb", buffering=0, closefd=False)  # noqa: SIM115
    threading.Thread(target=_end_with, args=(parent,), daemon=True).start()
    sys.exit(main())
