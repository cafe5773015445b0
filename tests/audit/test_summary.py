"""The sums of audit records."""

from __future__ import annotations

import pytest

from ibcm_bridge.audit import summary as summary_module
from ibcm_bridge.audit.record import Event, Verdict
from ibcm_bridge.audit.summary import Fields, Summary

ALLOWED: Fields = {
    "time": "2026-01-02T03:04:05.678+00:00",
    "event": "request",
    "verdict": "allow",
    "client_name": "pc1.corp.example",
    "client_address": "192.0.2.7:50000",
    "role": "management point",
}
REFUSED: Fields = {
    **ALLOWED,
    "time": "2026-01-02T03:04:06.000+00:00",
    "verdict": "deny",
    "reason": "verb",
    "rule": "roles.verbs",
    "requirement": "VERB-MP",
}
OBSERVED: Fields = {
    **REFUSED,
    "verdict": "observed",
    "would_refuse": [
        {
            "reason": "verb",
            "rule": "roles.verbs",
            "detail": "PUT",
            "allowed_by": "extra_verbs: ...",
        },
        {"reason": "header", "rule": "roles.headers", "detail": "X", "allowed_by": ""},
    ],
}
TURNED_AWAY: Fields = {
    "time": "2026-01-02T03:04:04.000+00:00",
    "event": "connection-refused",
    "verdict": "deny",
    "client_address": "[2001:db8::7]:50000",
    "server_name": "mp.internet.example",
    "reason": "certificate-missing",
    "rule": "clients.certificate",
    "requirement": "BRIDGE-AUTH-COMPUTER",
}


def summed(*records: Fields) -> Summary:
    summary = Summary()
    for record in records:
        summary.add(record)
    return summary


def test_records_are_counted_by_event_and_verdict() -> None:
    lost = {"time": "2026-01-02T03:05:00.000+00:00", "event": "records-lost", "lost_records": 3}
    summary = summed(ALLOWED, ALLOWED, REFUSED, TURNED_AWAY, lost, {"event": "unknown"})
    assert (summary.records, summary.lost) == (6, 3)
    assert (summary.first, summary.last) == (TURNED_AWAY["time"], lost["time"])
    assert list(summary.verdicts()) == [
        (Event.REQUEST, {Verdict.ALLOW: 2, Verdict.DENY: 1, Verdict.OBSERVED: 0}),
        (Event.TUNNEL, {Verdict.ALLOW: 0, Verdict.DENY: 0, Verdict.OBSERVED: 0}),
        (Event.CONNECTION_REFUSED, {Verdict.ALLOW: 0, Verdict.DENY: 1, Verdict.OBSERVED: 0}),
    ]


def test_an_observed_request_is_counted_with_the_line_that_would_allow_it() -> None:
    summary = summed(ALLOWED, OBSERVED, {**OBSERVED, "would_refuse": "x"})
    (verb, _header) = summary.observed.most(10)[::-1]
    assert (verb.key, verb.count) == (
        ("verb", "roles.verbs", "management point", "extra_verbs: ..."),
        1,
    )
    assert verb.last["detail"] == "PUT"
    assert summary.refusals.most(10) == summary.clients.most(10) == []


def test_refusals_are_counted_by_reason_rule_and_client() -> None:
    later = {**REFUSED, "time": "2026-01-03T00:00:00.000+00:00", "reference": "ab"}
    summary = summed(ALLOWED, later, REFUSED, TURNED_AWAY)
    rows = [
        [(row.key, row.count) for row in table.most(10)]
        for table in (summary.reasons, summary.refusals, summary.clients)
    ]
    assert rows == [
        [(("verb", "VERB-MP"), 2), (("certificate-missing", "BRIDGE-AUTH-COMPUTER"), 1)],
        [
            (("verb", "roles.verbs", "management point"), 2),
            (("certificate-missing", "clients.certificate", "mp.internet.example"), 1),
        ],
        [(("pc1.corp.example",), 2), (("[2001:db8::7]",), 1)],
    ]
    assert summary.reasons.most(1)[0].last["reference"] == "ab", "the latest, in any order of files"
    assert summary.clients.most(1)[0].key == ("pc1.corp.example",)


def test_fields_of_other_types_are_not_used() -> None:
    summary = summed({"time": 1, "event": ["request"], "verdict": {}, "lost_records": "9"})
    assert (summary.records, summary.lost, summary.first) == (1, 0, "")


def test_the_number_of_rows_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(summary_module, "MAX_ROWS", 2)
    summary = summed(*({**REFUSED, "client_name": f"pc{number % 4}"} for number in range(8)))
    assert [row.count for row in summary.clients.most(10)] == [2, 2]
    assert summary.clients.others == 4
