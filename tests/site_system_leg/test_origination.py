"""Requests whose kept leg the site system closes without a response."""

from __future__ import annotations

import pytest

from ibcm_bridge.decisions.client_reaction import NextStep
from ibcm_bridge.decisions.denial import Reason
from ibcm_bridge.decisions.refusals import refusal
from ibcm_bridge.policy.roles import RoleTable
from ibcm_bridge.site_system_leg.origination import (
    WhenClosed,
    certificate_rejected,
    closed_without_response,
    timed_out,
    when_closed,
)


@pytest.mark.parametrize("method", [b"GET", b"HEAD", b"PROPFIND"])
def test_a_safe_request_is_sent_again_on_an_unauthenticated_leg(method: bytes) -> None:
    assert when_closed(method, acts=False, authenticates=False) is WhenClosed.RESEND
    assert when_closed(method, acts=False, authenticates=True) is WhenClosed.REFUSE


@pytest.mark.parametrize("authenticates", [False, True])
def test_no_other_published_verb_is_ever_sent_again(table: RoleTable, authenticates: bool) -> None:
    verbs = {verb for role in table.roles.values() for verb in role.bodies}
    assert {b"CCM_POST", b"BITS_POST", b"POST"} <= verbs
    for verb in verbs - {b"GET", b"HEAD", b"PROPFIND"}:
        assert when_closed(verb, acts=False, authenticates=authenticates) is WhenClosed.CLOSE


@pytest.mark.parametrize("authenticates", [False, True])
@pytest.mark.parametrize("method", [b"GET", b"HEAD", b"PROPFIND"])
def test_a_request_that_acts_is_never_sent_again(method: bytes, authenticates: bool) -> None:
    assert when_closed(method, acts=True, authenticates=authenticates) is WhenClosed.CLOSE


@pytest.mark.parametrize("method", [b"get", b"GETX", b"", b"OPTIONS", b"DELETE", b"PUT"])
def test_a_request_with_an_unknown_method_is_never_sent_again(method: bytes) -> None:
    assert when_closed(method, acts=False, authenticates=False) is WhenClosed.CLOSE


@pytest.mark.parametrize(
    ("connected", "reason", "cause"),
    [
        (False, Reason.SITE_SYSTEM_UNREACHABLE, "connection attempt"),
        (True, Reason.SITE_SYSTEM_SLOW, "TLS handshake"),
    ],
)
def test_a_leg_that_is_not_ready_in_time_is_unreachable_or_slow(
    connected: bool, reason: Reason, cause: str
) -> None:
    denial = timed_out("mp01.corp.example", connected=connected)
    assert denial.reason is reason
    assert cause in denial.detail


@pytest.mark.parametrize(
    "alert",
    [
        "bad_certificate",
        "unsupported_certificate",
        "certificate_revoked",
        "certificate_expired",
        "certificate_unknown",
        "unknown_ca",
        "access_denied",
        "certificate_required",
    ],
)
def test_an_alert_about_the_bridges_certificate_is_reported_as_one(alert: str) -> None:
    denial = certificate_rejected("mp01.corp.example", alert)
    assert denial is not None
    assert denial.rule == "site_system.certificate"
    assert alert in denial.detail


@pytest.mark.parametrize("alert", [None, "handshake_failure", "protocol_version", "close_notify"])
def test_another_alert_is_not_about_the_bridges_certificate(alert: str | None) -> None:
    assert certificate_rejected("mp01.corp.example", alert) is None


def test_a_closed_leg_does_not_withdraw_an_upload() -> None:
    denial = closed_without_response("mp01.corp.example")
    assert (denial.reason, denial.rule) == (
        Reason.SITE_SYSTEM_RESPONSE,
        "site_system.kept_connection",
    )
    assert refusal(denial).next_step is NextStep.TRIES_AGAIN
