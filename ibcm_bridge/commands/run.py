"""`ibcm-bridge run`."""

from __future__ import annotations

import argparse
import contextlib
import logging
from collections.abc import Collection, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from ibcm_bridge.commands.check.command import finding_line, policy_findings
from ibcm_bridge.commands.common import (
    EXIT_PROBLEM,
    Subcommands,
    add_config,
    add_untested_mitmproxy,
    mitmproxy_refusal,
    read_policy,
)
from ibcm_bridge.commands.early_signals import Hangups, early_signals
from ibcm_bridge.commands.log_output import LogFormat, report, say
from ibcm_bridge.commands.startup import add_options, make_startup
from ibcm_bridge.commands.workers import worker_count, workers_refusal

if TYPE_CHECKING:
    from ibcm_bridge.addons.run.reload import PolicyText
    from ibcm_bridge.commands.check.findings import Finding
    from ibcm_bridge.policy.addresses import Address
    from ibcm_bridge.policy.policy import Policy

_LEVELS = {"problem": logging.ERROR, "warning": logging.WARNING}
"""The level of a finding -> that of its line in the log."""

_WEB_PORT = 8081
"""The default port of mitmweb."""


def add(commands: Subcommands) -> None:
    parser = commands.add_parser(
        "run",
        help="run the bridge",
        description="Run the bridge until Ctrl-C or SIGTERM. SIGHUP reloads the policy. Load the "
        "whole policy before listening. Print the findings of `check`; they do not prevent the "
        "start. Exit status: 0 stopped, 1 could not start, or workers failed or had to be killed.",
    )
    add_config(parser)
    add_untested_mitmproxy(parser)
    add_options(parser)
    parser.add_argument(
        "--verbose", action="store_true", help="also log details, and mitmproxy's debug messages"
    )
    parser.add_argument(
        "--log-format",
        choices=[*map(str, LogFormat)],
        default=str(LogFormat.TEXT),
        help="the lines on standard error: text (default), or one JSON object per line",
    )
    parser.add_argument(
        "--shadow",
        type=Path,
        metavar="FILE",
        help="another policy that judges each request, too, without any effect on it; the audit "
        "has what differs, and `ibcm-bridge audit diff` counts it. A reload reads it again",
    )
    parser.add_argument(
        "--web",
        type=_port_number,
        nargs="?",
        const=_WEB_PORT,
        metavar="PORT",
        help="show traffic on a local, read-only web page, without secrets; outside a lab, the "
        f"policy must give a reason (web.because); port 0 is any free port (default: {_WEB_PORT})",
    )
    parser.set_defaults(run=_run)


def web_page_refusal(policy: Policy) -> str | None:
    """Why the web page must not be served, for the operator; None if it may be.

    It may be served in a lab (only this machine can connect to the listeners), or if the policy
    gives a reason. Anyone with the page's URL sees requests and messages, without secrets. For real
    clients, that needs a reason.
    """
    from ibcm_bridge.policy.addresses import address_text, is_loopback

    if policy.web_because is not None:
        return None
    addresses = [listener.address for listener in policy.listeners]
    others = [address_text(address) for address in addresses if not is_loopback(address[0])]
    if not others:
        return None
    return (
        f"the policy listens on {', '.join(others)}, so this is not a lab; to show traffic anyway, "
        "give a reason in the policy (web: {because: ...})"
    )


def _connections_refusal(policy: Policy) -> str | None:
    from ibcm_bridge.storage.open_files import open_files_refusal

    why_not = open_files_refusal(policy.limits.connections)
    return why_not and f"limits.connections: {why_not}"


def _shadow_refusal(policy: Policy) -> str | None:
    # The bindings of another database would lead to other outcomes.
    if policy.shadow is None or policy.shadow.state in (None, policy.state):
        return None
    return (
        "the policy of --shadow has another `state`; the shadow judges by the bindings of the "
        "policy in use, so remove the key from it, or write the same database"
    )


def _port_number(text: str) -> int:
    if not text.isdecimal() or int(text) > 65_535:
        raise argparse.ArgumentTypeError(f"{text} is not a port number")
    return int(text)


