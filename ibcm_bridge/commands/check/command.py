"""`ibcm-bridge check`: reports the publications and problems of a policy."""

from __future__ import annotations

import argparse
import datetime
import itertools
from collections import Counter
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from ibcm_bridge.commands.common import (
    EXIT_PROBLEM,
    Subcommands,
    add_config,
    add_untested_mitmproxy,
    counted,
    mitmproxy_refusal,
    read_policy,
)

if TYPE_CHECKING:
    from ibcm_bridge.commands.check.findings import Finding
    from ibcm_bridge.policy.policy import Policy


def add(commands: Subcommands) -> None:
    parser = commands.add_parser(
        "check",
        help="validate a policy, and list its publications and problems",
        description="Load a policy as `run` does, and list its publications and problems. "
        "Check its certificates and revocation lists: purposes, names, dates, keys. Without "
        "--connect, open no connections. Exit status: 0 no problem, 1 at least one problem.",
    )
    add_config(parser)
    add_untested_mitmproxy(parser)
    parser.add_argument(
        "--connect",
        action="store_true",
        help="also resolve the published names, connect to each site system with the bridge's "
        "client certificate, send HEAD for a nonexistent file in each directory, and try each use "
        "of the database of `state`",
    )
    parser.set_defaults(run=_run)


def _run(options: argparse.Namespace) -> int:
    from ibcm_bridge.commands.check.bindings import check_bindings

    policy = read_policy(options.config)
    if policy is None:
        return EXIT_PROBLEM
    findings = []
    for finding in itertools.chain(
        policy_findings(policy),
        # `run` reports these itself when it starts.
        _untested(options),
        _open_files(policy),
        check_bindings(policy.messages),
        _connect(policy) if options.connect else (),
    ):
        print(finding_line(finding), flush=True)
        findings.append(finding)
    print(last_line(findings))
    return EXIT_PROBLEM if has_problem(findings) else 0


def check_source(path: Path, source: bytes) -> tuple[list[str], bool]:
    """Check a text as the policy of this file, as the command does without --connect.

    Return its lines, and whether there is no problem.
    """
    from ibcm_bridge.commands.check.bindings import check_bindings

    lines: list[str] = []
    policy = read_policy(path, lines.append, source)
    if policy is None:
        return lines, False
    findings = [*policy_findings(policy), *_open_files(policy), *check_bindings(policy.messages)]
    return [*map(finding_line, findings), last_line(findings)], not has_problem(findings)


def has_problem(findings: Iterable[Finding]) -> bool:
    """Whether something does not work."""
    from ibcm_bridge.commands.check.findings import Level

    return any(finding.level is Level.PROBLEM for finding in findings)


def last_line(findings: Iterable[Finding]) -> str:
    """The numbers of problems and warnings."""
    from ibcm_bridge.commands.check.findings import Level

    counts = Counter(finding.level for finding in findings)
    return (
        f"{counted(counts[Level.PROBLEM], 'problem')}, {counted(counts[Level.WARNING], 'warning')}"
    )


def _untested(options: argparse.Namespace) -> Iterator[Finding]:
    from ibcm_bridge.commands.check.findings import Finding, Level

    if why_not := mitmproxy_refusal(options):
        yield Finding(Level.PROBLEM, "cannot start", why_not)


def _open_files(policy: Policy) -> Iterator[Finding]:
    from ibcm_bridge.commands.check.findings import Finding, Level
    from ibcm_bridge.storage.open_files import open_files_refusal

    if why_not := open_files_refusal(policy.limits.connections):
        yield Finding(Level.PROBLEM, "limits.connections", why_not)


def _connect(policy: Policy) -> Iterable[Finding]:
    from ibcm_bridge.commands.check.public_names import check_names
    from ibcm_bridge.commands.check.site_systems import check_connections
    from ibcm_bridge.commands.check.state import check_state

    return itertools.chain(check_names(policy), check_connections(policy), check_state(policy))


def policy_findings(policy: Policy) -> list[Finding]:
    from ibcm_bridge.addons.tls.verification import verify_authority
    from ibcm_bridge.commands.check.listen_addresses import listen_addresses
    from ibcm_bridge.commands.check.listeners import check_listeners
    from ibcm_bridge.commands.check.policy import check_policy

    now = datetime.datetime.now(datetime.UTC)
    return [
        *check_listeners(policy.listeners, listen_addresses),
        *check_policy(policy, now, verify_authority),
    ]


def finding_line(finding: Finding) -> str:
    cited = f" ({finding.requirement})" if finding.requirement else ""
    level = "" if finding.level == "fact" else f"{finding.level.upper()}: "
    return f"{level}{finding.where}: {finding.text}{cited}"
