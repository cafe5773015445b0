"""A folder for the lifetime of a process. The next process removes that of a killed one.

The folder is in the system's folder for temporary files, only for its owner. A lock in it shows
that its process is running.
"""

from __future__ import annotations

import contextlib
import logging
import os
import shutil
import stat
import sys
import tempfile
import time
from pathlib import Path

from ibcm_bridge.storage.file_lock import FileLock

logger = logging.getLogger(__name__)

PREFIX = "ibcm-bridge-uploads-"
LOCK = "lock"

YOUNG_SECONDS = 60.0
"""A younger folder is never removed, because its process may not have locked it yet."""


class TemporaryFolder:
    """A temporary folder. `path` exists until `close`."""

    def __init__(self) -> None:
        _remove_abandoned()
        self.path = Path(tempfile.mkdtemp(prefix=PREFIX))
        self._lock = FileLock(self.path / LOCK)

    def close(self) -> None:
        """Remove the folder and its content."""
        # Windows does not remove open files.
        self._lock.release()
        with contextlib.suppress(OSError):
            shutil.rmtree(self.path)


def _remove_abandoned() -> None:
    for folder in Path(tempfile.gettempdir()).glob(f"{PREFIX}*"):
        # Skip a folder that is another user's, in use, or already removed.
        with contextlib.suppress(OSError):
            if _is_old_and_own(folder):
                # Names are unique, so no process locks it again after this check.
                FileLock(folder / LOCK).release()
                logger.info("removing %s, the temporary folder of a killed bridge", folder)
                shutil.rmtree(folder, ignore_errors=True)


def _is_old_and_own(folder: Path) -> bool:
    found = folder.lstat()
    own = sys.platform == "win32" or found.st_uid == os.geteuid()
    old = time.time() - (folder / LOCK).lstat().st_mtime > YOUNG_SECONDS
    return stat.S_ISDIR(found.st_mode) and own and old
