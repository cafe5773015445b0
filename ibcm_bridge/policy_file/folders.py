"""Whether a path is a folder or a file, asked of whatever an operator has written.

What this user may not look at is neither: who reads it says why not. Path's own methods raise where
a folder above may not be searched (before Python 3.14).
"""

from __future__ import annotations

import contextlib
from pathlib import Path


def is_folder(path: Path) -> bool:
    """Whether it is a folder."""
    with contextlib.suppress(OSError):
        return path.is_dir()
    return False


def is_file(path: Path) -> bool:
    """Whether it is a file."""
    with contextlib.suppress(OSError):
        return path.is_file()
    return False
