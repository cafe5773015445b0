"""Writes the files of an export."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path


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
