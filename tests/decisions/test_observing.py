"""Which refusals a publication with `observe` does not enforce: a table that refuses by default."""

from __future__ import annotations

import pytest

from ibcm_bridge.decisions import rules
from ibcm_bridge.decisions.denial import Deny, Reason
from ibcm_bridge.decisions.observing import MOST, OBSERVABLE, Observation, observed
from ibcm_bridge.decisions.rules import Rule, RuleOf

CONSTANTS = [
    value for name, value in vars(rules).items() if name.isupper() and isinstance(value, str)
]
PATTERNS = [value for value in vars(rules).values() if isinstance(value, RuleOf)]


def sample(rule: Rule | RuleOf) -> Rule:
    """The rule, or one with this pattern."""
    return rule.of(*["x"] * rule.pattern.count("{")) if isinstance(rule, RuleOf) else rule


ALL = [*map(Rule, CONSTANTS), *map(sample, PATTERNS)]

ALWAYS = frozenset(Reason) - OBSERVABLE.keys()


@pytest.mark.parametrize("reason", Reason)
def test_only_the_rules_of_the_table_are_observable(reason: Reason) -> None:
    """Each reason with each rule and each requirement of an observable message."""
    rows = OBSERVABLE.get(reason, ())
    expected = {sample(row.rule) for row in rows}
    found = {rule for rule in ALL if observed(Deny(reason, rule, "", "NO-USER-DEPLOYMENT"))}
    assert found == expected


def test_the_reasons_that_are_always_enforced() -> None:
    """A new reason is enforced until somebody decides otherwise here."""
    assert {reason.value for reason in OBSERVABLE} == {
        *("verb", "header", "media-type", "endpoint", "message", "soap-action"),
        *("identity-ambiguous", "identity-missing", "identity-of-another", "identity-unknown"),
        *("signature-missing", "signature-forged", "timestamp-stale"),
    }


@pytest.mark.parametrize(
    "requirement", ["NO-OSD", "NO-SITE-ASSIGNMENT", "BRIDGE-AUTH-COMPUTER", "", "NO-OTHER"]
)
def test_refused_messages_of_some_requirements_are_enforced(requirement: str) -> None:
    assert observed(Deny(Reason.MESSAGE, rules.ENDPOINTS_REFUSED, "", requirement)) is None


@pytest.mark.parametrize("reason", Reason)
def test_nothing_is_observed_unless_the_publication_observes(reason: Reason) -> None:
    observation = Observation(active=False)
    for rule in ALL:
        denial = Deny(reason, rule)
        assert observation.enforce(denial) is denial
    assert observation.found == ()


@pytest.mark.parametrize("reason", sorted(ALWAYS))
def test_an_observing_publication_enforces_the_other_reasons(reason: Reason) -> None:
    observation = Observation(active=True)
    for rule in ALL:
        denial = Deny(reason, rule)
        assert observation.enforce(denial) is denial


def test_a_finding_has_the_line_that_would_allow_it_with_quoted_names() -> None:
    denial = Deny(Reason.ENDPOINT, rules.ENDPOINTS, names=('a"}, x: {', "b"))
    finding = observed(denial)
    assert finding is not None
    assert finding.allowed_by == (
        'extra_messages: [{endpoint: "a\\"}, x: {", root: "b", because: ...}]'
    )
    without = observed(Deny(Reason.ENDPOINT, rules.ENDPOINTS))
    assert without is not None
    assert without.allowed_by == "", "no name, no line"


def test_findings_are_kept_once_and_up_to_a_limit() -> None:
    observation = Observation(active=True)
    denials = [Deny(Reason.ENDPOINT, rules.ENDPOINTS, str(number)) for number in range(MOST + 1)]
    for denial in [*denials, *denials]:
        assert observation.enforce(denial) is None
    assert [finding.denial for finding in observation.found] == denials[:MOST]
    assert observation.enforce(None) is None
