"""The figures of a run that `ibcm-bridge capacity` needs. The wheel has them, but not the run."""

from __future__ import annotations

import json
from typing import Any

from benchmarks import beside
from benchmarks.child import ROOT
from benchmarks.comparison import BRIDGE, IN_USE
from benchmarks.goals import Run

SHIPPED = ROOT / "ibcm_bridge" / "commands" / "capacity" / "measured.json"

_MIB = 1 << 20
_KB = 1_000


def shipped(document: dict[str, Any]) -> str:
    """Return the text of the shipped file, from a document of `beside`.

    ValueError if a value is missing.
    """
    run = Run(document)

    def median(load: str, name: str, proxy: str = BRIDGE) -> float:
        value = run.median(load, name, proxy)
        if value is None:
            raise ValueError(f"the run has no {name} of {load}")
        return value

    one = median(beside.WORKERS, IN_USE)
    two = median(beside.WORKERS, IN_USE, beside.TWO_WORKERS)
    conditions = document["conditions"]
    figures = {
        "message_seconds": round(median(beside.MESSAGE, beside.PER_REQUEST) / 1e6, 6),
        "connection_seconds": round(median(beside.NEW, beside.PER_CONNECTION) / 1e3, 6),
        "client_bytes": round(median(beside.WAITING, beside.PER_CLIENT) * _KB),
        "process_bytes": round(one * _MIB),
        "worker_bytes": round((two - one) * _MIB),
        "processors": conditions["processors"],
        "python": conditions["python"],
        "mitmproxy": conditions["mitmproxy"],
    }
    return json.dumps(figures, indent=1) + "\n"
