"""Writes the captures of a case: `ID-bridge.pcapng` with secrets, `ID-tunnel.pcapng` without."""

from __future__ import annotations

from pathlib import Path

from ibcm_bridge.lab.comparison.outcomes import CaseResult
from ibcm_bridge.lab.demo.files import write_whole


def write_captures(directory: Path, result: CaseResult) -> None:
    """Write one file for each path. OSError if a file cannot be written."""
    paths = {"bridge": result.bridge, "tunnel": result.tunnel}
    write_whole(
        {
            directory / f"{result.case.id}-{name}.pcapng": outcome.observation.wire.pcapng
            for name, outcome in paths.items()
            if outcome is not None and outcome.observation.wire is not None
        }
    )
