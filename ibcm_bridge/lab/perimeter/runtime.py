"""The runtime folder of a user's lab: a lock, a state file, and the lab's files.

1. The folder is private to the user: in XDG_RUNTIME_DIR, or in the temporary folder.
2. The lab holds `lock` while it runs; the system releases it when the process ends. A state file
   (`lab.json`) without a held lock belongs to a crashed lab.
3. The lab's files are in the subfolder `lab`, so cleanup does not depend on names in a file. The
   state file has the names of the network namespaces.
"""

from __future__ import annotations

import json
import os
import shutil
import stat
import sys
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Self

from ibcm_bridge.lab.errors import LabError
from ibcm_bridge.lab.perimeter import firewall
from ibcm_bridge.storage.file_lock import FileLock

NAMESPACES = "namespaces"
"""Key of the state: the names of the namespaces, recorded before they are created."""

FAULTS = "faults"
"""Key of the state: the titles of the faults that are on."""

EDITED_POLICY = "edited_policy"
"""Key of the state: true while the bridge uses a policy that was edited on the page."""

OTHER_FOLDER = "set XDG_RUNTIME_DIR to another folder"
"""The solution if the folder is not writable."""

REMOVE_SECONDS = 10.0
"""After a lab was killed, its bridge needs some time to stop and close its files."""


class AlreadyRunning(LabError):
    """Another lab is running; `state` is its state."""

    def __init__(self, state: Mapping[str, Any]) -> None:
        self.state = state
        where = f" at {state['page']}" if "page" in state else ""
        super().__init__(f"a lab is already running{where}; to stop it: ibcm-bridge lab down")


def runtime_folder() -> Path:
    """Return the user's folder; create it if it does not exist. LabError if it is not private."""
    parent = _xdg_runtime_dir()
    if parent is not None:
        folder = parent / "ibcm-bridge"
    else:
        user = str(os.getuid()) if sys.platform != "win32" else os.environ.get("USERNAME", "")
        folder = Path(tempfile.gettempdir()) / f"ibcm-bridge-{user}"
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    if sys.platform != "win32":
        found = folder.lstat()
        # Any user can create a folder or a link with this name in the temporary folder.
        own = stat.S_ISDIR(found.st_mode) and found.st_uid == os.getuid()
        if not own or found.st_mode & 0o077:
            raise LabError(
                f"{folder} is not a private folder of this user; remove it, or set XDG_RUNTIME_DIR "
                "to another folder"
            )
    return folder


def runtime_parent() -> str:
    """Return the parent of `runtime_folder`, for messages."""
    return str(_xdg_runtime_dir() or tempfile.tempdir or "the temporary folder")


def _xdg_runtime_dir() -> Path | None:
    parent = os.environ.get("XDG_RUNTIME_DIR")
    return Path(parent) if parent and Path(parent).is_dir() else None


def running_state(folder: Path) -> dict[str, Any]:
    """Return the state of the running lab. LabError if none is running."""
    runtime = Runtime(folder)
    if runtime.is_free():
        raise LabError("no lab is running; start one in another terminal with: ibcm-bridge lab up")
    return runtime.read()


class Runtime:
    """Exclusive use of the folder. A context manager; AlreadyRunning if another lab has it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.files = folder / "lab"
        self._state_file = folder / "lab.json"
        self._state: dict[str, Any] = {}
        self._lock: FileLock | None = None
        self.crashed = False
        """True if files of a crashed lab were found."""

    def __enter__(self) -> Self:
        try:
            self._lock = FileLock(self.folder / "lock")
        except BlockingIOError:
            raise AlreadyRunning(self.read()) from None
        self.crashed = self._state_file.exists() or self.files.exists()
        self.clean()
        self.write({})
        return self

    def __exit__(self, *_: object) -> None:
        assert self._lock is not None
        try:
            self.clean()
        finally:
            self._lock.release()

    def is_free(self) -> bool:
        """Return whether no lab has the lock."""
        try:
            FileLock(self.folder / "lock").release()
        except BlockingIOError:
            return False
        return True

    def write(self, state: Mapping[str, Any]) -> None:
        """Add to the state, which a second lab, `lab down` and `lab client` read. Mode 0600."""
        self._state |= {"pid": os.getpid(), **state}
        text = json.dumps(self._state)
        new = self._state_file.with_suffix(".new")
        new.touch(mode=0o600)
        new.write_text(text, "utf-8")
        new.replace(self._state_file)

    def read(self) -> dict[str, Any]:
        """Return the state; empty if there is none yet."""
        try:
            state = json.loads(self._state_file.read_text("utf-8"))
        except (OSError, ValueError):
            return {}
        return state if isinstance(state, dict) else {}

    def clean(self) -> None:
        """Remove the lab's files and remaining namespaces."""
        firewall.remove(self.read().get(NAMESPACES, ()))
        deadline = time.monotonic() + REMOVE_SECONDS
        while self.files.exists():
            try:
                shutil.rmtree(self.files)
            except OSError:
                # A bridge that is stopping can still write to its audit.
                if time.monotonic() > deadline:
                    raise
                time.sleep(0.1)
        self._state_file.unlink(missing_ok=True)
