"""Checks notice what a broken twin of the bridge cannot do."""

from __future__ import annotations

from ibcm_bridge.conformance.collection import all_checks
from ibcm_bridge.conformance.exchange import Place
from ibcm_bridge.conformance.judgement import Outcome
from ibcm_bridge.conformance.runner import Result, run_checks
from ibcm_bridge.conformance.subject import Subject

from .careless_proxies import proxy, shared_legs
from .conftest import SuiteLab

CATALOG = "application-catalog-website-point"


def run_with(suite_lab: SuiteLab, places: dict[str, Place], *checks: str) -> dict[str, Result]:
    """Run checks; the bridge publishes the other roles."""
    subject = Subject(
        suite_lab.places | places,
        suite_lab.kit,
        suite_lab.site,
        seconds=5,
        features=frozenset(("windows-authentication",)),
    )
    results = run_checks([all_checks()[check] for check in checks], subject, {})
    return {result.check.id: result for result in results}


def test_a_proxy_that_shares_legs_lends_the_sign_in(suite_lab: SuiteLab) -> None:
    name = suite_lab.places[CATALOG].name
    site_system = suite_lab.site.addresses[CATALOG]
    pki = suite_lab.kit.folder / "pki"
    with shared_legs() as serve, proxy(pki, name, site_system, serve) as address:
        results = run_with(
            suite_lab,
            {CATALOG: Place(name, address)},
            *("users::sign_in_of_another_client", "users::ntlm_sign_in_of_another_client"),
            # These pass: apart from this, it works.
            *("users::sign_in", "users::ntlm_sign_in", "users::signed_in_connection"),
        )
    failed = {check for check, result in results.items() if result.judgement.outcome != "pass"}
    assert failed == {
        "users::sign_in_of_another_client",
        "users::ntlm_sign_in_of_another_client",
    }
    for check in failed:
        judgement = results[check].judgement
        assert judgement.outcome is Outcome.FAIL
        assert judgement.difference == "another client was signed in as somebody"
