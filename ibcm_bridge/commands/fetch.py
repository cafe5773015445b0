"""`ibcm-bridge fetch`: fetches the revocation lists of a policy once, as a start of `run` does."""

from __future__ import annotations

import argparse
import asyncio
from collections.abc import Iterator
from typing import TYPE_CHECKING

from ibcm_bridge.commands.common import EXIT_PROBLEM, Subcommands, add_config, read_policy

if TYPE_CHECKING:
    from ibcm_bridge.addons.tls.current_trust import CurrentTrust
    from ibcm_bridge.commands.check.findings import Finding
    from ibcm_bridge.policy.policy import Policy


def add(commands: Subcommands) -> None:
    parser = commands.add_parser(
        "fetch",
        help="fetch the revocation lists of a policy once",
        description="Fetch each revocation list of `fetch` into its folder, as `run` does, and "
        "report whether each CA has a current list. Exit status: 0 each CA has one, 1 a CA has "
        "none, so that `run` would refuse its certificates.",
    )
    add_config(parser)
    parser.set_defaults(run=_run)


def _run(options: argparse.Namespace) -> int:
    from ibcm_bridge.commands.check.command import finding_line, has_problem, last_line

    policy = read_policy(options.config)
    if policy is None:
        return EXIT_PROBLEM
    # Publications of several listeners can have the same name, and the same lists.
    findings = list(dict.fromkeys(fetched(policy)))
    for finding in findings:
        print(finding_line(finding))
    print(last_line(findings))
    return EXIT_PROBLEM if has_problem(findings) else 0


def fetched(policy: Policy) -> Iterator[Finding]:
    """Fetch all lists at the same time. Yield the outcome of each, and the state of each CA."""
    from ibcm_bridge.addons.renewal.crl_fetch import Fetch
    from ibcm_bridge.commands.check.findings import Finding, Level

    trusts = list(_trusts(policy))
    fetches = [
        (where, Fetch(url, source.folder), trust)
        for where, trust in trusts
        if (source := trust.trust.revocation.fetch) is not None
        for url in source.urls
    ]

    async def all_at_once() -> list[str | None]:
        return await asyncio.gather(*(fetch.run(trust) for _, fetch, trust in fetches))

    for (where, fetch, _), problem in zip(fetches, asyncio.run(all_at_once()), strict=True):
        if problem is None:
            yield Finding(Level.FACT, where, f"{fetch.url} was fetched")
        else:
            yield Finding(Level.WARNING, where, f"{fetch.url}: {problem}")
    for where, trust in trusts:
        yield from _states(where, trust)


def _trusts(policy: Policy) -> Iterator[tuple[str, CurrentTrust]]:
    from ibcm_bridge.addons.tls.current_trust import CurrentTrust

    for _, publication in policy.bridged():
        if publication.client_trust is not None:
            yield f"{publication.name}: clients.trust", CurrentTrust(publication.client_trust)
        where = f"{publication.name}: site_systems.trust"
        yield where, CurrentTrust(publication.site_system_trust)


def _states(where: str, trust: CurrentTrust) -> Iterator[Finding]:
    """Read the files again, as `run` does, and yield the lists and what each CA lacks."""
    from ibcm_bridge.authentication.list_states import list_states
    from ibcm_bridge.authentication.revocation import renew
    from ibcm_bridge.commands.check.findings import Finding, Level
    from ibcm_bridge.policy_file.crl_files import read_crl_files

    now = trust.clock()
    files = read_crl_files(trust.trust.revocation.sources).lists
    trust.renew(renew(trust.lists, trust.trust, files, now).lists)
    for crl in trust.lists.held.values():
        if now <= crl.ends:
            text = f"{crl.describe()} expires on {crl.ends:%Y-%m-%d %H:%M} UTC"
            yield Finding(Level.FACT, where, text)
    for state in list_states(trust.trust, trust.lists, now):
        level = Level.WARNING if state.is_current else Level.PROBLEM
        for problem in state.problems():
            yield Finding(level, where, problem)
