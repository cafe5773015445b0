"""The client's next step after a refusal: give up, or try again."""

from __future__ import annotations

from enum import Enum


class NextStep(Enum):
    """The next step in general; `role_clients` has the details for each role."""

    GIVES_UP = "gives up"
    TRIES_AGAIN = "tries again"
    STARTS_OVER = "starts over"
    GOES_ON = "goes on"
    CANNOT_CONNECT = "cannot connect"

    @property
    def short(self) -> str:
        """A phrase with "the client" as its subject."""
        return self.value
