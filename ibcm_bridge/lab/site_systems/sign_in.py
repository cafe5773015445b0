"""How a stand-in learns who the user is: by Windows authentication (protocol.md 10).

NTLM and Negotiate authenticate a connection. So a stand-in has one `SignIn` for each connection,
and whoever is signed in there stays so until somebody begins anew. `Believed` is what the base
install has; `windows_sign_in` has the real thing, and needs pyspnego.
"""

from __future__ import annotations

from typing import NamedTuple, Protocol

WHO_ARE_YOU = (("WWW-Authenticate", "Negotiate"), ("WWW-Authenticate", "NTLM"))
"""As IIS asks: a field for each way."""


class Heard(NamedTuple):
    """What becomes of a request: `user` is empty where nobody is signed in (yet)."""

    user: str
    fields: tuple[tuple[str, str], ...] = ()
    """Of the answer."""


class SignIn(Protocol):
    """Of one connection."""

    def hear(self, authorization: str | None) -> Heard:
        """Go on with what a request says of its user."""


class Believed:
    """Whatever comes as Authorization is believed: nobody has proved anything."""

    def hear(self, authorization: str | None) -> Heard:
        """With each request, since this is no authentication of a connection either."""
        return Heard("somebody") if authorization is not None else Heard("", WHO_ARE_YOU)
