"""`ibcm-bridge conformance run`, `init`, `explain` and `--list`."""

from __future__ import annotations

import contextlib
import json
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from ibcm_bridge.conformance.collection import Check, Level, all_checks
from ibcm_bridge.conformance.evidence import RemoteEvidence
from ibcm_bridge.conformance.exchange import Place
from ibcm_bridge.conformance.judgement import Outcome
from ibcm_bridge.conformance.kit import (
    Kit,
    now,
    own_names,
    read_kit,
    read_own,
    records_address,
)
from ibcm_bridge.conformance.pages import pages
from ibcm_bridge.conformance.report import Report, difference
from ibcm_bridge.conformance.reproduction import (
    repeated,
    repetition,
    reproduction,
    write_requests,
)
from ibcm_bridge.conformance.revocation import Revocation
from ibcm_bridge.conformance.runner import Result, run_checks
from ibcm_bridge.conformance.subject import Subject
from ibcm_bridge.conformance.subject_file import (
    SubjectRow,
    address_of,
    public_addresses,
    read_subject,
    template,
)
from ibcm_bridge.lab.cases.policy import CATALOG, SCEP, USERS
from ibcm_bridge.lab.command_line import WINDOWS, pasted
from ibcm_bridge.lab.demo.terminal import Progress, Terminal
from ibcm_bridge.lab.errors import LabError
from ibcm_bridge.lab.site_systems.published import (
    BRIDGED,
    PLAINTEXT_PORT,
    TLS_PORT,
    TUNNELED,
    UPDATE_PORT,
)
from ibcm_bridge.policy_file.reading import PolicyError

PUBLISHED = {
    "management-point": (BRIDGED, TLS_PORT),
    "distribution-point": (BRIDGED, TLS_PORT),
    "software-update-point": (BRIDGED, UPDATE_PORT),
    "fallback-status-point": ("fsp.internet.example", PLAINTEXT_PORT),
    "management-point-users": (USERS.name, TLS_PORT),
    "management-point-tunnel": (TUNNELED["management-point"], TLS_PORT),
    "application-catalog-website-point": (CATALOG.name, TLS_PORT),
    "policy-module": (SCEP.name, TLS_PORT),
}
"""The publications of the kit's policy of ibcm-bridge: name and port."""


@dataclass(frozen=True)
class RunOptions:
    """The options of `run`."""

    only: Sequence[str] = ()
    failures_only: bool = False
    json: Path | None = None
    junit: Path | None = None
    yes: bool = False
    html: Path | None = None


def conformance_list() -> int:
    """Print the id of each check."""
    for name in all_checks():
        print(name)
    return 0


def conformance_explain(name: str) -> int:
    """Print the description of a check."""
    check = all_checks().get(name)
    if check is None:
        return _problem(f"there is no check {name}; list them with: conformance --list")
    print(f"{check.id}\n\n{check.text}\n")
    print(
        f"level:       {check.level}\nrequirement: {check.requirement}\nsource:      {check.source}"
    )
    return 0


def conformance_init(file: Path, kit: Path, product: str = "") -> int:
    """Write a new subject file; for `BRIDGE`, or for any product."""
    names = own_names(kit)
    addresses = {
        role: (names.get(role, name), f"127.0.0.1:{port}")
        for role, (name, port) in PUBLISHED.items()
    }
    try:
        with file.open("x", encoding="utf-8") as new:
            new.write(template(str(file), kit.absolute(), addresses, product))
    except OSError as error:
        return _problem(f"{file}: {error.strerror}")
    change = "" if product else " Change the product, names and addresses."
    print(f"Created {file}.{change} Next:")
    print(f"  {pasted(['ibcm-bridge', 'conformance', 'run', file])}")
    return 0


def conformance_run(file: Path, options: RunOptions) -> int:
    """Run the checks against a subject; return the exit status."""
    try:
        row = read_subject(file)
    except PolicyError as error:
        print(error, file=sys.stderr)
        return 1
    if (public := public_addresses(row)) and not options.yes:
        return _problem(
            f"{', '.join(public)}: neither a loopback nor a private address; pass --yes if the "
            "operator of this system agrees"
        )
    try:
        _create_outputs(options)
        checks = _selected(options.only)
        kit = read_own(
            read_kit(file.parent / row.kit),
            file.parent / row.clients if row.clients else None,
            file.parent / row.authority if row.authority else None,
        )
        with contextlib.closing(RemoteEvidence(records_address(kit.folder), kit)) as evidence:
            subject = Subject(
                places(row),
                kit,
                evidence,
                seconds=row.seconds,
                features=frozenset(row.features),
                time_limits=row.time_limits.model_dump(exclude_none=True),
                revocation=revocation(row, kit, file.parent),
            )
            words = repeated(file, yes=options.yes)
            results = _run(checks, subject, row, kit, words, failures_only=options.failures_only)
    except LabError as error:
        return _problem(str(error))
    except OSError as error:
        return _problem(f"{error.filename}: {error.strerror}")
    report = _report(file, row, kit, results, words, complete=not options.only)
    try:
        if options.json is not None:
            options.json.write_text(json.dumps(report.as_json(), indent=1) + "\n", "utf-8")
        if options.junit is not None:
            options.junit.write_bytes(report.as_junit())
        if options.html is not None:
            for name, text in pages(report.as_json()):
                (options.html / name).write_text(text, "utf-8")
    except OSError as error:
        return _problem(f"{error.filename}: {error.strerror}")
    print_summary(report)
    return 0 if report.is_ok else 1


