"""Shared by the commands: exit statuses, options, and reading the policy."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from ibcm_bridge.policy.policy import Policy

type Subcommands = argparse._SubParsersAction[argparse.ArgumentParser]
"""The type that `add_subparsers` returns; argparse has no public name for it."""

EXIT_PROBLEM = 1

EXIT_USAGE = 2


def add_config(parser: argparse.ArgumentParser) -> None:
    """Add the option of commands that read a policy (`read_policy`)."""
    parser.add_argument("--config", type=Path, required=True, metavar="FILE", help="policy file")


def add_untested_mitmproxy(parser: argparse.ArgumentParser) -> None:
    """Add the option of commands that start a bridge (`mitmproxy_refusal`)."""
    parser.add_argument(
        "--untested-mitmproxy",
        action="store_true",
        help="accept a mitmproxy version that this release is not tested with",
    )


def mitmproxy_refusal(options: argparse.Namespace) -> str | None:
    """Why the bridge does not start with this mitmproxy version, for the operator; else None."""
    from ibcm_bridge.addons.tested_mitmproxy import why_untested

    return None if options.untested_mitmproxy else why_untested()


def _print_problem(text: str) -> None:
    print(text, file=sys.stderr)


def read_policy(
    path: Path, report: Callable[[str], object] = _print_problem, source: bytes | None = None
) -> Policy | None:
    """Return the policy, or report its problems and return None.

    `source` is used instead of the text of the file, if it is given.
    """
    from ibcm_bridge.policy_file import PolicyError, load_policy

    try:
        return load_policy(path, source)
    except PolicyError as error:
        for problem in str(error).splitlines():
            report(problem)
        number = counted(len(error.problems), "problem")
        report(f"{number}; the policy was not loaded")
        return None


def counted(number: int, noun: str) -> str:
    """`1 problem`, `2 problems`."""
    return f"{number} {noun}{'' if number == 1 else 's'}"
