"""Where processes publish their snapshots."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from ibcm_bridge.addons.operations.numbers import Snapshot


class Board(Protocol):
    """The snapshots of all processes that serve clients."""

    def publish(self, snapshot: Snapshot) -> None:
        """Replace the snapshot of this process."""

    def all(self) -> Sequence[Snapshot | None]:
        """Return the last snapshot of each process, also of one that has ended."""

    def before(self) -> Snapshot | None:
        """Return the last snapshot of the process that this one replaces."""


class OwnBoard:
    """The board of a process that serves alone."""

    def __init__(self) -> None:
        self._snapshot: Snapshot | None = None

    def publish(self, snapshot: Snapshot) -> None:
        """Keep the snapshot."""
        self._snapshot = snapshot

    def all(self) -> list[Snapshot | None]:
        """Return the only snapshot."""
        return [self._snapshot]

    def before(self) -> None:
        """There was no other process."""
