"""A folder for as long as a process lives; what one that was killed has left, the next removes.

In the place for temporary files, for its owner alone. A lock in it says that its process lives.
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
"""A folder may be this old before its lock is held: nobody takes it for one that was left."""


class TemporaryFolder:
    """One. `path` is there until `close`."""

    def __init__(self) -> None:
        _remove_abandoned()
        self.path = Path(tempfile.mkdtemp(prefix=PREFIX))
        self._lock = FileLock(self.path / LOCK)

    def close(self) -> None:
        """Remove it, with what is in it."""
        # Windows removes no file that is open.
        self._lock.release()
        with contextlib.suppress(OSError):
            shutil.rmtree(self.path)


def _remove_abandoned() -> None:
    for folder in Path(tempfile.gettempdir()).glob(f"{PREFIX}*"):
        # Somebody else's, in use, or gone meanwhile: none of our business.
        with contextlib.suppress(OSError):
            if _is_old_and_own(folder):
                # Nobody else's name is ever the same, so nobody takes it again.
                FileLock(folder / LOCK).release()
                logger.info("removing %s, which a bridge that was killed has left", folder)
                shutil.rmtree(folder, ignore_errors=True)


def _is_old_and_own(folder: Path) -> bool:
    found = folder.lstat()
    own = sys.platform == "win32" or found.st_uid == os.geteuid()
    old = time.time() - (folder / LOCK).lstat().st_mtime > YOUNG_SECONDS
    return stat.S_ISDIR(found.st_mode) and own and old
