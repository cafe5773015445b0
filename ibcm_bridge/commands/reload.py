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
    lines, good = reload(options.control)
    for line in lines:
        print(line, file=sys.stdout if good else sys.stderr)
    return 0 if good else EXIT_PROBLEM


def reload(control: Path) -> tuple[list[str], bool]:
    """Reload the bridge of a control socket. Return the lines, and whether it was reloaded."""
    if sys.platform != "linux":
        return [f"ibcm-bridge: {NEEDS_LINUX}"], False
    from ibcm_bridge.addons.run.control_client import reload_bridge
    from ibcm_bridge.addons.run.control_socket import ControlError

    try:
        outcome = reload_bridge(control)
    except ControlError as error:
        return [f"ibcm-bridge: {error}"], False
    if outcome is None:
        why = (
            f"ibcm-bridge: no bridge runs at {control}; start it with run --control PATH, "
            "and name the same path here"
        )
        return [why], False
    if not outcome.problems:
        return [f"reload done; the policy in use is {outcome.digest}"], True
    number = counted(len(outcome.problems), "problem")
    last = f"{number}; reload refused; the policy in use stays {outcome.digest}"
    return [*outcome.problems, last], False
