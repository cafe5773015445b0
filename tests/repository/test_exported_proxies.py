"""Other proxies with their exported configurations: the conformance suite has the kept results."""

from __future__ import annotations

from dataclasses import replace

import pytest

from ibcm_bridge.conformance.collection import all_checks
from ibcm_bridge.export.checks import mapped_checks, rules_of
from ibcm_bridge.export.proxies import PROXIES, Proxy
from ibcm_bridge.lab.cases.table import CASES
from ibcm_bridge.lab.comparison.plain_proxy import RecordedPath, version_of
from tests.needs import demand
from tests.repository.comparison_page import PAGE, page
from tests.repository.exported import (
    NEEDED,
    expected,
    outcomes,
    plain_results,
    run_suite,
    unexplained,
)


@pytest.mark.parametrize("proxy", PROXIES.values(), ids=PROXIES)
def test_the_suite_has_the_kept_results(proxy: Proxy) -> None:
    demand(*NEEDED[proxy.name])
    kept = expected(proxy)
    found = outcomes(run_suite(proxy, kept["results"]))
    differences = {
        check: (kept["results"].get(check), outcome)
        for check, outcome in found.items()
        if kept["results"].get(check) != outcome
    }
    version = version_of(proxy)
    assert differences == {}, f"kept: {kept['version']}, found: {version}; run: make comparison"


@pytest.mark.parametrize("proxy", PROXIES.values(), ids=PROXIES)
def test_a_limit_of_the_proxy_explains_each_failure(proxy: Proxy) -> None:
    kept = expected(proxy)["results"]
    assert kept.keys() == all_checks().keys()
    assert unexplained(proxy, kept) == []


def test_a_failure_without_a_limit_is_found() -> None:
    (proxy, *_) = PROXIES.values()
    assert unexplained(proxy, {"verbs::trace": "fail, stopped not at all"}) == ["verbs::trace"]


def test_the_demo_has_the_recorded_results_of_nginx() -> None:
    demand(*NEEDED["nginx"])
    path = RecordedPath()
    recorded = {case.id: path.result(case) for case in CASES}
    found = {name: replace(result, recorded=True) for name, result in plain_results().items()}
    assert found == recorded, "run: make comparison"


def test_the_page_of_the_comparison_has_the_kept_results() -> None:
    assert PAGE.read_text("utf-8") == page(), "run: make comparison"


def test_each_check_has_a_rule() -> None:
    assert all(rules_of(check) for check in all_checks())
    assert mapped_checks() <= all_checks().keys()
