"""An audit record for who looks on: how it ended first, then all of it."""

from ibcm_bridge.audit import record as audit
from ibcm_bridge.audit.text import lines, summary
from ibcm_bridge.decisions.denial import Deny, Reason
from ibcm_bridge.decisions.rules import Rule


def record(**more: audit.Value) -> audit.Record:
    return {audit.TIME: "2026-01-01", audit.EVENT: "request", audit.VERDICT: "allow", **more}


def test_a_refusal_says_its_reason_rule_and_requirement_first() -> None:
    denial = Deny(Reason.VERB, Rule("management-point.verbs"), "DELETE is no verb", "VERB-MP")
    refused = {**record(), **audit.denial_fields(denial), audit.METHOD: "DELETE"}
    said = "refused: verb, by management-point.verbs (VERB-MP): DELETE is no verb"
    assert summary(refused) == said
    assert lines(refused).splitlines() == [
        "verdict: deny",
        "reason: verb",
        "rule: management-point.verbs",
        "requirement: VERB-MP",
        "detail: DELETE is no verb",
        "time: 2026-01-01",
        "event: request",
        "method: DELETE",
    ]


def test_what_was_allowed_says_what_it_was() -> None:
    allowed = record(
        role="management-point",
        message_endpoint="MP_HinvEndpoint",
        message_types=("Report",),
    )
    assert summary(allowed) == "allowed: management-point, MP_HinvEndpoint, Report"


def test_what_would_be_refused_says_so() -> None:
    observed = record(role="management-point", observed=("identity: it is another's",))
    said = "allowed: management-point, would be refused if enforced: identity: it is another's"
    assert summary(observed) == said


def test_a_tunnel_says_that_nobody_saw_inside() -> None:
    tunnel = record(event="tunnel", bytes_from_client=1_234, bytes_to_client=5_678_901)
    assert summary(tunnel) == (
        "tunneled, nothing inside can be inspected (TUNNEL-BLIND): "
        "1,234 bytes from the client, 5,678,901 to it"
    )


def test_a_tunnel_that_could_not_be_opened_is_a_refusal() -> None:
    denial = Deny(Reason.SITE_SYSTEM_UNREACHABLE, Rule("site_system"), "no answer")
    refused = {**record(event="tunnel"), **audit.denial_fields(denial), "bytes_from_client": 0}
    assert summary(refused).startswith("refused: site-system-unreachable, by site_system (")


def test_a_text_without_end_is_bounded() -> None:
    assert len(lines(record(note="x" * 100_000))) < 3_000
    certificate = record(certificate={"subject": "CN=a", "issuer": "CN=b"})
    assert lines(certificate).splitlines()[-1] == "certificate: subject CN=a, issuer CN=b"
