"""`ibcm-bridge reload`."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from ibcm_bridge.commands.common import EXIT_PROBLEM, Subcommands, counted
from ibcm_bridge.commands.startup import NEEDS_LINUX, SERVICE_SOCKET


def add(commands: Subcommands) -> None:
    parser = commands.add_parser(
        "reload",
        help="reload the policy of a running bridge, and print the outcome",
        description="Let a running bridge read its policy file again, and wait for the outcome. "
        "After a problem, the policy in use stays in use. Exit status: 0 the bridge uses the new "
        "policy, 1 it does not.",
    )
    parser.add_argument(
        "--control",
        type=Path,
        default=SERVICE_SOCKET,
        metavar="PATH",
        help=f"control socket of the bridge, as in `run --control` (default: {SERVICE_SOCKET})",
    )
    parser.set_defaults(run=_reload)


def _reload(options: argparse.Namespace) -> int:
    if sys.platform != "linux":
        print(f"ibcm-bridge: {NEEDS_LINUX}", file=sys.stderr)
        return EXIT_PROBLEM
    from ibcm_bridge.addons.run.control_client import reload_bridge
    from ibcm_bridge.addons.run.control_socket import ControlError

    try:
        outcome = reload_bridge(options.control)
    except ControlError as error:
        print(f"ibcm-bridge: {error}", file=sys.stderr)
        return EXIT_PROBLEM
    if outcome is None:
        print(
            f"ibcm-bridge: no bridge runs at {options.control}; start it with run --control PATH, "
            "and name the same path here",
            file=sys.stderr,
        )
        return EXIT_PROBLEM
    if not outcome.problems:
        print(f"reload done; the policy in use is {outcome.digest}")
        return 0
    for problem in outcome.problems:
        print(problem, file=sys.stderr)
    number = counted(len(outcome.problems), "problem")
    print(f"{number}; reload refused; the policy in use stays {outcome.digest}", file=sys.stderr)
    return EXIT_PROBLEM
