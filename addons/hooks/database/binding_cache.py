"""Bindings that were read from the shared database, for a short time.

It has only bindings. A client GUID that was not bound is read again each time, because another
machine may have bound it since.

A binding that another machine changes is dropped when the database notifies this one. While no
notification can arrive, nothing is added, and all is dropped when they arrive again: one could be
missing. Meanwhile a binding stays for the rest of its time.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable

from ibcm_bridge.identity.bindings import Binding

MOST = 65_536
"""Bindings: about 60 MB. Without this limit, a site of 175,000 clients would take 160 MB."""

SECONDS = 60.0


class BindingCache:
    """Client GUID -> `Binding`."""

    def __init__(
        self, clock: Callable[[], float], *, most: int = MOST, seconds: float = SECONDS
    ) -> None:
        """`clock` in seconds; it never goes back."""
        self._clock = clock
        self._most = most
        self._seconds = seconds
        self._kept: dict[str, tuple[float, Binding]] = {}
        """With the time of the end; the oldest first."""
        self._listening = False
        self.stamp = 0
        """Another number after each notification."""

    def find(self, guid: str) -> Binding | None:
        """Return the binding; None if it is not here."""
        found = self._kept.get(guid)
        return found[1] if found is not None and self._clock() < found[0] else None

    def keep(self, bindings: Iterable[Binding], stamp: int) -> None:
        """Keep bindings that were read after `stamp` was.

        A change that was notified meanwhile can be newer than what was read.
        """
        if not self._listening or stamp != self.stamp:
            return
        end = self._clock() + self._seconds
        for binding in bindings:
            self._kept.pop(binding.guid, None)
            self._kept[binding.guid] = end, binding
        while len(self._kept) > self._most:
            del self._kept[next(iter(self._kept))]

    def drop(self, guid: str) -> None:
        """Drop a binding that was changed."""
        self.stamp += 1
        self._kept.pop(guid, None)

    def begin(self) -> None:
        """Keep bindings from now on: each later change is notified."""
        self.stamp += 1
        self._kept.clear()
        self._listening = True

    def end(self) -> None:
        """Keep no other bindings: a change is no longer notified."""
        self.stamp += 1
        self._listening = False
