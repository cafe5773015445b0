"""A case fails for the reason in its title, and not only for its status."""

from __future__ import annotations

import pytest

from ibcm_bridge.lab.cases.case import Case, Disposition
from ibcm_bridge.lab.cases.table import CASES
from ibcm_bridge.lab.comparison.outcomes import Observation, internal_fields, outcome, problems
from ibcm_bridge.lab.protocol.client import Response

SPOOFED = next(case for case in CASES if case.id == "spoofed-guid")
RECORD = {
    "verdict": "deny",
    "reason": "identity-of-another",
    "rule": "messages.identity",
    "requirement": "BRIDGE-IDENTITY",
    "detail": "",
}


def problems_of(case: Case, record: dict[str, str]) -> list[str]:
    forbidden = Response(403, "Forbidden", (), b"")
    seen = Observation(forbidden, None, (), 0, record, bridged=True)
    return list(problems(case, outcome(case, seen), None))


def test_the_required_decision_causes_no_problem() -> None:
    assert problems_of(SPOOFED, RECORD) == []


@pytest.mark.parametrize(
    ("changed", "problem"),
    [
        (
            {"reason": "signature-forged"},
            "the audit has reason signature-forged, instead of identity-of-another",
        ),
        (
            {"rule": "signatures.PayloadSignature"},
            "the audit has rule signatures.PayloadSignature, instead of messages.identity",
        ),
        ({"signed_with": "registered-key"}, "the audit has signed_with registered-key"),
    ],
)
def test_another_decision_with_the_same_status_causes_a_problem(
    changed: dict[str, str], problem: str
) -> None:
    assert problems_of(SPOOFED, RECORD | changed) == [problem]


def test_a_field_about_the_site_system_is_a_deviation() -> None:
    assert not internal_fields(Response(200, "OK", (("Content-Type", "text/xml"),), b""))
    assert internal_fields(Response(200, "OK", (("server", "IIS"), ("Via", "x")), b"")) == (
        "server",
        "Via",
    )


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.id)
def test_each_case_names_its_rule(case: Case) -> None:
    assert case.bridge.rule
    # A refusal has a reason, an allowed request has none.
    by_bridge = (Disposition.REFUSED_BY_PROXY, Disposition.RESPONSE_REFUSED)
    assert (case.bridge.reason is not None) == (case.bridge.disposition in by_bridge)
