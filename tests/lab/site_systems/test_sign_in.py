"""Who is signed in on a connection of a stand-in (USER-WINDOWS-AUTH)."""

from __future__ import annotations

import base64
from collections.abc import Iterator

import pytest
import spnego

from ibcm_bridge.lab.site_systems.sign_in import WHO_ARE_YOU, Believed, Heard
from ibcm_bridge.lab.site_systems.windows_sign_in import WindowsSignIn, ntlm_users

ALICE, PASSWORD = "CORP\\alice", "Lab-Password-of-Alice-1"
NOBODY = Heard("", WHO_ARE_YOU)


@pytest.fixture(autouse=True)
def users() -> Iterator[None]:
    with ntlm_users({ALICE: PASSWORD}):
        yield


def client(password: str = PASSWORD) -> spnego.ContextProxy:
    options = spnego.NegotiateOptions.use_ntlm
    return spnego.client(ALICE, password, protocol="ntlm", options=options)


def sign_in(here: WindowsSignIn, who: spnego.ContextProxy) -> Heard:
    first = here.hear(ntlm(who.step()))
    ((name, value),) = first.fields
    assert (first.user, name) == ("", "WWW-Authenticate")
    return here.hear(ntlm(who.step(base64.b64decode(value.removeprefix("NTLM ")))))


def ntlm(token: bytes | None) -> str:
    return f"NTLM {base64.b64encode(token or b'').decode()}"


def test_without_pyspnego_whoever_says_something_is_believed() -> None:
    assert Believed().hear(None) == NOBODY
    assert Believed().hear("Negotiate bGFi").user


def test_a_connection_is_its_users_until_somebody_begins_anew() -> None:
    here = WindowsSignIn()
    assert here.hear(None) == NOBODY
    assert sign_in(here, client()) == Heard(ALICE)
    assert here.hear(None) == Heard(ALICE)
    # Another one who begins and does not end has thrown her out.
    assert here.hear(ntlm(client().step())).user == ""
    assert here.hear(None) == NOBODY


def test_another_password_is_nobodys() -> None:
    here = WindowsSignIn()
    assert sign_in(here, client("another")) == NOBODY
    assert here.hear(None) == NOBODY
    assert sign_in(here, client()) == Heard(ALICE), "and may be tried again"


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
    here = WindowsSignIn()
    assert here.hear(said) == NOBODY
    assert sign_in(here, client()) == Heard(ALICE)
    assert here.hear(said) == NOBODY
    assert here.hear(None) == NOBODY


def test_the_last_message_alone_is_no_use_on_another_connection() -> None:
    here, there, who = WindowsSignIn(), WindowsSignIn(), client()
    ((_, value),) = here.hear(ntlm(who.step())).fields
    there.hear(ntlm(client().step()))
    last = ntlm(who.step(base64.b64decode(value.removeprefix("NTLM "))))
    assert there.hear(last) == NOBODY
    assert here.hear(last) == Heard(ALICE)


def test_users_are_known_for_a_while_and_no_longer() -> None:
    with ntlm_users({"CORP\\bob": "x"}):
        assert sign_in(WindowsSignIn(), client()) == NOBODY
    assert sign_in(WindowsSignIn(), client()) == Heard(ALICE)
