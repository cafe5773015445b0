"""Access control of the lab's page: a token, the page's own Host, and no other origin.

Other web pages in the same browser must not control the lab. They do not know the token. A foreign
name that resolves to loopback (DNS rebinding) is not in `hosts`. A cross-origin request has an
Origin field.
"""

from __future__ import annotations

import secrets
from dataclasses import dataclass

TOKEN_HEADER = "X-Lab-Token"


@dataclass(frozen=True)
class Guard:
    """`hosts` are the accepted values of the Host field."""

    token: str
    hosts: frozenset[str]

    @classmethod
    def of(cls, port: int) -> Guard:
        """Return a guard with a new token, for a page on this loopback port."""
        return cls(secrets.token_urlsafe(24), frozenset((f"127.0.0.1:{port}", f"localhost:{port}")))

    def refusal(self, host: str, origin: str | None, token: str) -> str:
        """Return why a request is refused; empty if it is allowed."""
        if host not in self.hosts:
            return "The Host field is not the address of this page."
        if origin is not None and origin != f"http://{host}":
            return "Requests from other origins are refused."
        if not secrets.compare_digest(token.encode(), self.token.encode()):
            return "The token is missing or wrong; open the address that `lab up` printed."
        return ""
