"""What a client does after a refusal: give up, or try again."""

from __future__ import annotations

from enum import Enum


class NextStep(Enum):
    """What becomes of what was asked; `role_clients` says by role what that means."""

    GIVES_UP = "gives up"
    TRIES_AGAIN = "tries again"
    STARTS_OVER = "starts over"
    GOES_ON = "goes on"
    CANNOT_CONNECT = "cannot connect"

    @property
    def short(self) -> str:
        """In words, after "the client"."""
        return self.value