def _create_outputs(options: RunOptions) -> None:
    """Create the files of the report, so that no run is in vain. OSError."""
    for file in filter(None, (options.json, options.junit)):
        file.touch()
    if options.html is not None:
        options.html.mkdir(parents=True, exist_ok=True)


def places(row: SubjectRow) -> dict[str, Place]:
    """Return how to reach each publication of a subject file."""
    return {
        name: Place(publication.name, address_of(publication.address))
        for name, publication in row.publications.items()
    }


def revocation(row: SubjectRow, kit: Kit, folder: Path) -> Revocation | None:
    """Return how the subject gets new lists; a command runs in the folder of the subject file."""
    if row.revocation is None:
        return None
    return Revocation(kit.folder, row.revocation.seconds, row.revocation.command, folder)


def _selected(only: Sequence[str]) -> list[Check]:
    """Return the checks with these ids or topics, or all. LabError."""
    known = all_checks()
    for name in only:
        if not any(name in (check, check.partition("::")[0]) for check in known):
            raise LabError(f"there is no check {name}; list them with: conformance --list")
    return [
        check
        for check in known.values()
        if not only or check.id in only or check.id.partition("::")[0] in only
    ]


def _run(
    checks: Sequence[Check],
    subject: Subject,
    row: SubjectRow,
    kit: Kit,
    words: Sequence[str],
    *,
    failures_only: bool,
) -> list[Result]:
    gaps = {gap.check: gap.because for gap in row.known_gaps}
    progress = Progress(len(checks), Terminal.found(sys.stderr).width)
    results = []
    running = run_checks(checks, subject, gaps)
    try:
        for check in checks:
            progress.begin(check.id)
            result = next(running)
            progress.clear()
            results.append(result)
            write_requests(result, kit)
            if result.is_failure or not failures_only:
                print(describe(result, kit, words), flush=True)
    finally:
        progress.clear()
    return results


def describe(result: Result, kit: Kit, words: Sequence[str], *, windows: bool = WINDOWS) -> str:
    """Return a result as text: one line, and for a failure how it differs.

    `words` run the checks. A line for a POSIX shell sends only the failed request; PowerShell has
    no such line, and runs the check.
    """
    word = result.judgement.outcome.value
    if result.is_failure and result.known_gap:
        word = "known gap"
    elif result.is_failure and result.check.level is Level.SHOULD:
        word = f"{word} (SHOULD)"
    stop = f", stopped {result.judgement.stop.value}" if result.judgement.stop else ""
    text = f"{word:16}{result.check.id}"
    if result.judgement.outcome is Outcome.PASS:
        return text
    if result.judgement.outcome is Outcome.NOT_APPLICABLE:
        return f"{text}: {difference(result)}"
    sends = "" if windows else reproduction(result, kit)
    again = sends or repetition(result, words, windows=windows)
    return (
        f"{text}{stop}\n    {result.check.requirement}: {result.check.text}\n"
        f"    expected: {result.judgement.expected}\n    seen: {difference(result)}\n"
        f"    again: {again}"
    )


def _report(
    file: Path,
    row: SubjectRow,
    kit: Kit,
    results: Sequence[Result],
    words: Sequence[str],
    *,
    complete: bool,
) -> Report:
    return Report(
        product=row.product,
        product_version=row.product_version,
        configuration=file.parent / row.configuration if row.configuration else None,
        date=now(),
        results=results,
        gap_problems=gap_problems(row, results),
        kit=kit,
        words=words,
        complete=complete,
    )


def gap_problems(row: SubjectRow, results: Sequence[Result]) -> list[str]:
    """Return the known gaps that passed, or that match no check."""
    outcomes = {result.check.id: result for result in results}
    problems = []
    for gap in row.known_gaps:
        if gap.check not in all_checks():
            problems.append(f"known gap {gap.check}: there is no such check")
        elif gap.check in outcomes and not outcomes[gap.check].is_failure:
            outcome = outcomes[gap.check].judgement.outcome
            problems.append(f"known gap {gap.check}: {outcome}; remove it from the subject file")
    return problems


def print_summary(report: Report) -> None:
    """Print the problems of known gaps, and the counts."""
    for problem in report.gap_problems:
        print(problem)
    counts = ", ".join(f"{number} {outcome}" for outcome, number in report.counts().items())
    print(f"\n{report.product} {report.product_version}: {report.verdict()} ({counts})")


def _problem(text: str) -> int:
    print(f"ibcm-bridge conformance: {text}", file=sys.stderr)
    return 1
