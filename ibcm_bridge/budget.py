"""One budget of bytes that many connections hold parts of."""

from __future__ import annotations


class Budget:
    """How many bytes may be held, and how many are."""

    def __init__(self, limit: int) -> None:
        self.limit = limit
        self.held = 0


class Hold:
    """One connection's part. It is returned whole when the connection ends."""

    def __init__(self, budget: Budget) -> None:
        self._budget = budget
        self._bytes = 0
        self._ended = False

    def change(self, to: int) -> bool:
        """Hold that many bytes from now on; False, and nothing changed, where that is too much."""
        if self._ended:
            # Whoever is still at it holds nothing for long, and nobody would return it.
            return True
        more = to - self._bytes
        if more > 0 and self._budget.held + more > self._budget.limit:
            return False
        self._budget.held += more
        self._bytes = to
        return True

    def end(self) -> None:
        """Return everything, for good."""
        self.change(0)
        self._ended = True
