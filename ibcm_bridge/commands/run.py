"""`ibcm-bridge run`."""

from __future__ import annotations

import argparse
import sys
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

if TYPE_CHECKING:
    from ibcm_bridge.policy.policy import Policy

_WEB_PORT = 8081
"""As mitmweb's."""


def add(commands: Subcommands) -> None:
    parser = commands.add_parser(
        "run",
        help="run the bridge",
        description="Runs the bridge until Ctrl-C or SIGTERM. Nothing is listened on until the "
        "whole policy has been read; what `check` finds is printed, and does not stop it. "
        "Exit status: 0 stopped, 1 could not start.",
    )
    add_config(parser)
    add_untested_mitmproxy(parser)
    parser.add_argument("--verbose", action="store_true", help="log what mitmproxy does")
    parser.add_argument(
        "--web",
        type=_port_number,
        nargs="?",
        const=_WEB_PORT,
        metavar="PORT",
        help="show traffic on a page of this machine, without secrets and read-only; in a lab, or "
        f"where the policy says why (web). PORT: {_WEB_PORT} when left out, 0 for any",
    )
    parser.set_defaults(run=_run)


def web_page_refusal(policy: Policy) -> str | None:
    """Why traffic must not be shown on a page, for the operator; None where it may be.

    It may be in a lab, a policy that only this machine can reach, or where the policy says why.
    Everyone who has the page's address sees who asks for what and what is in messages, secrets
    apart; where real clients connect, that needs a reason.
    """
    from ibcm_bridge.policy.addresses import address_text, is_loopback

    if policy.web_because is not None:
        return None
    addresses = [listener.address for listener in policy.listeners]
    others = [address_text(address) for address in addresses if not is_loopback(address[0])]
    if not others:
        return None
    return (
        f"the policy listens on {', '.join(others)}, so this is no lab; to show traffic all the "
        "same, have the policy say why (web: {because: ...})"
    )


def _port_number(text: str) -> int:
    if not text.isdecimal() or int(text) > 65_535:
        raise argparse.ArgumentTypeError(f"{text} is no port")
    return int(text)


def _run(options: argparse.Namespace) -> int:
    policy = read_policy(options.config)
    if policy is None:
        return EXIT_PROBLEM
    # Only now, because they take a while: what is wrong with a policy is said at once.
    import asyncio

    from ibcm_bridge.addons.errors import StartError
    from ibcm_bridge.addons.run import run
    from ibcm_bridge.inspection.engines import RuleError
    from ibcm_bridge.policy.addresses import address_text
    from ibcm_bridge.storage.open_files import raise_open_file_limit

    page = None
    if options.web is not None:
        if (why_not := web_page_refusal(policy)) is not None:
            print(f"ibcm-bridge: --web: {why_not}", file=sys.stderr)
            return EXIT_PROBLEM
        from ibcm_bridge.addons.web.web_page import WebPage

        page = WebPage(options.web)
    findings = policy_findings(policy)
    for finding in findings:
        if finding.level != "fact":
            print(f"ibcm-bridge: {finding_line(finding)}", file=sys.stderr)

    def ready(addresses: list[tuple[str, int]]) -> None:
        if page is not None:
            print(f"ibcm-bridge: traffic is shown on {page.url}", file=sys.stderr)
        for address in addresses:
            print(f"ibcm-bridge: listening on {address_text(address)}", file=sys.stderr)
        for finding in findings:
            if finding.level == "fact":
                print(f"ibcm-bridge: {finding_line(finding)}", file=sys.stderr)
        sys.stderr.flush()

    raise_open_file_limit()
    try:
        if why_not := mitmproxy_refusal(options):
            raise StartError(why_not)
        asyncio.run(run(policy, ready, page))
    except (StartError, RuleError, OSError) as error:
        print(f"ibcm-bridge: cannot start: {error}", file=sys.stderr)
        return EXIT_PROBLEM
    print("ibcm-bridge: stopped", file=sys.stderr)
    return 0
