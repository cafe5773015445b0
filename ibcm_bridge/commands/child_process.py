"""`ibcm-bridge` as a child that ends with its parent, however that ends: `python -m` this module.

Standard input is a pipe that nobody writes to. It ends when the parent does, killed or not.
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
    # What is buffered in sys.stdin must not be held by a thread when the interpreter ends.
    parent = open(0, "rb", buffering=0, closefd=False)  # noqa: SIM115
    threading.Thread(target=_end_with, args=(parent,), daemon=True).start()
    sys.exit(main())
