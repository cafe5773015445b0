"""A bridge with a shadow policy: the audit has what differs, and requests are not affected."""

from __future__ import annotations

import dataclasses
import logging
from collections.abc import Iterator
from pathlib import Path

import pytest

from ibcm_bridge.audit.shadow import Shadow
from ibcm_bridge.commands.explain.recorded import Unknown, judge_again
from tests.addons.stand_ins.lab import BRIDGED, GOOD, Lab, changed, message
from tests.addons.stand_ins.running import Running, wait_for


@pytest.fixture
def running(running_lab: Lab, tmp_path: Path) -> Iterator[Running]:
    """A bridge whose shadow observes."""
    file = tmp_path / "audit.jsonl"
    policy = changed(running_lab.policy, file)
    shadow = changed(running_lab.policy, file, observe_because="a pilot")
    with Running(running_lab, dataclasses.replace(policy, shadow=shadow)) as bridge:
        yield bridge


def test_only_what_differs_is_in_the_audit(running: Running) -> None:
    with running.client(BRIDGED) as client:
        assert client.request(*GOOD).status == 200
        assert client.request("CCM_POST", "/ccm_system/request", **sent()).status == 200
        # A head without a body, so the shadow judges all of it.
        assert client.request("DELETE", "/SMS_DP_SMSPKG$/LAB00001").status == 405
    records = wait_for(lambda: len(running.audit()) == 3 and running.audit())
    # The same policy judges the records as it judged the requests.
    for record in records:
        again = judge_again(running.policy, record)
        assert again is not None
        assert again.outcome is not None
        assert again.outcome.enforced == (record["verdict"] == "deny")
        assert (again.unknown is Unknown.BODY) == (record["method"] == "CCM_POST")
    allowed, posted, refused = wait_for(lambda: len(running.audit()) == 3 and running.audit())
    assert "shadow" not in allowed
    assert "shadow" not in posted
    assert refused["verdict"] == "deny"
    assert refused["shadow"] == {
        "verdict": "observed",
        "reason": "verb",
        "rule": refused["rule"],
        "detail": refused["detail"],
    }


def test_a_defect_of_the_shadow_affects_no_request(
    running: Running, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def broken(*_: object) -> None:
        raise ZeroDivisionError

    monkeypatch.setattr(Shadow, "judge", broken)
    with running.client(BRIDGED) as client, caplog.at_level(logging.ERROR):
        for _ in range(2):
            assert client.request(*GOOD).status == 200
    records = wait_for(lambda: len(running.audit()) == 2 and running.audit())
    assert [record["verdict"] for record in records] == ["allow", "allow"]
    assert {record["shadow"]["reason"] for record in records} == {"bridge-defect"}
    logged = [record.message for record in caplog.records if "shadow policy" in record.message]
    assert logged == [
        "defect in the judgement by the shadow policy: ZeroDivisionError; requests are not affected"
    ]


def sent() -> dict[str, object]:
    found = message()
    return {**found, "headers": tuple(found["headers"].items())}
