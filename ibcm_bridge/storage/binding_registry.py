"""The bindings in a SQLite file that several bridges and the command line share."""

from __future__ import annotations

from pathlib import Path

from ibcm_bridge.storage.binding_rows import TABLE
from ibcm_bridge.storage.binding_table import BindingTable
from ibcm_bridge.storage.database import DatabaseError, DatabaseKind, SharedDatabase
from ibcm_bridge.storage.statements import BindingStatements

APPLICATION = 0x6962636D
"""SQLite's application_id in the file header: "ibcm"."""

_FIND = "SELECT * FROM bindings WHERE guid = ?"

_STATEMENTS = BindingStatements(
    find=_FIND,
    # A transaction of `SharedDatabase` is alone.
    find_to_change=_FIND,
    page_after="SELECT * FROM bindings WHERE guid > ? ORDER BY guid LIMIT ?",
    add="INSERT INTO bindings VALUES (?, ?, ?, ?, ?, ?, ?) ON CONFLICT DO NOTHING",
    change="REPLACE INTO bindings VALUES (?, ?, ?, ?, ?, ?, ?)",
    forget="DELETE FROM bindings WHERE guid = ?",
)


class RegistryError(DatabaseError):
    """The bindings cannot be used. The message has their place and the cause; nothing changed."""


_KIND = DatabaseKind("the registry in memory", APPLICATION, 1, (TABLE,), error=RegistryError)


def no_registry(path: Path) -> str | None:
    """Return why a bridge that enforces bindings must not start with this file; None if it may.

    With a new file, every client GUID is unbound, and another client could take it. A file that
    cannot be opened has a better error (`Registry`).
    """
    try:
        if path.stat().st_size:
            return None
        what = "is empty"
    except FileNotFoundError:
        what = "does not exist"
    except OSError:
        return None
    return (
        f"{path} {what}: with identity: enforce, a new file would release every client GUID that "
        "was bound; restore it, or run: ibcm-bridge identity init --config FILE"
    )


class Registry(BindingTable):
    """The bindings in a file. For one thread at a time. Every method raises RegistryError."""

    def __init__(self, path: Path | None) -> None:
        """Open the file, or create it, readable only by its owner. None: in memory."""
        self.path = path
        super().__init__(SharedDatabase(path, _KIND), _STATEMENTS)
