"""Windows authentication of users (protocol.md 10).

NTLM and Negotiate authenticate a connection, so there is one `UserAuthentication` for each
connection, and its user stays until another authentication begins. The base installation has
`AnyUserAccepted`, and `AnyUserOfAConnection` for the conformance suite; `windows_authentication`
verifies users, and needs pyspnego. A simulated site system that verifies users accepts nobody
without it.
"""

from __future__ import annotations

import secrets
from typing import NamedTuple, Protocol

from ibcm_bridge.lab.protocol import ntlm

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
            AuthenticationStep(ntlm.USER)
            if authorization is not None
            else AuthenticationStep("", CHALLENGES)
        )


class AnyUserOfAConnection:
    """Binds any user to the connection, as IIS does, without accounts and passwords.

    `Negotiate` needs one message, as with a Kerberos ticket; `NTLM` the three of `ntlm`. It
    verifies that they arrive on one connection. Then the user is signed in on this connection, also
    for requests without Authorization, until another sign-in begins ([MS-NTHT] 1.3, RFC 4559 6).
    """

    def __init__(self) -> None:
        self._user = ""
        self._challenge: bytes | None = None

    def authenticate(self, authorization: str | None) -> AuthenticationStep:
        """Process a message, or return the user who is signed in."""
        if authorization is None:
            return AuthenticationStep(self._user, () if self._user else CHALLENGES)
        challenge, self._challenge, self._user = self._challenge, None, ""
        scheme, _, token = authorization.partition(" ")
        if scheme.lower() == "negotiate" and token:
            self._user = ntlm.USER
            return AuthenticationStep(self._user)
        try:
            if ntlm.is_first(authorization):
                self._challenge = secrets.token_bytes(ntlm.CHALLENGE_SIZE)
                second = ntlm.challenge(self._challenge)
                return AuthenticationStep("", (("WWW-Authenticate", second),))
            if challenge is not None and ntlm.is_third(authorization, challenge):
                self._user = ntlm.USER
                return AuthenticationStep(self._user)
        except ValueError:  # another scheme, or not a message of it
            pass
        return AuthenticationStep("", CHALLENGES)
