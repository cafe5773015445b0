"""The audit of a pilot, judged by the policy that ends it: `explain --audit` without `observe`.

The requests are those of `test_observed`, and the records are those of the bridge.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest

from ibcm_bridge.audit.record import MAX_ITEMS
from ibcm_bridge.commands.explain.recorded import Again, Unknown, judge_again
from ibcm_bridge.commands.main import main
from ibcm_bridge.decisions.denial import Reason
from ibcm_bridge.lab.pki.certificates import LabCredential
from ibcm_bridge.policy.policy import Policy
from tests.commands.explain.test_observed import OBSERVED, answer, enforcing

type Record = dict[str, Any]

NOT_RECORDED = {
    *("a depth", "a media type", "no media type", "another multipart"),
    *("an action", "SOAP of another type"),
}
"""Requests whose first finding is about something that the audit does not have."""


def record_of(policy: Policy, computer: LabCredential, name: str) -> Record:
    """The audit record of a request."""
    question = OBSERVED[name][0]
    url = urlsplit(question.url)
    explained = answer(policy, computer, question)
    assert explained.denial is None
    record = {
        "event": "request",
        "listener": f"127.0.0.1:{url.port or 8443}",
        "server_name": url.hostname,
        "client_name": "pc1.corp.example",
        "method": question.method,
        "target": url._replace(scheme="", netloc="").geturl(),
        "bytes_from_client": len(question.body or b""),
        **explained.record(),
    }
    read: Record = json.loads(json.dumps(record))
    assert read["verdict"] == "observed"
    return read


def judged(policy: Policy, record: Record) -> Again:
    again = judge_again(policy, record)
    assert again is not None
    return again


def refused(again: Again) -> Reason:
    assert again.outcome is not None
    assert again.outcome.enforced
    assert again.outcome.denial is not None
    return again.outcome.denial.reason


@pytest.mark.parametrize("name", sorted(OBSERVED.keys() - NOT_RECORDED))
def test_the_policy_that_ends_the_pilot_refuses_what_was_observed(
    pilot: Policy, computer: LabCredential, name: str
) -> None:
    record = record_of(pilot, computer, name)
    reasons = {found["reason"] for found in record["would_refuse"]}
    assert refused(judged(enforcing(pilot), record)) in reasons


@pytest.mark.parametrize("name", sorted(NOT_RECORDED))
def test_it_is_unknown_if_the_audit_does_not_have_the_part(
    pilot: Policy, computer: LabCredential, name: str
) -> None:
    record = record_of(pilot, computer, name)
    # Without a further finding, such as one about the sender, that the policy refuses.
    first = [found for found in record["would_refuse"] if found["rule"] == record["rule"]]
    record = {**record, "would_refuse": first}
    assert judged(enforcing(pilot), record) == Again(None, Unknown.ONLY_OBSERVED)


@pytest.mark.parametrize("name", sorted(OBSERVED))
def test_with_observe_it_is_observed_for_the_same_reason(
    pilot: Policy, computer: LabCredential, name: str
) -> None:
    record = record_of(pilot, computer, name)
    outcome = judged(pilot, record).outcome
    assert outcome is not None
    assert not outcome.enforced
    assert outcome.denial is not None
    assert (outcome.denial.reason, outcome.denial.rule) == (record["reason"], record["rule"])


def test_a_message_that_is_refused_by_name_is_allowed_only_by_a_line_of_the_policy(
    pilot: Policy, computer: LabCredential
) -> None:
    record = record_of(pilot, computer, "a root")
    line = 'extra_messages: [{endpoint: "MP_HinvEndpoint", root: "Report", because: ...}]'
    found = {"reason": "message", "rule": "endpoints.refused", "allowed_by": line}
    for more in ({}, {"allowed_by": ""}):  # by an element that the record does not have
        named = {**record, "message_types": ["Report"], "would_refuse": [{**found, **more}]}
        assert judged(enforcing(pilot), named).unknown is Unknown.ONLY_OBSERVED
    found = [each for each in record["would_refuse"] if each["reason"] == "message"]
    encrypted = {**record, "message_types": None, "would_refuse": found}
    assert judged(enforcing(pilot), encrypted).unknown is Unknown.ONLY_OBSERVED


POSTED = {
    "event": "request",
    "verdict": "observed",
    "reason": "media-type",
    "rule": "bodies.ccm-message.media_types",
    "listener": "127.0.0.1:8443",
    "server_name": "bridge.internet.example",
    "client_name": "pc1.corp.example",
    "method": "CCM_POST",
    "target": "/ccm_system/request",
    "bytes_from_client": 9,
}


@pytest.mark.parametrize(
    "found",
    [
        {},  # only the fields of the first finding
        {"would_refuse": "x"},
        {"would_refuse": ["x"]},
        {"would_refuse": [{"reason": "of-another-version"}]},
        {"would_refuse": [{"reason": "verb", "rule": "management-point.verbs"}] * MAX_ITEMS},
    ],
)
def test_an_unreadable_finding_is_unknown(pilot: Policy, found: Record) -> None:
    assert judged(enforcing(pilot), {**POSTED, **found}).unknown is Unknown.ONLY_OBSERVED


def test_with_observe_an_allowed_body_has_no_finding(pilot: Policy) -> None:
    """The fields of a body are not recorded. The judgement ignores those that it makes up."""
    scan = {
        **POSTED,
        "verdict": "allow",
        "listener": "127.0.0.1:8531",
        "method": "POST",
        "target": "/ClientWebService/Client.asmx",
    }
    outcome = judged(pilot, scan).outcome
    assert outcome is not None
    assert outcome.denial is None


def test_the_command_counts_them_and_has_the_status_of_a_refusal(
    lab_files: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    audit = tmp_path / "audit.jsonl"
    given = ["explain", "--config", str(lab_files / "bridge.yaml"), "--audit", str(audit)]
    audit.write_text(f"{json.dumps(POSTED)}\n" * 2)
    assert main(given) == 1
    lines = capsys.readouterr().out.splitlines()
    assert lines[:2] == ["2 requests in 1 file", "0 with another outcome under the other policy"]
    assert any(line.startswith("        2 whether a part that was only observed") for line in lines)
    assert main([*given, "--json"]) == 1
    assert json.loads(capsys.readouterr().out)["not_known"] == {"only_observed": 2}


def test_refused_connections_and_tunnels_are_counted(
    lab_files: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    audit = tmp_path / "audit.jsonl"
    given = ["explain", "--config", str(lab_files / "bridge.yaml"), "--audit", str(audit)]
    refused = {"event": "connection-refused", "verdict": "deny", "reason": "unknown-name"}
    about_the_audit = {"event": "writer-started"}
    records = [refused, refused, {"event": "tunnel", "verdict": "allow"}, about_the_audit]
    audit.write_text("".join(f"{json.dumps(record)}\n" for record in records))
    assert main(given) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == "0 requests in 1 file"
    assert "        3 refused connections, and tunnels: only requests are judged" in lines
    assert main([*given, "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["not_known"] == {"connection": 3}
