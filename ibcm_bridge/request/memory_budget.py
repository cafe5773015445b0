"""A memory budget that all connections share."""

from __future__ import annotations

ANONYMOUS_PART = 4
"""Anonymous clients may hold at most a quarter, so that they cannot block authenticated ones."""


class Budget:
    """The limit in bytes, and the bytes that all clients and anonymous clients hold."""

    def __init__(self, limit: int) -> None:
        self.limit = limit
        self.held = 0
        self.held_by_anonymous = 0

    def has_room(self, more: int, *, anonymous: bool) -> bool:
        """Return whether a client may hold `more` further bytes."""
        if anonymous and self.held_by_anonymous + more > self.limit // ANONYMOUS_PART:
            return False
        return self.held + more <= self.limit


class Hold:
    """The bytes that one connection holds. They are released when the connection ends."""

    def __init__(self, budget: Budget) -> None:
        self._budget = budget
        self._bytes = 0
        self._anonymous = False
        self._ended = False

    def count_as_anonymous(self) -> None:
        """Count these bytes as held by an anonymous client from now on."""
        if not self._anonymous:
            self._anonymous = True
            self._budget.held_by_anonymous += self._bytes

    def change(self, to: int) -> bool:
        """Hold `to` bytes from now on. Return False and change nothing if the limit is reached."""
        if self._ended:
            # Nothing would release these bytes. Code that still runs holds them only briefly.
            return True
        more = to - self._bytes
        if more > 0 and not self._budget.has_room(more, anonymous=self._anonymous):
            return False
        self._budget.held += more
        if self._anonymous:
            self._budget.held_by_anonymous += more
        self._bytes = to
        return True

    def end(self) -> None:
        """Release all bytes. Later changes have no effect."""
        self.change(0)
        self._ended = True
