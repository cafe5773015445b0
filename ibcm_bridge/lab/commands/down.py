"""`ibcm-bridge lab down`: ends the user's lab, and removes what one that crashed has left."""

from __future__ import annotations

import json
import os
import signal
import sys
import time

from ibcm_bridge.lab.errors import LabError, in_one_sentence
from ibcm_bridge.lab.perimeter.runtime import (
    OTHER_FOLDER,
    AlreadyRunning,
    Runtime,
    runtime_folder,
    runtime_parent,
)

END_SECONDS = 25.0
"""Longer than the bridge may take to stop."""


def lab_down(*, as_json: bool) -> int:
    """End it. Exit status 0 when no lab runs any more, whether or not one did."""
    try:
        result = _down()
    except (LabError, OSError) as error:
        why = in_one_sentence(error, runtime_parent(), OTHER_FOLDER)
        print(f"ibcm-bridge lab: {why}", file=sys.stderr)
        return 1
    texts = {
        "ended": "The lab has ended.",
        "cleaned": "No lab was running; removed what one that had crashed left behind.",
        "none": "No lab was running.",
    }
    print(json.dumps({"lab": result}) if as_json else texts[result])
    return 0


def _down() -> str:
    runtime = Runtime(runtime_folder())
    deadline = time.monotonic() + END_SECONDS
    signalled: set[int] = set()
    while True:
        try:
            with runtime:
                cleaned = "cleaned" if runtime.crashed else "none"
                return "ended" if signalled else cleaned
        except AlreadyRunning as running:
            pid = running.state.get("pid")
            late = time.monotonic() > deadline
            if late:
                raise LabError(f"process {pid} does not end; end it, and try again") from None
            # A process whose id is noted and that holds the lock is alive: the id is nobody else's.
            if isinstance(pid, int) and pid not in signalled:
                signalled.add(pid)
                os.kill(pid, signal.SIGTERM)
            time.sleep(0.05)
