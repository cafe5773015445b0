"""After a failed hook, no request reaches a site system without a decision that allows it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from mitmproxy.hooks import all_hooks

from ibcm_bridge.addons.events import Defect
from ibcm_bridge.addons.hooks import reply_inspection
from ibcm_bridge.addons.stages import DECISIONS
from ibcm_bridge.lab.protocol.client import Response
from tests.addons.fails_closed.causes import (
    Outcome,
    denied,
    forbidden,
    good,
    newly_judged,
    over_the_limit,
    posted,
    tunneled_and_left,
    unknown_name,
    uploaded,
    without_certificate,
)
from tests.addons.fails_closed.failures import WAYS, assert_refused, failing, nothing_passes
from tests.addons.stand_ins.lab import BRIDGED
from tests.addons.stand_ins.running import Panic, Running

CALLED: dict[str, list[str]] = {
    "client_due": ["ClientJudgement"],
    "head_read": ["AuditTrail", "RequestAuthorization"],
    "packet_announced": ["UploadAssembly"],
    "packet_read": ["UploadAssembly"],
    "body_read": ["BodyInspection"],
    "body_inspected": ["ClientIdentification"],
    "packet_response_read": ["UploadAssembly"],
    "reply_collected": ["ReplyInspection"],
    "error_collected": ["ReplyInspection"],
    "reply_allowed": ["ClientIdentification"],
    "tls_start_client": ["ClientAuthentication"],
    "tls_established_client": ["ClientAuthentication"],
    "tls_failed_client": ["EndReporting"],
    "connection_refused": ["EndReporting"],
    "turned_away": ["EndReporting"],
    "tunnel_ended": ["EndReporting"],
    "exchange_ended": ["EndReporting"],
    "server_connect": ["AuditTrail", "SiteSystemAuthentication"],
    "tls_start_server": ["SiteSystemAuthentication"],
}
"""Every decision and hook, and the addons that have a function for it, in calling order."""

DEFECT_HOOKS = ["EndReporting"]
"""The addons called when one of these fails. If they fail too, only the log has the defect."""

NOT_HOOKS = {
    "close",
    "ended",
    "judge_all",
    "keep_judging",
    "probe",
    "problem",
    "failure",
    "totals",
    "use",
}
"""Public methods of addons that are not hooks. No hook of mitmproxy may have such a name."""

CAUSES: dict[str, Callable[[Running], Outcome]] = {
    "client_due": newly_judged,
    "head_read": good,
    "packet_announced": uploaded,
    "packet_read": uploaded,
    "body_read": good,
    "body_inspected": good,
    "packet_response_read": uploaded,
    "reply_collected": posted,
    "error_collected": forbidden,
    "reply_allowed": posted,
    "tls_start_client": good,
    "tls_established_client": good,
    "tls_failed_client": without_certificate,
    "connection_refused": unknown_name,
    "turned_away": over_the_limit,
    "tunnel_ended": tunneled_and_left,
    "exchange_ended": denied,
    "server_connect": good,
    "tls_start_server": good,
}
"""The client behavior that calls the hook."""

RECORDS_ONLY = {
    "tls_failed_client",
    "connection_refused",
    "turned_away",
    "tunnel_ended",
    "exchange_ended",
}
"""Hooks that write an audit record. A record is not written twice."""


SHOWN = ("requestheaders", "request", "responseheaders", "reply_shown")
"""Hooks for addons that show requests, called after the decision; the bridge has none."""

AFTER_THE_RESPONSE = {
    "packet_response_read",
    "reply_collected",
    "error_collected",
    "reply_allowed",
    "responseheaders",
    "reply_shown",
}
"""Hooks that are called after the site system's response: the request was allowed."""


def test_every_hook_that_has_a_function_is_in_the_table(running: Running) -> None:
    found: dict[str, list[str]] = {}
    for name, functions in running.bridge.generation.hooks._by_name.items():
        found[name] = [type(function.__self__).__name__ for function in functions]  # type: ignore[attr-defined]
    assert found == CALLED | {"defect": DEFECT_HOOKS}
    # A function whose name is not that of a hook is never called: a typo would skip a check.
    assert not all_hooks.keys() & DECISIONS
    addons = {
        type(function.__self__)
        for functions in running.bridge.generation.hooks._by_name.values()
        for function in functions
    }  # type: ignore[attr-defined]
    public = {name for addon in addons for name in vars(addon) if not name.startswith("_")}
    assert public - all_hooks.keys() - DECISIONS == NOT_HOOKS
    assert CAUSES.keys() == CALLED.keys()


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize(
    ("name", "index"), [(name, i) for name, addons in CALLED.items() for i in range(len(addons))]
)
def test_nothing_is_forwarded_after_a_failed_hook(
    running: Running, name: str, index: int, way: str
) -> None:
    before = list(running.bridge.generation.hooks.of(name))
    running.hook(name, index, failing(WAYS[way], before))
    requests = int(name in AFTER_THE_RESPONSE)
    handshakes = requests + int(name == "tunnel_ended")
    with nothing_passes(running, handshakes=handshakes, requests=requests):
        assert_refused(CAUSES[name](running))
    running.hook(name, index, before[index])
    if not (WAYS[way].allows_first and name in RECORDS_ONLY):
        running.wait_for_reason("bridge-defect")
    assert None not in running.reasons() or name == "tunnel_ended"
    running.lab.site.clear()
    running.assert_serves()
    assert len(running.lab.site.received()) == 1, "a request arrived late"


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("name", [*sorted(DECISIONS), *SHOWN])
def test_a_hook_that_fails_after_the_others_revokes_their_decision(
    running: Running, name: str, way: str
) -> None:
    running.add_hook(name, failing(WAYS[way], []))
    requests = int(name in AFTER_THE_RESPONSE)
    with nothing_passes(running, handshakes=requests, requests=requests):
        assert_refused(CAUSES.get(name, good)(running))
    running.wait_for_reason("bridge-defect")


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("name", ["response", "error", "client_connected", "client_disconnected"])
def test_a_hook_without_functions_also_fails_closed(running: Running, name: str, way: str) -> None:
    functions = running.bridge.generation.hooks._by_name[name]
    functions.append(failing(WAYS[way], []))
    passed = int(name in ("response", "client_disconnected"))
    with nothing_passes(running, handshakes=passed, requests=passed):
        outcome = denied(running) if name == "error" else good(running)
        assert passed or not isinstance(outcome, Response) or outcome.status == 405
    functions.clear()
    running.assert_serves()


