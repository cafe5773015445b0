"""The authenticated user of a connection (USER-WINDOWS-AUTH)."""

from __future__ import annotations

import base64
from collections.abc import Iterator

import pytest
import spnego

from ibcm_bridge.lab.site_systems.user_authentication import (
    CHALLENGES,
    AnyUserAccepted,
    AuthenticationStep,
)
from ibcm_bridge.lab.site_systems.windows_authentication import WindowsAuthentication, ntlm_users

ALICE, PASSWORD = "CORP\\alice", "Lab-Password-of-Alice-1"
UNAUTHENTICATED = AuthenticationStep("", CHALLENGES)


@pytest.fixture(autouse=True)
def users() -> Iterator[None]:
    with ntlm_users({ALICE: PASSWORD}):
        yield


def client(password: str = PASSWORD) -> spnego.ContextProxy:
    options = spnego.NegotiateOptions.use_ntlm
    return spnego.client(ALICE, password, protocol="ntlm", options=options)


def authenticate_with(here: WindowsAuthentication, who: spnego.ContextProxy) -> AuthenticationStep:
    first = here.authenticate(ntlm(who.step()))
    ((name, value),) = first.fields
    assert (first.user, name) == ("", "WWW-Authenticate")
    return here.authenticate(ntlm(who.step(base64.b64decode(value.removeprefix("NTLM ")))))


def ntlm(token: bytes | None) -> str:
    return f"NTLM {base64.b64encode(token or b'').decode()}"


def test_without_pyspnego_any_authorization_is_accepted() -> None:
    assert AnyUserAccepted().authenticate(None) == UNAUTHENTICATED
    assert AnyUserAccepted().authenticate("Negotiate bGFi").user


def test_a_user_stays_until_another_authentication_begins() -> None:
    here = WindowsAuthentication()
    assert here.authenticate(None) == UNAUTHENTICATED
    assert authenticate_with(here, client()) == AuthenticationStep(ALICE)
    assert here.authenticate(None) == AuthenticationStep(ALICE)
    # An incomplete authentication ends the previous one.
    assert here.authenticate(ntlm(client().step())).user == ""
    assert here.authenticate(None) == UNAUTHENTICATED


def test_a_wrong_password_is_refused() -> None:
    here = WindowsAuthentication()
    assert authenticate_with(here, client("another")) == UNAUTHENTICATED
    assert here.authenticate(None) == UNAUTHENTICATED
    assert authenticate_with(here, client()) == AuthenticationStep(ALICE), (
        "and another attempt is allowed"
    )


@pytest.mark.parametrize(
    "authorization",
    [
        "",
        "NTLM",
        "NTLM %%%",
        "NTLM bGFi",
        "Negotiate bGFi",
        "Negotiate YIIBAAYGKwYBBQUC",
        "Basic YWxpY2U6TGFi",
        "Kerberos bGFi",
        "NTLM " + base64.b64encode(b"NTLMSSP\0\3\0\0\0").decode(),
    ],
)
def test_an_invalid_token_is_refused(authorization: str) -> None:
    here = WindowsAuthentication()
    assert here.authenticate(authorization) == UNAUTHENTICATED
    assert authenticate_with(here, client()) == AuthenticationStep(ALICE)
    assert here.authenticate(authorization) == UNAUTHENTICATED
    assert here.authenticate(None) == UNAUTHENTICATED


def test_the_last_message_is_refused_on_another_connection() -> None:
    here, there, who = WindowsAuthentication(), WindowsAuthentication(), client()
    ((_, value),) = here.authenticate(ntlm(who.step())).fields
    there.authenticate(ntlm(client().step()))
    last = ntlm(who.step(base64.b64decode(value.removeprefix("NTLM "))))
    assert there.authenticate(last) == UNAUTHENTICATED
    assert here.authenticate(last) == AuthenticationStep(ALICE)


def test_users_are_accepted_only_within_the_context() -> None:
    with ntlm_users({"CORP\\bob": "x"}):
        assert authenticate_with(WindowsAuthentication(), client()) == UNAUTHENTICATED
    assert authenticate_with(WindowsAuthentication(), client()) == AuthenticationStep(ALICE)
