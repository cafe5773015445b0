"""`explain --audit`: a policy judges recorded requests again, and tells what it cannot know."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Any

import pytest

from ibcm_bridge.audit.shadow import Outcome, Unjudged
from ibcm_bridge.commands.explain.recorded import Unknown, judge_again
from ibcm_bridge.commands.main import main
from ibcm_bridge.decisions.denial import Reason
from ibcm_bridge.policy.message_policy import Enforcement, MessagePolicy, UnknownGuids
from ibcm_bridge.policy.policy import Policy
from ibcm_bridge.policy_file import load_policy
from tests.lab.cases.test_observed_cases import observing

RECORD: dict[str, Any] = {
    "event": "request",
    "verdict": "allow",
    "listener": "127.0.0.1:8443",
    "server_name": "bridge.internet.example",
    "client_name": "pc1.corp.example",
    "method": "GET",
    "target": "/SMS_MP/.sms_aut?MPLIST",
}
DELETED = {
    **RECORD,
    "verdict": "deny",
    "reason": "verb",
    "rule": "management-point.verbs",
    "method": "DELETE",
}
POSTED = {
    **RECORD,
    "method": "CCM_POST",
    "target": "/ccm_system/request",
    "message_endpoint": "MP_HinvEndpoint",
    "message_types": ["Report"],
    "client_guid": "GUID:x",
    "client_guid_binding": "unbound",
    "observed": ["signature-missing: no PayloadSignature"],
    "bytes_from_client": 100,
}
UPLOADED = {**RECORD, "method": "BITS_POST", "target": "/CCM_Incoming/x", "upload": "ping"}


@pytest.fixture(scope="module")
def shipped(lab_files: Path) -> Policy:
    return load_policy(lab_files / "bridge.yaml")


def outcome(policy: Policy, record: dict[str, Any]) -> Outcome:
    again = judge_again(policy, record)
    assert again is not None
    assert again.outcome is not None
    return again.outcome


def reason(policy: Policy, record: dict[str, Any]) -> Reason | None:
    denial = outcome(policy, record).denial
    return None if denial is None else denial.reason


def test_the_same_policy_has_the_same_outcome(shipped: Policy) -> None:
    for record in (RECORD, POSTED, UPLOADED):
        assert outcome(shipped, record).denial is None
    assert reason(shipped, DELETED) is Reason.VERB
    assert outcome(shipped, POSTED).not_judged is Unjudged.BODY


def test_another_policy_has_other_outcomes(shipped: Policy) -> None:
    assert not outcome(observing(shipped), DELETED).enforced
    assert reason(shipped, {**POSTED, "message_endpoint": "MP_Own"}) is Reason.ENDPOINT
    assert reason(shipped, {**POSTED, "message_types": ["Own"]}) is Reason.MESSAGE
    assert reason(shipped, {**RECORD, "server_name": "other.example"}) is Reason.UNKNOWN_NAME
    assert reason(shipped, {**RECORD, "client_name": None}) is Reason.CERTIFICATE_MISSING
    assert reason(shipped, {**RECORD, "client_name": "a@b.example"}) is Reason.CERTIFICATE_NAME


def test_recorded_findings_about_the_sender_are_enforced(shipped: Policy) -> None:
    signatures = MessagePolicy(signatures=Enforcement.ENFORCE)
    enforced = dataclasses.replace(shipped, messages=signatures)
    assert reason(enforced, POSTED) is Reason.SIGNATURE_MISSING
    identity = MessagePolicy(identity=Enforcement.ENFORCE, unknown_guids=UnknownGuids.REFUSE)
    assert (
        reason(dataclasses.replace(shipped, messages=identity), POSTED) is Reason.IDENTITY_UNKNOWN
    )


@pytest.mark.parametrize(
    ("changes", "unknown"),
    [
        ({"target": "/SMS_MP/x?a=..."}, Unknown.TARGET),
        ({"target": "/" + "x" * 512}, Unknown.TARGET),
        ({"verdict": "deny", "reason": "xml"}, Unknown.REFUSAL),
        ({"method": "G T"}, Unknown.REFUSAL),
        ({"method": None, "verdict": "deny", "reason": "malformed-head"}, Unknown.REFUSAL),
        ({"event": "tunnel"}, Unknown.CONNECTION),
        ({"event": "connection-refused", "verdict": "deny"}, Unknown.CONNECTION),
    ],
)
def test_missing_facts_are_reported_as_unknown(
    shipped: Policy, changes: dict[str, Any], unknown: Unknown
) -> None:
    again = judge_again(shipped, {**RECORD, **changes})
    assert again is not None
    assert (again.outcome, again.unknown) == (None, unknown)


def test_a_record_about_the_audit_is_not_judged(shipped: Policy) -> None:
    assert judge_again(shipped, {**RECORD, "event": "writer-started"}) is None


def test_the_command_prints_what_differs_and_what_is_unknown(
    lab_files: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    audit = tmp_path / "audit.jsonl"
    records = [RECORD, DELETED, POSTED, {**POSTED, "message_endpoint": "MP_Own"}]
    audit.write_text("".join(f"{json.dumps(record)}\n" for record in records) + '{"event": \n')
    given = ["explain", "--config", str(lab_files / "bridge.yaml"), "--audit", str(audit)]
    assert main(given) == 1
    lines = capsys.readouterr().out.splitlines()
    assert lines[:2] == ["4 requests in 1 file", "1 with another outcome under the other policy"]
    assert "1 line skipped: no record" in lines
    assert "          then: deny endpoint, by endpoints.endpoints" in lines
    assert "NOT KNOWN FROM THE AUDIT" in lines
    assert max(map(len, lines)) <= 80
    assert main([*given, "--json"]) == 1
    found = json.loads(capsys.readouterr().out)
    assert (found["not_known"], found["skipped"]) == ({"body": 1}, 1)


def test_the_audit_excludes_a_described_request(
    lab_files: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    given = ["explain", "--config", str(lab_files / "bridge.yaml"), "--audit", str(tmp_path / "x")]
    assert main([*given, "GET", "https://bridge.internet.example/"]) == 2
    assert main(given) == 2
    assert "No such file" in capsys.readouterr().err
