"""The figures of a run that `ibcm-bridge capacity` needs. The wheel has them, but not the run."""

from __future__ import annotations

import json
import re
import shlex
import subprocess
import sys
from typing import Any

from benchmarks import beside
from benchmarks.child import ROOT
from benchmarks.comparison import BRIDGE, IN_USE
from benchmarks.goals import Run

SCALE_PAGE = ROOT / "docs" / "scale.md"
SHIPPED = ROOT / "ibcm_bridge" / "commands" / "capacity" / "measured.json"

_MIB = 1 << 20
_KB = 1_000


def shipped(document: dict[str, Any]) -> str:
    """Return the text of the shipped file, from a document of `beside`.

    ValueError if a value is missing or not above zero.
    """
    run = Run(document)

    def median(load: str, name: str, proxy: str = BRIDGE) -> float:
        value = run.median(load, name, proxy)
        if value is None:
            raise ValueError(f"the run has no {name} of {load}")
        return value

    # Before the load of waiting clients, which leaves the process larger.
    one = median(beside.MESSAGE, IN_USE)
    two = median(beside.WORKERS, IN_USE, beside.TWO_WORKERS)
    conditions = document["conditions"]
    figures = {
        "message_seconds": round(median(beside.MESSAGE, beside.PER_REQUEST) / 1e6, 6),
        "connection_seconds": round(median(beside.NEW, beside.PER_CONNECTION) / 1e3, 6),
        "client_bytes": round(median(beside.WAITING, beside.PER_CLIENT) * _KB),
        "process_bytes": round(one * _MIB),
        "worker_bytes": round((two - one) * _MIB),
    }
    for name, figure in figures.items():
        if figure <= 0:
            raise ValueError(f"the run gives {figure} for {name}")
    measured_with = {name: conditions[name] for name in ("processors", "python", "mitmproxy")}
    return json.dumps({**figures, **measured_with}, indent=1) + "\n"


_SHOWN = re.compile(r"(?<=```text\n)\$ ibcm-bridge (capacity [^\n]*)\n.*?(?=```)", re.DOTALL)
"""A command of the page, with its output."""


def write_scale_page() -> None:
    """Write the outputs of `capacity` on docs/scale.md again, with the shipped figures."""

    def shown(found: re.Match[str]) -> str:
        command = [sys.executable, "-m", "ibcm_bridge", *shlex.split(found[1])]
        # The status is 1 if the machines do not suffice, which the page also shows.
        done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=ROOT)
        if done.stderr:
            raise ValueError(done.stderr)
        return f"$ ibcm-bridge {found[1]}\n{done.stdout}"

    page, places = _SHOWN.subn(shown, SCALE_PAGE.read_text("utf-8"))
    if not places:
        raise ValueError("docs/scale.md has no output of capacity")
    SCALE_PAGE.write_text(page, "utf-8")
