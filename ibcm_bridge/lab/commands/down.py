"""`ibcm-bridge lab down`: stops the user's lab, and removes the files of a crashed one."""

from __future__ import annotations

import json
import os
import signal
import sys
import time

from ibcm_bridge.lab.errors import LabError, error_message
from ibcm_bridge.lab.perimeter.runtime import (
    OTHER_FOLDER,
    AlreadyRunning,
    Runtime,
    runtime_folder,
    runtime_parent,
)

END_SECONDS = 25.0
"""Longer than the bridge takes to stop."""


def lab_down(*, as_json: bool) -> int:
    """Stop the lab. The exit status is 0 if no lab is running afterwards."""
    try:
        result = _down()
    except (LabError, OSError) as error:
        why = error_message(error, runtime_parent(), OTHER_FOLDER)
        print(f"ibcm-bridge lab: {why}", file=sys.stderr)
        return 1
    texts = {
        "ended": "The lab has stopped.",
        "cleaned": "No lab was running; removed the files of a crashed lab.",
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
                raise LabError(f"process {pid} does not stop; kill it, then try again") from None
            # The process in the state file holds the lock, so it is alive and its id is not reused.
            if isinstance(pid, int) and pid not in signalled:
                signalled.add(pid)
                os.kill(pid, signal.SIGTERM)
            time.sleep(0.05)
