"""How a stand-in learns who the user is: by Windows authentication (protocol.md 10).

NTLM and Negotiate authenticate a connection. So a stand-in has one `UserAuthentication` for each
connection, and its user stays until another authentication begins. `AnyUserAccepted` is what the
base install has; `windows_authentication` is the real one, and needs pyspnego.
"""

from __future__ import annotations

from typing import NamedTuple, Protocol

CHALLENGES = (("WWW-Authenticate", "Negotiate"), ("WWW-Authenticate", "NTLM"))
"""As IIS asks: a field for each way."""


class AuthenticationStep(NamedTuple):
    """What becomes of a request: `user` is empty where nobody is signed in (yet)."""

    user: str
    fields: tuple[tuple[str, str], ...] = ()
    """Of the response."""


class UserAuthentication(Protocol):
    """Of one connection."""

    def authenticate(self, authorization: str | None) -> AuthenticationStep:
        """Go on with what a request says of its user."""


class AnyUserAccepted:
    """Accepts any Authorization field without verification."""

    def authenticate(self, authorization: str | None) -> AuthenticationStep:
        """With each request, since this is no authentication of a connection either."""
        return (
            AuthenticationStep("somebody")
            if authorization is not None
            else AuthenticationStep("", CHALLENGES)
        )
