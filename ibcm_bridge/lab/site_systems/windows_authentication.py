"""Windows authentication by pyspnego: NTLM, and Negotiate with Kerberos or NTLM (protocol.md 10).

How it works:

1. A request without Authorization gets a 401 with both challenges (RFC 4559 section 4).
2. `NTLM` needs three messages on one connection ([MS-NLMP] section 1.3.1.1), `Negotiate` one with a
   Kerberos ticket, or three with NTLM. Each connection has a separate `WindowsAuthentication`.
3. Then the user is authenticated for the connection, also for requests without Authorization, until
   another authentication begins.

The NTLM users are in a file that pyspnego finds by the variable NTLM_USER_FILE (`ntlm_users`). The
Kerberos keys are in a keytab that MIT's library finds by KRB5_KTNAME; Kerberos needs an extra of
pyspnego. Without them there is only NTLM, as without a reachable domain controller. There is no
channel binding: Extended Protection must be off behind any bridge (docs/policy-file.md).
"""

from __future__ import annotations

import base64
import os
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import spnego

from ibcm_bridge.lab.site_systems.user_authentication import CHALLENGES, AuthenticationStep

_SCHEMES = {
    "ntlm": ("ntlm", spnego.NegotiateOptions.use_ntlm),
    "negotiate": ("negotiate", spnego.NegotiateOptions.use_negotiate),
}
"""Scheme of Authorization -> protocol, and the option to use pyspnego's own implementation, not the
GSSAPI of the machine."""


class WindowsAuthentication:
    """The authentication of one connection."""

    def __init__(self) -> None:
        self._user = ""
        self._scheme = ""
        self._context: spnego.ContextProxy | None = None

    def authenticate(self, authorization: str | None) -> AuthenticationStep:
        """Process a token, or return the authenticated user."""
        if authorization is None:
            return AuthenticationStep(self._user, () if self._user else CHALLENGES)
        scheme, _, token = authorization.partition(" ")
        self._user = ""
        try:
            return self._step(scheme.lower(), base64.b64decode(token, validate=True))
        except Exception:
            # Wrong password, unknown user, replayed ticket, no token: the client does not learn
            # which. pyspnego and python-gssapi raise many types of errors.
            self._context = None
            return AuthenticationStep("", CHALLENGES)

    def _step(self, scheme: str, token: bytes) -> AuthenticationStep:
        if self._context is None or self._context.complete or scheme != self._scheme:
            protocol, options = _SCHEMES[scheme]
            self._context = spnego.server(service="HTTP", protocol=protocol, options=options)
            self._scheme = scheme
        response_token = self._context.step(token)
        if self._context.complete:
            self._user = self._context.client_principal or ""
        written = base64.b64encode(response_token or b"").decode()
        fields = (
            (("WWW-Authenticate", f"{_SCHEME_NAMES[scheme]} {written}"),) if response_token else ()
        )
        return AuthenticationStep(self._user, fields)


_SCHEME_NAMES = {"ntlm": "NTLM", "negotiate": "Negotiate"}


@contextmanager
def ntlm_users(passwords: Mapping[str, str]) -> Iterator[None]:
    r"""Accept these users (`CORP\alice`) by NTLM in this process, within the context."""
    before = os.environ.get("NTLM_USER_FILE")
    with tempfile.TemporaryDirectory(prefix="ibcm-bridge-users-") as directory:
        file = Path(directory) / "users"
        file.touch(mode=0o600)
        lines = (
            f"{user.replace(chr(92), ':')}:{password}\n" for user, password in passwords.items()
        )
        file.write_text("".join(lines), "utf-8")
        os.environ["NTLM_USER_FILE"] = str(file)
        try:
            yield
        finally:
            os.environ.pop("NTLM_USER_FILE")
            if before is not None:
                os.environ["NTLM_USER_FILE"] = before