def _read_again(
    options: argparse.Namespace, text: PolicyText | None, *, listeners: Collection[Address] | None
) -> Policy:
    """Return the policy for a reload, with these listeners if systemd has opened them.

    `text` replaces the texts of both files, so it is without a shadow if it has none. Raise
    PolicyError.
    """
    import dataclasses

    from ibcm_bridge.policy_file import PolicyError, load_policy

    policy = load_policy(options.config, text.policy if text is not None else None)
    shadow = text.shadow if text is not None else None
    if options.shadow is not None and (text is None or shadow is not None):
        policy = dataclasses.replace(policy, shadow=load_policy(options.shadow, shadow))
    web = options.web is not None
    why_not = _connections_refusal(policy) or _shadow_refusal(policy)
    if why_not := why_not or (web_page_refusal(policy) if web else None):
        raise PolicyError([why_not])
    if listeners is not None and set(policy.listen_addresses) != set(listeners):
        raise PolicyError(
            ["systemd has opened the listeners; change them in the socket unit too, and restart"]
        )
    return policy


def _report_reload(digest: str, problems: Sequence[str]) -> None:
    for problem in problems:
        report(f"reload: {problem}", logging.ERROR)
    if problems:
        report(f"reload refused; the policy in use stays {digest}", logging.ERROR)
    else:
        report(f"reload done; the policy in use is {digest}")


def _print_start(addresses: list[Address], findings: list[Finding]) -> None:
    from ibcm_bridge.policy.addresses import address_text

    for address in addresses:
        report(f"listening on {address_text(address)}")
    for finding in findings:
        if finding.level == "fact":
            report(finding_line(finding))


def _read_policies(options: argparse.Namespace) -> Policy | None:
    """Return the policy, with that of --shadow. None after printing their problems."""
    import dataclasses

    def complain(text: str) -> None:
        say(text, logging.ERROR, prefix="")

    policy = read_policy(options.config, complain)
    if policy is None or options.shadow is None:
        return policy
    if (shadow := read_policy(options.shadow, complain)) is None:
        return None
    text = f"{options.shadow} judges each request, too, without any effect on it"
    say(f"--shadow: {text}")
    return dataclasses.replace(policy, shadow=shadow)


def _run(options: argparse.Namespace) -> int:
    with early_signals() as hangups:
        return _run_bridge(options, hangups)


def _run_bridge(options: argparse.Namespace, hangups: Hangups) -> int:
    policy = _read_policies(options)
    if policy is None:
        return EXIT_PROBLEM
    web = options.web is not None
    # These imports take a while; problems of the policy are reported before them.
    import asyncio

    from ibcm_bridge.addons.errors import StartError, WorkersError
    from ibcm_bridge.addons.operations.service_manager import READY, notify
    from ibcm_bridge.addons.run.reload import PolicySource
    from ibcm_bridge.addons.run.serve import run
    from ibcm_bridge.inspection.engines import RuleError
    from ibcm_bridge.storage.open_files import raise_open_file_limit

    if (why_not := workers_refusal(policy, web=web) or _shadow_refusal(policy)) is not None:
        say(f"cannot start: {why_not}", logging.ERROR)
        return EXIT_PROBLEM
    page = None
    if web:
        if (why_not := web_page_refusal(policy)) is not None:
            say(f"--web: {why_not}", logging.ERROR)
            return EXIT_PROBLEM
        from ibcm_bridge.addons.web.web_page import WebPage

        page = WebPage(options.web)
    findings = policy_findings(policy)
    for finding in findings:
        if finding.level != "fact":
            say(finding_line(finding), _LEVELS[finding.level])

    def ready(addresses: list[Address]) -> None:
        if page is not None:
            report(f"traffic is shown on {page.url}")
        _print_start(addresses, findings)
        notify(READY)

    raise_open_file_limit()
    try:
        if why_not := mitmproxy_refusal(options) or _connections_refusal(policy):
            raise StartError(why_not)
        startup = make_startup(options, policy)
        startup.reload_asked = hangups.noted
        fixed = policy.listen_addresses if startup.inherited.by_service_manager else None
        source = PolicySource(
            lambda text: _read_again(options, text, listeners=fixed), _report_reload
        )
        count = worker_count(policy, web=page is not None)
        with contextlib.closing(startup):
            if count == 1:
                drained = asyncio.run(run(policy, source, ready, startup, page))
            else:
                # Only Linux has everything that this imports.
                from ibcm_bridge.addons.workers.run import run_workers

                drained = run_workers(policy, source, count, ready, startup)
    except (StartError, RuleError, OSError) as error:
        say(f"cannot start: {error}", logging.ERROR)
        return EXIT_PROBLEM
    except WorkersError as error:
        report(f"stopped: {error}", logging.ERROR)
        return EXIT_PROBLEM
    if drained:
        report("drained")
    report("stopped")
    return 0
