"""A sign-in of the conformance suite's site systems belongs to one connection."""

from __future__ import annotations

import pytest

from ibcm_bridge.lab.protocol import ntlm
from ibcm_bridge.lab.site_systems.user_authentication import (
    CHALLENGES,
    AnyUserOfAConnection,
    AuthenticationStep,
)

SIGNED_IN = AuthenticationStep(ntlm.USER)
NOBODY = AuthenticationStep("", CHALLENGES)


def third_message(here: AnyUserOfAConnection) -> str:
    first = here.authenticate(ntlm.negotiate())
    ((name, second),) = first.fields
    assert (first.user, name) == ("", "WWW-Authenticate")
    return ntlm.authenticate(second)


def test_the_three_messages_sign_in_the_connection() -> None:
    here = AnyUserOfAConnection()
    assert here.authenticate(None) == NOBODY
    assert here.authenticate(third_message(here)) == SIGNED_IN
    assert here.authenticate(None) == here.authenticate(None) == SIGNED_IN
    # Another sign-in ends the first one.
    third_message(here)
    assert here.authenticate(None) == NOBODY


def test_a_third_message_is_valid_once_and_on_its_connection() -> None:
    here, there = AnyUserOfAConnection(), AnyUserOfAConnection()
    third = third_message(here)
    third_message(there)
    assert there.authenticate(third) == NOBODY
    assert here.authenticate(third) == SIGNED_IN
    assert here.authenticate(third) == NOBODY
    assert AnyUserOfAConnection().authenticate(third) == NOBODY


def test_a_ticket_signs_in_the_connection() -> None:
    here = AnyUserOfAConnection()
    assert here.authenticate("Negotiate bGFi") == SIGNED_IN
    assert here.authenticate(None) == SIGNED_IN


@pytest.mark.parametrize(
    "value", ["Basic bGFiOmxhYg==", "Negotiate", "NTLM", "NTLM bGFi", "NTLM =", ""]
)
def test_nothing_else_signs_in(value: str) -> None:
    here = AnyUserOfAConnection()
    third_message(here)
    assert here.authenticate(value) == NOBODY
    assert here.authenticate(None) == NOBODY


@pytest.mark.parametrize("second", ["", "NTLM", ntlm.negotiate(), ntlm.challenge(b"short")])
def test_a_client_refuses_another_second_message(second: str) -> None:
    with pytest.raises(ValueError, match="not a"):
        ntlm.authenticate(second)
