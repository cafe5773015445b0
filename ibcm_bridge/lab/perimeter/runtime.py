"""Where a user's lab keeps its files, and that there is only one: a lock, a state file, a folder.

1. The folder is the user's own: in XDG_RUNTIME_DIR, or in the folder for temporary files.
2. `lock` is held as long as the lab lives; the system lets go of it however the lab ends. So a
   state file (`lab.json`) without a held lock is that of a lab that crashed.
3. The lab's files lie in `lab` inside the folder, so what is removed is never named by a file.
   Of its network namespaces the state says whether there are any.
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
"""Noted before they are made: their names."""

OTHER_FOLDER = "name another folder in XDG_RUNTIME_DIR"
"""What to do where nothing can be written there."""

REMOVE_SECONDS = 10.0
"""How long the bridge of a lab that was killed may take to end, and to let go of its files."""


class AlreadyRunning(LabError):
    """`state` is what the lab that runs has written."""

    def __init__(self, state: Mapping[str, Any]) -> None:
        self.state = state
        where = f" at {state['page']}" if "page" in state else ""
        super().__init__(f"a lab is already running{where}; end it with: ibcm-bridge lab down")


def runtime_folder() -> Path:
    """The user's folder, made if it is not there. LabError where it is somebody else's."""
    parent = _xdg_runtime_dir()
    if parent is not None:
        folder = parent / "ibcm-bridge"
    else:
        user = str(os.getuid()) if sys.platform != "win32" else os.environ.get("USERNAME", "")
        folder = Path(tempfile.gettempdir()) / f"ibcm-bridge-{user}"
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    if sys.platform != "win32":
        found = folder.lstat()
        # Anybody may make a folder, or a link, of that name in a place for temporary files.
        own = stat.S_ISDIR(found.st_mode) and found.st_uid == os.getuid()
        if not own or found.st_mode & 0o077:
            raise LabError(
                f"{folder} is not a folder of this user's alone; remove it, or name another place "
                "in XDG_RUNTIME_DIR"
            )
    return folder


def runtime_parent() -> str:
    """The folder around `runtime_folder`, for a message, as far as it is known."""
    return str(_xdg_runtime_dir() or tempfile.tempdir or "the folder for temporary files")


def _xdg_runtime_dir() -> Path | None:
    parent = os.environ.get("XDG_RUNTIME_DIR")
    return Path(parent) if parent and Path(parent).is_dir() else None


def running_state(folder: Path) -> dict[str, Any]:
    """The state of the lab that is up. LabError where none is."""
    runtime = Runtime(folder)
    if runtime.is_free():
        raise LabError("no lab is up; start one in another terminal with: ibcm-bridge lab up")
    return runtime.read()


class Runtime:
    """A lab's claim to the folder. A context manager; AlreadyRunning while another has it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.files = folder / "lab"
        self._state_file = folder / "lab.json"
        self._state: dict[str, Any] = {}
        self._lock: FileLock | None = None
        self.crashed = False
        """Whether something was found of a lab that had not ended properly."""

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
        """Whether nobody has it."""
        try:
            FileLock(self.folder / "lock").release()
        except BlockingIOError:
            return False
        return True

    def write(self, state: Mapping[str, Any]) -> None:
        """Add to the state, which a second lab and `lab down` read. It is for the user alone."""
        self._state |= {"pid": os.getpid(), **state}
        text = json.dumps(self._state)
        new = self._state_file.with_suffix(".new")
        new.touch(mode=0o600)
        new.write_text(text, "utf-8")
        new.replace(self._state_file)

    def read(self) -> dict[str, Any]:
        """What was written; empty where there is nothing (yet)."""
        try:
            state = json.loads(self._state_file.read_text("utf-8"))
        except (OSError, ValueError):
            return {}
        return state if isinstance(state, dict) else {}

    def clean(self) -> None:
        """Remove the lab's files, and namespaces that are left."""
        firewall.remove(self.read().get(NAMESPACES, ()))
        deadline = time.monotonic() + REMOVE_SECONDS
        while self.files.exists():
            try:
                shutil.rmtree(self.files)
            except OSError:
                # A bridge that is about to end may still write its last line.
                if time.monotonic() > deadline:
                    raise
                time.sleep(0.1)
        self._state_file.unlink(missing_ok=True)
