"""`ibcm-bridge audit`: reads audit files."""

from __future__ import annotations

from ibcm_bridge.commands.audit import diff, summary, verify
from ibcm_bridge.commands.common import Subcommands

ACTIONS = (summary, diff, verify)
"""Modules in the order of the help text. Each has `add`, which adds its parser and sets `run`."""


def add(commands: Subcommands) -> None:
    parser = commands.add_parser(
        "audit",
        help="summarize and verify audit files",
        description="Read audit files of the bridge.",
    )
    actions = parser.add_subparsers(title="actions", metavar="ACTION", required=True)
    for action in ACTIONS:
        action.add(actions)
