"""Whether the file that keeps what client GUIDs are bound to can be used: for `check`."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

from ibcm_bridge.commands.check.findings import Finding, Level
from ibcm_bridge.storage.binding_registry import Registry, RegistryError

_WHERE = "messages.bindings"


def check_bindings(file: Path | None) -> Iterator[Finding]:
    """What would keep a bridge from starting. Makes no file."""
    if file is None:
        return
    # Whether a file is there cannot be asked in a folder that may not be searched.
    if not os.access(file.parent, os.X_OK) or not file.exists():
        if not os.access(file.parent, os.W_OK | os.X_OK):
            text = f"{file} cannot be made: its folder cannot be written"
            yield Finding(Level.PROBLEM, _WHERE, text, "BRIDGE-IDENTITY")
        return
    try:
        Registry(file).close()
    except RegistryError as error:
        yield Finding(Level.PROBLEM, _WHERE, str(error), "BRIDGE-IDENTITY")
