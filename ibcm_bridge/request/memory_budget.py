"""One budget of bytes that many connections hold parts of."""

from __future__ import annotations

ANONYMOUS_PART = 4
"""Clients that nobody has authenticated may hold a quarter: they must not keep out the others."""


class Budget:
    """How many bytes may be held, and how many are, by all and by anonymous clients."""

    def __init__(self, limit: int) -> None:
        self.limit = limit
        self.held = 0
        self.held_by_anonymous = 0

    def has_room(self, more: int, *, anonymous: bool) -> bool:
        """Whether so many bytes more may be held."""
        if anonymous and self.held_by_anonymous + more > self.limit // ANONYMOUS_PART:
            return False
        return self.held + more <= self.limit


class Hold:
    """One connection's part. It is returned whole when the connection ends."""

    def __init__(self, budget: Budget) -> None:
        self._budget = budget
        self._bytes = 0
        self._anonymous = False
        self._ended = False

    def count_as_anonymous(self) -> None:
        """From now on it comes out of the anonymous clients' part."""
        if not self._anonymous:
            self._anonymous = True
            self._budget.held_by_anonymous += self._bytes

    def change(self, to: int) -> bool:
        """Hold that many bytes from now on; False, and nothing changed, where that is too much."""
        if self._ended:
            # Whoever is still at it holds nothing for long, and nobody would return it.
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
        """Return everything, for good."""
        self.change(0)
        self._ended = True
