r"""The user of a client, who gets user policy after Windows authentication (USER-WINDOWS-AUTH).

1. Two client settings decide whether the client requests user policy at all.
2. The request goes to a directory with Windows authentication, on a separate connection: the
   authentication is valid for a connection (protocol.md 10).
3. After a 401, the client authenticates by Negotiate: by Kerberos if there is a ticket, and by NTLM
   automatically if that fails. Each message repeats the request.

It needs pyspnego, and for Kerberos its extra (`ibcm-bridge[kerberos]`).
"""

from __future__ import annotations

import base64
import binascii
import time
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING

from ibcm_bridge.lab.clients.life_cycle import run_steps
from ibcm_bridge.lab.clients.user_policy import user_policy_steps
from ibcm_bridge.lab.protocol.client import LabClient, Request, Response
from ibcm_bridge.lab.simulated.client import ActionResult, Result, SimulatedClient
from ibcm_bridge.lab.simulated.connections import CONNECTION_ERRORS

if TYPE_CHECKING:
    import spnego

_MAX_MESSAGES = 4
"""Kerberos needs one message, NTLM two."""


@dataclass(frozen=True)
class ClientSettings:
    """The two client settings of the group *Client Policy* for user policy."""

    user_policy: bool = True
    """Enable user policy on clients."""
    internet_user_policy: bool = True
    """Enable user policy requests from Internet clients."""

    def why_not(self, *, on_internet: bool) -> str:
        """Return the setting that prevents a request for user policy; empty if none does."""
        if not self.user_policy:
            return "Enable user policy on clients: No"
        if on_internet and not self.internet_user_policy:
            return "Enable user policy requests from Internet clients: No"
        return ""


BOTH_ON = ClientSettings()


@dataclass(frozen=True)
class UserAccount:
    r"""A user, such as CORP\alice, with what the user has to authenticate."""

    name: str
    password: str | None = field(default=None, repr=False)
    """For NTLM; None: Kerberos only."""
    tickets: Path | None = None
    """The ticket cache; None: NTLM only."""


def request_user_policy(
    client: SimulatedClient, account: UserAccount, settings: ClientSettings, by: str | None
) -> Iterator[ActionResult]:
    """Request the policy of the client's user.

    A response is GOOD only if the user authenticated `by` "Kerberos" or "NTLM"; None: by either.
    """
    network = client.network.name
    if why_not := settings.why_not(on_internet=client.network.on_internet):
        text = f"not requested; {why_not}"
        yield ActionResult(network, "", "user policy request", text, Result.AS_REQUIRED, 0.0)
        return
    steps, completed, began = user_policy_steps(account.name), 0, time.perf_counter()
    name = ""
    try:
        host = client.management_point()
        name = host[0]
        with closing(client.network.client(host, client.credential)) as connection:
            session = _Session(connection, name, account)
            for step in run_steps(session.send, client.device, steps):
                completed += 1
                good = step.good and by in (None, session.protocol)
                response = f"{step.response.status} {step.response.reason}{session.authenticated}"
                seconds = time.perf_counter() - began
                action = ActionResult(network, name, step.step.name, response, Result.GOOD, seconds)
                yield action if good else action.failed_by(step.response)
                began = time.perf_counter()
    except CONNECTION_ERRORS as why:
        action = ActionResult(network, name, steps[completed].name, str(why), Result.FAILED, 0.0)
        yield action.failed_for(why)


class _Session:
    """The authentication of one connection; `protocol` is empty before it is complete."""

    def __init__(self, connection: LabClient, host: str, account: UserAccount) -> None:
        self._connection = connection
        self._host = host
        self._account = account
        self.protocol = ""

    @property
    def authenticated(self) -> str:
        return f" by {self.protocol}" if self.protocol else ""

    def send(self, request: Request) -> Response:
        """Send a request, and authenticate if the response requires it."""
        response = self._connection.send(request)
        if response.status != 401 or _token(response) is None:
            return response
        return self._authenticate(request, response)

    def _authenticate(self, request: Request, response: Response) -> Response:
        import spnego  # noqa: PLC0415 - optional
        from spnego.exceptions import SpnegoError  # noqa: PLC0415

        self.protocol = ""
        credentials = _credentials(self._account)
        if not credentials:
            # pyspnego would take those of the user who runs this command.
            return response
        heard: bytes | None = None
        try:
            context = spnego.client(
                credentials,
                hostname=self._host,
                service="HTTP",
                protocol="negotiate",
                options=spnego.NegotiateOptions.use_negotiate,
            )
            for _ in range(_MAX_MESSAGES):
                said = context.step(heard)
                if said is None:
                    break
                written = f"Negotiate {base64.b64encode(said).decode()}"
                fields = (*request.headers, ("Authorization", written))
                response = self._connection.send(replace(request, headers=fields))
                heard = _token(response)
                if not heard:
                    break
            if heard and not context.complete:
                # The last message of the site system proves that it has the key of its name.
                context.step(heard)
        except SpnegoError:
            # Neither a ticket nor a password: the client has nothing more to say.
            return response
        if response.status != 401 and context.complete:
            self.protocol = _PROTOCOLS[context.negotiated_protocol or ""]
        return response


_PROTOCOLS = {"kerberos": "Kerberos", "ntlm": "NTLM", "": ""}


type _Credential = (
    spnego.CredentialCache
    | spnego.KerberosCCache
    | spnego.KerberosKeytab
    | spnego.NTLMHash
    | spnego.Password
)


def _credentials(account: UserAccount) -> list[_Credential]:
    import spnego  # noqa: PLC0415 - optional

    found: list[_Credential] = []
    if account.tickets is not None:
        found.append(spnego.KerberosCCache(f"FILE:{account.tickets}"))
    if account.password is not None:
        found.append(spnego.Password(account.name, account.password))
    return found


def _token(response: Response) -> bytes | None:
    """Return the token of the Negotiate challenge; empty for the first, None if there is none."""
    for name, value in response.headers:
        scheme, _, token = value.partition(" ")
        if name.lower() == "www-authenticate" and scheme.lower() == "negotiate":
            try:
                return base64.b64decode(token, validate=True)
            except binascii.Error:
                return None
    return None
