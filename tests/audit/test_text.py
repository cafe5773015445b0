"""Audit records as text: the result first, then all fields."""

from ibcm_bridge.audit import record as audit
from ibcm_bridge.audit.text import lines, summary
from ibcm_bridge.decisions.denial import Deny, Reason
from ibcm_bridge.decisions.rules import Rule


def record(**more: audit.Value) -> audit.Record:
    return {audit.TIME: "2026-01-01", audit.EVENT: "request", audit.VERDICT: "allow", **more}


def test_a_refusal_begins_with_reason_rule_and_requirement() -> None:
    denial = Deny(Reason.VERB, Rule("management-point.verbs"), "DELETE is not a verb", "VERB-MP")
    refused = {**record(), **audit.denial_fields(denial), audit.METHOD: "DELETE"}
    expected = "refused: verb, by management-point.verbs (VERB-MP): DELETE is not a verb"
    assert summary(refused) == expected
    assert lines(refused).splitlines() == [
        "verdict: deny",
        "reason: verb",
        "rule: management-point.verbs",
        "requirement: VERB-MP",
        "detail: DELETE is not a verb",
        "time: 2026-01-01",
        "event: request",
        "method: DELETE",
    ]


def test_the_summary_of_an_allowed_message_has_its_endpoint_and_type() -> None:
    allowed = record(
        role="management-point",
        message_endpoint="MP_HinvEndpoint",
        message_types=("Report",),
    )
    assert summary(allowed) == "allowed: management-point, MP_HinvEndpoint, Report"


def test_the_summary_has_the_refusals_that_enforce_would_cause() -> None:
    observed = record(role="management-point", observed=("identity: it is another's",))
    expected = "allowed: management-point, would be refused if enforced: identity: it is another's"
    assert summary(observed) == expected


def test_the_summary_of_a_tunnel_says_that_nothing_was_inspected() -> None:
    tunnel = record(event="tunnel", bytes_from_client=1_234, bytes_to_client=5_678_901)
    assert summary(tunnel) == (
        "tunneled without inspection (TUNNEL-BLIND): "
        "1,234 bytes from the client, 5,678,901 bytes to the client"
    )


def test_a_tunnel_that_could_not_be_opened_is_a_refusal() -> None:
    denial = Deny(Reason.SITE_SYSTEM_UNREACHABLE, Rule("site_system"), "no response")
    refused = {**record(event="tunnel"), **audit.denial_fields(denial), "bytes_from_client": 0}
    assert summary(refused).startswith("refused: site-system-unreachable, by site_system (")


def test_long_texts_are_cut() -> None:
    assert len(lines(record(note="x" * 100_000))) < 3_000
    certificate = record(client_certificate={"subject": "CN=a", "issuer": "CN=b"})
    assert lines(certificate).splitlines()[-1] == "client_certificate: subject CN=a, issuer CN=b"
