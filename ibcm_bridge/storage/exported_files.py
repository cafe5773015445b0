"""Writes the files of an export, and finds the program that reads them."""

from __future__ import annotations

import os
import shutil
import sysconfig
from collections.abc import Iterable, Mapping
from pathlib import Path

_MORE_PLACES = os.pathsep.join(
    # The second is for Envoy, which has a Python package.
    (os.defpath, sysconfig.get_path("scripts"), "/usr/local/sbin", "/usr/sbin", "/sbin")
)


def find_program(names: Iterable[str]) -> str | None:
    """Return the path of a proxy's program, which has one of these names; None without it."""
    found = (shutil.which(name) or shutil.which(name, path=_MORE_PLACES) for name in names)
    return next(filter(None, found), None)


def write_files(files: Mapping[Path, bytes], folder: Path) -> None:
    """Write the files of an export to its folder, readable only by their owner. OSError."""
    # The proxy's unprivileged processes reach sockets and logs in it, but cannot list it.
    folder.mkdir(mode=0o711, parents=True, exist_ok=True)
    for path, content in files.items():
        new = path.with_name(f"{path.name}.new")
        new.unlink(missing_ok=True)
        new.touch(mode=0o600)
        new.write_bytes(content)
        new.replace(path)
