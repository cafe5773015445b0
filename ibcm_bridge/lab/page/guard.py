"""Whom the lab's page answers: who knows the token, by the page's own address, from no other page.

The page acts for whoever asks it, so any other page in the same browser must get nothing: it does
not know the token, a name of its own that leads to loopback (DNS rebinding) is not in `hosts`, and
what it makes the browser send says its origin.
"""

from __future__ import annotations

import secrets
from dataclasses import dataclass

TOKEN_HEADER = "X-Lab-Token"


@dataclass(frozen=True)
class Guard:
    """`hosts` are the values of Host that are the page's own."""

    token: str
    hosts: frozenset[str]

    @classmethod
    def of(cls, port: int) -> Guard:
        """With a new token, for a page on this port of loopback."""
        return cls(secrets.token_urlsafe(24), frozenset((f"127.0.0.1:{port}", f"localhost:{port}")))

    def refusal(self, host: str, origin: str | None, token: str) -> str:
        """Why a request gets no answer; empty where it does."""
        if host not in self.hosts:
            return "This page has no such name."
        if origin is not None and origin != f"http://{host}":
            return "This page answers no other."
        if not secrets.compare_digest(token.encode(), self.token.encode()):
            return "The token is missing or is not this lab's: use the address that it printed."
        return ""
