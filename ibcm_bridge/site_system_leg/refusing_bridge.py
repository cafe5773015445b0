"""Whether a site system refuses the bridge itself: it responds with 403 to nearly every client.

IIS responds with 403 to a client certificate that it does not accept (403.7, 403.13, 403.16,
403.17), and the only one that it gets is the bridge's. The statuses are counted in windows of time.
"""

from __future__ import annotations

from collections.abc import Hashable

WINDOW_SECONDS = 300.0
RESPONSES = 10
"""The least number of 403s in a window."""
CLIENTS = 3
"""The least number of clients that got them, so that one client cannot cause it."""
SHARE = 0.9
"""The least share of 403s among the responses of a window."""
MOST_CLIENTS = 8
"""Clients that are remembered. More make no difference."""

_FORBIDDEN = 403


class ResponseCounts:
    """The statuses of one site system's responses."""

    __slots__ = ("_began", "_clients", "_forbidden", "_total", "refuses_bridge")

    def __init__(self) -> None:
        self.refuses_bridge = False
        self._began = float("-inf")
        self._total = 0
        self._forbidden = 0
        self._clients = set[Hashable]()

    def count(self, status: int, client: Hashable, now: float) -> bool:
        """Count a response. Return whether `refuses_bridge` has changed.

        `now` is in seconds, by a clock that never goes back.
        """
        if now - self._began >= WINDOW_SECONDS:
            self._began, self._total, self._forbidden = now, 0, 0
            self._clients.clear()
        self._total += 1
        if status == _FORBIDDEN:
            self._forbidden += 1
            if len(self._clients) < MOST_CLIENTS:
                self._clients.add(client)
        elif not self.refuses_bridge:
            return False
        return self._judge()

    def _judge(self) -> bool:
        before = self.refuses_bridge
        if before:
            # Not the reverse of the other condition, so that it does not change all the time.
            self.refuses_bridge = self._total < RESPONSES or self._forbidden * 2 >= self._total
        else:
            self.refuses_bridge = (
                self._forbidden >= max(RESPONSES, SHARE * self._total)
                and len(self._clients) >= CLIENTS
            )
        return self.refuses_bridge is not before
