"""What commands share: exit statuses, options, and reading the policy."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from ibcm_bridge.policy.policy import Policy

type Subcommands = argparse._SubParsersAction[argparse.ArgumentParser]
"""What `add_subparsers` returns; argparse has no public name for it."""

EXIT_PROBLEM = 1

EXIT_USAGE = 2


def add_config(parser: argparse.ArgumentParser) -> None:
    """The option of commands that read a policy (`read_policy`)."""
    parser.add_argument(
        "--config", type=Path, required=True, metavar="FILE", help="the policy file"
    )


def add_untested_mitmproxy(parser: argparse.ArgumentParser) -> None:
    """The option of commands that start a bridge (`mitmproxy_refusal`)."""
    parser.add_argument(
        "--untested-mitmproxy",
        action="store_true",
        help="go on with a mitmproxy that the tests have not run on; run them on it first",
    )


def mitmproxy_refusal(options: argparse.Namespace) -> str | None:
    """Why no bridge starts on this mitmproxy, for the operator; None where one does."""
    from ibcm_bridge.addons.tested_mitmproxy import why_untested

    return None if options.untested_mitmproxy else why_untested()


def read_policy(path: Path) -> Policy | None:
    """The policy; None where it has problems, which are printed."""
    from ibcm_bridge.policy_file import PolicyError, load_policy

    try:
        return load_policy(path)
    except PolicyError as error:
        print(error, file=sys.stderr)
        print(f"{counted(len(error.problems), 'problem')}; nothing was started", file=sys.stderr)
        return None


def counted(number: int, noun: str) -> str:
    """`1 problem`, `2 problems`."""
    return f"{number} {noun}{'' if number == 1 else 's'}"
