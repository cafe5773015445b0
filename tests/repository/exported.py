"""Runs the conformance suite against other proxies with their exported configurations.

`make comparison` writes the results to `expected` and to docs/comparison.md. It is not repeated on
the wheel: a run takes half a minute for each proxy, and the wheel has the same export.
"""

from __future__ import annotations

import json
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from ipaddress import IPv4Address
from pathlib import Path
from typing import Any

from ibcm_bridge.conformance.collection import all_checks
from ibcm_bridge.conformance.exchange import Place
from ibcm_bridge.conformance.judgement import Outcome
from ibcm_bridge.conformance.kit import Kit, make_kit, now
from ibcm_bridge.conformance.runner import Result, run_checks
from ibcm_bridge.conformance.running import PUBLISHED
from ibcm_bridge.conformance.serving import quick_policy, serving
from ibcm_bridge.conformance.subject import Subject
from ibcm_bridge.conformance.subject_file import KIT_LIMITS
from ibcm_bridge.export.checks import rules_of
from ibcm_bridge.export.proxies import Proxy
from ibcm_bridge.export.rules import Extent
from ibcm_bridge.lab.bridge.exported_proxy import exported_proxy
from ibcm_bridge.lab.bridge.process import with_site_systems
from ibcm_bridge.lab.cases.table import CASES
from ibcm_bridge.lab.comparison.outcomes import PlainResult
from ibcm_bridge.lab.comparison.plain_proxy import (
    RECORDED,
    plain_path,
    recorded_text,
    version_of,
)
from ibcm_bridge.lab.perimeter.perimeter import Perimeter
from ibcm_bridge.lab.site_systems.site_systems import SiteSystems

EXPECTED = Path(__file__).parent / "expected"
HANG_SECONDS = 30.0

NEEDED = {
    "nginx": ("nginx", "nginx-stream"),
    "haproxy": ("haproxy",),
    # Root: in a mount namespace, Apache finds the names of the site systems.
    "apache": ("apache2", "modsecurity", "root"),
    "envoy": ("envoy",),
}


@contextmanager
def subject_behind(proxy: Proxy, text: str | None = None) -> Iterator[Subject]:
    """Run a proxy with the export of a policy, and give the subject of the suite.

    `text`: a policy with the same time limits; without it, `quick_policy`.
    """
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary) / "kit"
        with serving(IPv4Address("127.0.0.1"), folder, fixed_ports=False) as site:
            kit, _ = make_kit(folder, None, now())
            policy = with_site_systems(text or quick_policy(), site)
            with subject_of(proxy, policy, folder, kit, site, PUBLISHED) as subject:
                yield subject


@contextmanager
def subject_of(
    proxy: Proxy,
    policy: str,
    folder: Path,
    kit: Kit,
    site: SiteSystems,
    published: Mapping[str, tuple[str, int]],
) -> Iterator[Subject]:
    """Run a proxy with the export of a policy, whose files are in `folder`.

    `published`: the names and ports of the policy, by the role or another word.
    """
    with exported_proxy(proxy, policy, folder) as running:
        left_out = {place.partition("/")[0] for place in running.export.left_out}
        places = {
            role: Place(name, running.addresses[port])
            for role, (name, port) in published.items()
            if name not in left_out
        }
        users = ("windows-authentication",) if proxy.holds_legs else ()
        features = frozenset(("ca_names", *users))
        yield Subject(
            places,
            kit,
            site,
            seconds=HANG_SECONDS,
            features=features,
            time_limits=KIT_LIMITS,
        )


def run_suite(proxy: Proxy, kept: Mapping[str, str] | None = None) -> list[Result]:
    """Run all checks against a proxy with the export of the demo's policy.

    A check whose outcome is not the kept one runs again: other load on the machine can delay one
    request past a limit of the proxy.
    """
    with subject_behind(proxy) as subject:
        results = list(run_checks(list(all_checks().values()), subject, {}))
        if kept is None:
            return results
        other = [found.check for found in results if kept.get(found.check.id) != _outcome(found)]
        again = {found.check.id: found for found in run_checks(other, subject, {})}
    return [again.get(found.check.id, found) for found in results]


def outcomes(results: list[Result]) -> dict[str, str]:
    """Return the outcome of each check; a failure with where the request was stopped."""
    return {result.check.id: _outcome(result) for result in results}


def _outcome(result: Result) -> str:
    judged = result.judgement
    if judged.outcome is Outcome.FAIL and judged.stop:
        return f"fail, stopped {judged.stop}"
    return str(judged.outcome)


def expected(proxy: Proxy) -> Mapping[str, Any]:
    """Return the kept results of a proxy."""
    found: Mapping[str, Any] = json.loads((EXPECTED / f"{proxy.name}.json").read_text("utf-8"))
    return found


def unexplained(proxy: Proxy, results: Mapping[str, str]) -> list[str]:
    """Return the checks that fail although the proxy's statements enforce all of their rules."""
    return [
        check
        for check, outcome in results.items()
        if outcome.startswith(("fail", "hang"))
        and all(proxy.statements[rule].extent is Extent.YES for rule in rules_of(check))
    ]


def plain_results() -> dict[str, PlainResult]:
    """Send the cases of the demo through nginx, and return the results by case."""
    results = {}
    with (
        tempfile.TemporaryDirectory() as folder,
        Perimeter(Path(folder)) as lab,
        plain_path(Path(folder), lab.pki.root, lab.clients, lab.site, must_run=True) as plain,
    ):
        for case in CASES:
            # The bridge also sends the requests before this one.
            lab.comparison.result(case)
            found = plain.result(case)
            assert found is not None
            results[case.id] = found
    return results


def write_plain_results() -> None:
    """Record the results of the demo's third path, which are a file of the package."""
    results = plain_results()
    proxy = next(iter(results.values())).proxy
    file = Path(__file__).parents[2] / "ibcm_bridge" / "lab" / "comparison" / RECORDED
    file.write_text(recorded_text(proxy, results), "utf-8")


def write_expected(proxy: Proxy) -> None:
    """Run the suite, and keep its results."""
    kept = {"version": version_of(proxy), "results": outcomes(run_suite(proxy))}
    text = json.dumps(kept, indent=1)
    (EXPECTED / f"{proxy.name}.json").write_text(f"{text}\n", "utf-8")
