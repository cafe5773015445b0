"""What becomes of a request whose kept leg the site system closes as it comes."""

from __future__ import annotations

import pytest

from ibcm_bridge.decisions.client_reaction import NextStep
from ibcm_bridge.decisions.denial import Reason
from ibcm_bridge.decisions.refusals import refusal
from ibcm_bridge.policy.roles import RoleTable
from ibcm_bridge.site_system_leg.origination import WhenClosed, closed_without_response, when_closed


@pytest.mark.parametrize("method", [b"GET", b"HEAD", b"PROPFIND"])
def test_what_changes_nothing_is_sent_again_on_a_leg_that_is_nobodys(method: bytes) -> None:
    assert when_closed(method, acts=False, authenticates=False) is WhenClosed.RESEND
    assert when_closed(method, acts=False, authenticates=True) is WhenClosed.REFUSE


@pytest.mark.parametrize("authenticates", [False, True])
def test_of_all_verbs_that_are_published_no_other_is_ever_sent_again(
    table: RoleTable, authenticates: bool
) -> None:
    verbs = {verb for role in table.roles.values() for verb in role.bodies}
    assert {b"CCM_POST", b"BITS_POST", b"POST"} <= verbs
    for verb in verbs - {b"GET", b"HEAD", b"PROPFIND"}:
        assert when_closed(verb, acts=False, authenticates=authenticates) is WhenClosed.CLOSE


@pytest.mark.parametrize("authenticates", [False, True])
@pytest.mark.parametrize("method", [b"GET", b"HEAD", b"PROPFIND"])
def test_what_acts_whatever_its_method_says_is_never_sent_again(
    method: bytes, authenticates: bool
) -> None:
    assert when_closed(method, acts=True, authenticates=authenticates) is WhenClosed.CLOSE


@pytest.mark.parametrize("method", [b"get", b"GETX", b"", b"OPTIONS", b"DELETE", b"PUT"])
def test_nor_is_what_nobody_has_heard_of(method: bytes) -> None:
    assert when_closed(method, acts=False, authenticates=False) is WhenClosed.CLOSE


def test_an_upload_is_not_withdrawn_for_it() -> None:
    denial = closed_without_response("mp01.corp.example")
    assert (denial.reason, denial.rule) == (
        Reason.SITE_SYSTEM_RESPONSE,
        "site_system.kept_connection",
    )
    assert refusal(denial).next_step is NextStep.TRIES_AGAIN
