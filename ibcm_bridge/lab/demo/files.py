"""Writes files whole, so that a full disk leaves the earlier ones."""

from __future__ import annotations

import contextlib
from collections.abc import Mapping
from pathlib import Path


def write_whole(contents: Mapping[Path, bytes]) -> None:
    """Write all files, or leave all existing ones. OSError if a file cannot be written.

    All are written before the first replaces an existing one, so they are from the same run.
    """
    parts = {path.with_name(f".{path.name}.part"): path for path in contents}
    try:
        for part, path in parts.items():
            part.write_bytes(contents[path])
        for part, path in parts.items():
            part.replace(path)
    except OSError:
        for part in parts:
            with contextlib.suppress(OSError):
                part.unlink(missing_ok=True)
        raise
