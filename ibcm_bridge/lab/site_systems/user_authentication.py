"""Windows authentication of users (protocol.md 10).

NTLM and Negotiate authenticate a connection, so there is one `UserAuthentication` for each
connection, and its user stays until another authentication begins. The base installation has
`AnyUserAccepted`; `windows_authentication` verifies users, and needs pyspnego. A simulated site
system that verifies users accepts nobody without it.
"""

from __future__ import annotations

from typing import NamedTuple, Protocol

CHALLENGES = (("WWW-Authenticate", "Negotiate"), ("WWW-Authenticate", "NTLM"))
"""The challenges of IIS: a field for each scheme."""


class AuthenticationStep(NamedTuple):
    """The result for a request; `user` is empty if no user is authenticated (yet)."""

    user: str
    fields: tuple[tuple[str, str], ...] = ()
    """Header fields of the response."""


class UserAuthentication(Protocol):
    """The authentication of one connection."""

    def authenticate(self, authorization: str | None) -> AuthenticationStep:
        """Process the Authorization field of a request."""


class NobodyAccepted:
    """Accepts no user."""

    def authenticate(self, _authorization: str | None) -> AuthenticationStep:
        """Return the challenges."""
        return AuthenticationStep("", CHALLENGES)


class AnyUserAccepted:
    """Accepts any Authorization field without verification."""

    def authenticate(self, authorization: str | None) -> AuthenticationStep:
        """Process each request separately; no state is stored."""
        return (
            AuthenticationStep("somebody")
            if authorization is not None
            else AuthenticationStep("", CHALLENGES)
        )
