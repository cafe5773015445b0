"""Writes docs/comparison.md from the kept results and from the statements of each export.

`make comparison` runs the suite against the proxies first.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from ibcm_bridge.conformance.collection import all_checks
from ibcm_bridge.export.proxies import PROXIES
from ibcm_bridge.export.rules import ExportRule, Extent
from tests.repository.exported import expected, write_expected, write_plain_results

PAGE = Path(__file__).parents[2] / "docs" / "comparison.md"

NAMES = {"nginx": "nginx", "haproxy": "HAProxy", "apache": "Apache", "envoy": "Envoy"}
SOURCES = {
    "nginx": "[nginx.org/en/docs](https://nginx.org/en/docs/)",
    "haproxy": "[docs.haproxy.org](https://docs.haproxy.org/2.6/configuration.html)",
    "apache": "[httpd.apache.org](https://httpd.apache.org/docs/2.4/mod/), "
    "[ModSecurity](https://github.com/owasp-modsecurity/ModSecurity/wiki)",
    "envoy": "[envoyproxy.io](https://www.envoyproxy.io/docs/envoy/v1.40.0/)",
}

_INTRODUCTION = """\
# Comparison with other proxies

`ibcm-bridge export` writes a configuration of nginx, HAProxy, Apache (with ModSecurity) and Envoy
from a policy ([how](conformance.md#export-a-policy-to-another-proxy)). This page shows what each of
them enforces, and why it cannot enforce the rest. It is generated: `make comparison` runs the
[conformance suite](conformance.md) against each proxy with the exported policy of the demo, and
writes this page. CI runs the suite again, and fails if a result differs from this page.

The bridge passes all checks (tests/conformance/test_checks.py).
"""


def page() -> str:
    """The text of the page."""
    results = {name: expected(proxy) for name, proxy in PROXIES.items()}
    lines = [*_versions(results), *_requirements(), *_failures(results)]
    return _INTRODUCTION + "\n" + "\n".join(lines) + "\n"


def _versions(results: Mapping[str, Mapping[str, Any]]) -> Iterator[str]:
    yield "## Results"
    yield ""
    yield "| proxy | version | pass | fail | not applicable | documentation |"
    yield "|---|---|---|---|---|---|"
    for name, kept in results.items():
        outcomes = list(kept["results"].values())
        failed = sum(outcome.startswith(("fail", "hang")) for outcome in outcomes)
        counts = f"{outcomes.count('pass')} | {failed} | {outcomes.count('not applicable')}"
        yield f"| {NAMES[name]} | {kept['version']} | {counts} | {SOURCES[name]} |"
    yield ""


def _requirements() -> Iterator[str]:
    yield "## By requirement"
    yield ""
    yield "*yes*, *in part* or *no*, and how or why not. The bridge enforces every rule here."
    yield ""
    named: dict[str, list[ExportRule]] = {}
    for rule in ExportRule:
        named.setdefault(rule.requirement, []).append(rule)
    for requirement, rules in named.items():
        yield f"### {requirement}"
        yield ""
        yield f"| rule | {' | '.join(NAMES[name] for name in PROXIES)} |"
        yield f"|---|{'---|' * len(PROXIES)}"
        for rule in rules:
            cells = (_cell(proxy.statements[rule]) for proxy in PROXIES.values())
            yield f"| {rule.text} | {' | '.join(cells)} |"
        yield ""


def _cell(statement: Any) -> str:
    word = statement.extent.value
    text = f"*{word}*: {statement.sentence}"
    assert "|" not in text
    return text if statement.extent is not Extent.YES else f"{word}: {statement.sentence}"


def _failures(results: Mapping[str, Mapping[str, Any]]) -> Iterator[str]:
    yield "## Checks that fail"
    yield ""
    yield "All other checks pass or are not applicable. In parentheses: where a request that must"
    yield "not arrive was stopped. `ibcm-bridge conformance explain ID` describes a check."
    yield ""
    yield f"| check | level | {' | '.join(NAMES[name] for name in PROXIES)} |"
    yield f"|---|---|{'---|' * len(PROXIES)}"
    for name, check in all_checks().items():
        outcomes = [str(kept["results"][name]) for kept in results.values()]
        if any(outcome.startswith(("fail", "hang")) for outcome in outcomes):
            cells = (re.sub(", stopped (.*)", r" (\1)", outcome) for outcome in outcomes)
            yield f"| `{name}` | {check.level} | {' | '.join(cells)} |"


def main() -> None:
    """Run the suite against all proxies, and write the page."""
    for proxy in PROXIES.values():
        print(f"{proxy.name} ...", flush=True)  # noqa: T201 - the suite takes a minute
        write_expected(proxy)
    PAGE.write_text(page(), "utf-8")
    write_plain_results()


if __name__ == "__main__":
    main()
