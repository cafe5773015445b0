"""Checks that the bridge can use the file of client GUID bindings."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

from ibcm_bridge.commands.check.findings import Finding, Level
from ibcm_bridge.storage.binding_registry import Registry, RegistryError

_WHERE = "messages.bindings"


def check_bindings(file: Path | None) -> Iterator[Finding]:
    """Problems that would prevent a start. Creates no file."""
    if file is None:
        return
    # `exists` raises in a folder without search permission.
    if not os.access(file.parent, os.X_OK) or not file.exists():
        if not os.access(file.parent, os.W_OK | os.X_OK):
            text = f"cannot create {file}: its folder is not writable"
            yield Finding(Level.PROBLEM, _WHERE, text, "BRIDGE-IDENTITY")
        return
    try:
        Registry(file).close()
    except RegistryError as error:
        yield Finding(Level.PROBLEM, _WHERE, str(error), "BRIDGE-IDENTITY")
