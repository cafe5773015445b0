"""Checks that the bridge can use the file of client GUID bindings."""

from __future__ import annotations

import os
from collections.abc import Iterator

from ibcm_bridge.commands.check.findings import Finding, Level
from ibcm_bridge.policy.message_policy import Enforcement, MessagePolicy
from ibcm_bridge.storage.binding_registry import Registry, RegistryError, no_registry

_WHERE = "messages.bindings"


def check_bindings(messages: MessagePolicy) -> Iterator[Finding]:
    """Problems that would prevent a start. Creates no file."""
    file = messages.bindings_file
    if file is None:
        return
    if messages.identity is Enforcement.ENFORCE and (why_not := no_registry(file)) is not None:
        yield Finding(Level.PROBLEM, _WHERE, why_not, "BRIDGE-IDENTITY")
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
