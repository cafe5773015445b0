"""Who is signed in on a connection of a stand-in (USER-WINDOWS-AUTH)."""

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
NOBODY = AuthenticationStep("", CHALLENGES)


@pytest.fixture(autouse=True)
def users() -> Iterator[None]:
    with ntlm_users({ALICE: PASSWORD}):
        yield


def client(password: str = PASSWORD) -> spnego.ContextProxy:
    options = spnego.NegotiateOptions.use_ntlm
    return spnego.client(ALICE, password, protocol="ntlm", options=options)


def user_authentication(
    here: WindowsAuthentication, who: spnego.ContextProxy
) -> AuthenticationStep:
    first = here.authenticate(ntlm(who.step()))
    ((name, value),) = first.fields
    assert (first.user, name) == ("", "WWW-Authenticate")
    return here.authenticate(ntlm(who.step(base64.b64decode(value.removeprefix("NTLM ")))))


def ntlm(token: bytes | None) -> str:
    return f"NTLM {base64.b64encode(token or b'').decode()}"


def test_without_pyspnego_whoever_says_something_is_believed() -> None:
    assert AnyUserAccepted().authenticate(None) == NOBODY
    assert AnyUserAccepted().authenticate("Negotiate bGFi").user


def test_a_connection_is_its_users_until_somebody_begins_anew() -> None:
    here = WindowsAuthentication()
    assert here.authenticate(None) == NOBODY
    assert user_authentication(here, client()) == AuthenticationStep(ALICE)
    assert here.authenticate(None) == AuthenticationStep(ALICE)
    # Another one who begins and does not end has thrown her out.
    assert here.authenticate(ntlm(client().step())).user == ""
    assert here.authenticate(None) == NOBODY


def test_another_password_is_nobodys() -> None:
    here = WindowsAuthentication()
    assert user_authentication(here, client("another")) == NOBODY
    assert here.authenticate(None) == NOBODY
    assert user_authentication(here, client()) == AuthenticationStep(ALICE), (
        "and may be tried again"
    )


@pytest.mark.parametrize(
    "said",
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
def test_what_is_no_token_is_nobodys(said: str) -> None:
    here = WindowsAuthentication()
    assert here.authenticate(said) == NOBODY
    assert user_authentication(here, client()) == AuthenticationStep(ALICE)
    assert here.authenticate(said) == NOBODY
    assert here.authenticate(None) == NOBODY


def test_the_last_message_alone_is_no_use_on_another_connection() -> None:
    here, there, who = WindowsAuthentication(), WindowsAuthentication(), client()
    ((_, value),) = here.authenticate(ntlm(who.step())).fields
    there.authenticate(ntlm(client().step()))
    last = ntlm(who.step(base64.b64decode(value.removeprefix("NTLM "))))
    assert there.authenticate(last) == NOBODY
    assert here.authenticate(last) == AuthenticationStep(ALICE)


def test_users_are_known_for_a_while_and_no_longer() -> None:
    with ntlm_users({"CORP\\bob": "x"}):
        assert user_authentication(WindowsAuthentication(), client()) == NOBODY
    assert user_authentication(WindowsAuthentication(), client()) == AuthenticationStep(ALICE)
