"""Where a user's lab keeps its files, and that there is only one: a lock, a note, a folder.

1. The folder is the user's own: in XDG_RUNTIME_DIR, or in the folder for temporary files.
2. `lock` is held as long as the lab lives; the system lets go of it however the lab ends. So a note
   (`lab.json`) without a held lock is that of a lab that crashed.
3. The lab's files lie in `lab` inside the folder, so what is removed is never named by a file.
   Of its network namespaces the note says whether there are any.
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
from ibcm_bridge.lab.perimeter import walls
from ibcm_bridge.storage.file_lock import FileLock

NAMESPACES = "namespaces"
"""Noted before they are made: their names."""

NAME_ANOTHER = "name another folder in XDG_RUNTIME_DIR"
"""What to do where nothing can be written there."""

REMOVE_SECONDS = 10.0
"""How long the bridge of a lab that was killed may take to end, and to let go of its files."""


class AlreadyRunning(LabError):
    """`note` is what the lab that runs has written."""

    def __init__(self, note: Mapping[str, Any]) -> None:
        self.note = note
        where = f" at {note['page']}" if "page" in note else ""
        super().__init__(f"a lab is already running{where}; end it with: ibcm-bridge lab down")


def runtime_folder() -> Path:
    """The user's folder, made if it is not there. LabError where it is somebody else's."""
    given = _given()
    if given is not None:
        folder = given / "ibcm-bridge"
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


def place() -> str:
    """What that folder lies in, in words, wherever it could be found out."""
    return str(_given() or tempfile.tempdir or "the folder for temporary files")


def _given() -> Path | None:
    given = os.environ.get("XDG_RUNTIME_DIR")
    return Path(given) if given and Path(given).is_dir() else None


def running(folder: Path) -> dict[str, Any]:
    """What the lab that is up has noted. LabError where none is."""
    claim = Runtime(folder)
    if claim.free():
        raise LabError("no lab is up; start one in another terminal with: ibcm-bridge lab up")
    return claim.read()


class Runtime:
    """A lab's claim to the folder. A context manager; AlreadyRunning while another has it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.files = folder / "lab"
        self._note = folder / "lab.json"
        self._noted: dict[str, Any] = {}
        self._lock: FileLock | None = None
        self.crashed = False
        """Whether something was found of a lab that had not ended properly."""

    def __enter__(self) -> Self:
        try:
            self._lock = FileLock(self.folder / "lock")
        except BlockingIOError:
            raise AlreadyRunning(self.read()) from None
        self.crashed = self._note.exists() or self.files.exists()
        self.clean()
        self.write({})
        return self

    def __exit__(self, *_: object) -> None:
        assert self._lock is not None
        try:
            self.clean()
        finally:
            self._lock.release()

    def free(self) -> bool:
        """Whether nobody has it."""
        try:
            FileLock(self.folder / "lock").release()
        except BlockingIOError:
            return False
        return True

    def write(self, note: Mapping[str, Any]) -> None:
        """Add to the note, which a second lab and `lab down` read. It is for the user alone."""
        self._noted |= {"pid": os.getpid(), **note}
        text = json.dumps(self._noted)
        new = self._note.with_suffix(".new")
        new.touch(mode=0o600)
        new.write_text(text, "utf-8")
        new.replace(self._note)

    def read(self) -> dict[str, Any]:
        """What was noted; empty where there is nothing (yet)."""
        try:
            note = json.loads(self._note.read_text("utf-8"))
        except (OSError, ValueError):
            return {}
        return note if isinstance(note, dict) else {}

    def clean(self) -> None:
        """Remove the lab's files, and namespaces that are left."""
        walls.remove(self.read().get(NAMESPACES, ()))
        deadline = time.monotonic() + REMOVE_SECONDS
        while self.files.exists():
            try:
                shutil.rmtree(self.files)
            except OSError:
                # A bridge that is about to end may still write its last line.
                if time.monotonic() > deadline:
                    raise
                time.sleep(0.1)
        self._note.unlink(missing_ok=True)
