"""What commands share: reading the policy, and exit statuses."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from ibcm_bridge.policy.policy import Policy


EXIT_PROBLEM = 1

EXIT_USAGE = 2


def mitmproxy_refusal(options: argparse.Namespace) -> str | None:
    from ibcm_bridge.addons.tested_mitmproxy import why_untested

    return None if options.untested_mitmproxy else why_untested()


def read_policy(path: Path) -> Policy | None:
    from ibcm_bridge.policy_file import PolicyError, load_policy

    try:
        return load_policy(path)
    except PolicyError as error:
        print(error, file=sys.stderr)
        print(f"{counted(len(error.problems), 'problem')}; nothing was started", file=sys.stderr)
        return None


def counted(number: int, noun: str) -> str:
    return f"{number} {noun}{'' if number == 1 else 's'}"
