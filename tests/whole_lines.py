"""The lines of an audit file while a bridge writes it."""

from __future__ import annotations

from pathlib import Path


def whole_lines(path: Path) -> list[str]:
    """Return the lines without the last, if only a part of it has been written."""
    lines = path.read_text("utf-8").splitlines(keepends=True)
    return [line for line in lines if line.endswith("\n")]
