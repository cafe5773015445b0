"""Tests whether a configured path is a folder or a file.

A path without permission is neither; reading it reports the cause. Before Python 3.14, the methods
of Path raise PermissionError if a parent folder is not searchable.
"""

from __future__ import annotations

import contextlib
from pathlib import Path


def is_folder(path: Path) -> bool:
    """Return whether this is an accessible folder."""
    with contextlib.suppress(OSError):
        return path.is_dir()
    return False


def is_file(path: Path) -> bool:
    """Return whether this is an accessible file."""
    with contextlib.suppress(OSError):
        return path.is_file()
    return False