@pytest.mark.parametrize("way", WAYS)
def test_a_hook_that_also_clears_the_flow_leaves_no_client_hanging(
    running: Running, way: str
) -> None:
    """The layer does not depend on the flow."""
    fail = failing(WAYS[way], [])

    def lose(flow: Any) -> Any:
        flow.metadata.clear()
        return fail(flow)

    running.add_hook("requestheaders", lose)
    with nothing_passes(running):
        assert_refused(good(running))


def test_a_response_without_a_decision_is_not_forwarded(running: Running) -> None:
    functions = running.bridge.generation.hooks._by_name["reply_collected"]
    before = functions.copy()
    functions.clear()
    with nothing_passes(running, handshakes=1, requests=1):
        outcome = posted(running)
    assert isinstance(outcome, Response)
    assert outcome.status == 500
    running.wait_for_reason("bridge-defect")
    functions += before
    outcome = posted(running)
    assert isinstance(outcome, Response)
    assert outcome.status == 200


@pytest.mark.parametrize("error", [RuntimeError, Panic])
@pytest.mark.parametrize("name", ["read_reply", "judge_reply"])
def test_a_response_is_refused_if_its_inspection_raises(
    running: Running, monkeypatch: pytest.MonkeyPatch, name: str, error: type[BaseException]
) -> None:
    def fail(*_: object) -> None:
        raise error("made to fail")

    with nothing_passes(running, handshakes=1, requests=1), monkeypatch.context() as patch:
        patch.setattr(reply_inspection, name, fail)
        outcome = posted(running)
    assert isinstance(outcome, Response)
    assert outcome.status == 500
    assert running.wait_for_reason("bridge-defect")["rule"] == "reply_collected"


@pytest.mark.parametrize("name", [*sorted(DECISIONS), *SHOWN])
def test_the_one_record_of_a_failed_hook_has_its_name_and_the_status_that_the_client_got(
    running: Running, name: str
) -> None:
    running.add_hook(name, failing(WAYS["an exception"], []))
    outcome = CAUSES.get(name, good)(running)
    assert isinstance(outcome, Response)
    assert outcome.status == 500
    record = running.wait_for_reason("bridge-defect")
    assert (record["rule"], record["status"]) == (name, 500)
    assert len(running.audit()) == 1


def test_a_hook_that_returns_neither_none_nor_an_awaitable_is_a_defect(
    running: Running,
) -> None:
    running.add_hook("request", lambda _: True)
    with nothing_passes(running):
        assert_refused(good(running))
    running.wait_for_reason("bridge-defect")


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("name", ["head_read", "body_read", "requestheaders", "request"])
def test_a_decision_is_revoked_even_if_the_defect_is_not_recorded(
    running: Running, name: str, way: str
) -> None:
    running.hook("defect", 0, lambda _: None)
    running.add_hook(name, failing(WAYS[way], []))
    with nothing_passes(running):
        assert_refused(good(running))


def test_a_panic_in_the_audit_of_a_defect_still_ends_the_connection(running: Running) -> None:
    def panic(_: object) -> None:
        raise Panic

    running.hook("defect", 0, panic)
    for way in WAYS.values():
        running.add_hook("head_read", failing(way, []), first=True)
        with nothing_passes(running):
            assert_refused(good(running))
        running.bridge.generation.hooks._by_name["head_read"].pop(0)


@pytest.mark.parametrize("error", [OSError, Panic])
def test_a_defect_that_the_audit_cannot_record_is_logged_and_others_notified(
    running: Running,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    error: type[BaseException],
) -> None:
    def full(*_: object) -> None:
        raise error("made to fail")

    reported: list[Defect] = []
    running.add_hook("defect", reported.append)
    running.add_hook("request", failing(WAYS["an exception"], []))
    monkeypatch.setattr(running.bridge.shared.audit, "_write", full)
    with nothing_passes(running):
        assert_refused(good(running))
    assert "a defect in request could not be written to the audit" in caplog.text
    assert (reported[0].where, reported[0].kind) == ("request", "RuntimeError")


def test_the_refusal_for_a_defect_has_no_details(running: Running) -> None:
    """The refusal for a defect contains no details."""
    running.add_hook("request", failing(WAYS["an exception"], []))
    outcome = good(running)
    assert isinstance(outcome, Response)
    assert b"made to fail" not in outcome.body
    assert BRIDGED.encode() not in outcome.body
    record = running.wait_for_reason("bridge-defect")
    assert "made to fail" not in str(record)
    assert record["detail"] == "RuntimeError"
