"""`ibcm-bridge pki`."""

from __future__ import annotations

import argparse
from pathlib import Path

from ibcm_bridge.commands.common import Subcommands


def add(commands: Subcommands) -> None:
    parser = commands.add_parser(
        "pki",
        help="make the lab's certificates on disk",
        description="Makes DIR/pki with a root, an issuing authority, revocation lists and the "
        "certificates that the shipped bridge.yaml names, and DIR/bridge.yaml where there is "
        "none. For a lab: the keys are worthless.",
    )
    parser.add_argument("directory", type=Path, metavar="DIR")
    parser.set_defaults(run=_run)


def _run(options: argparse.Namespace) -> int:
    from ibcm_bridge.lab.pki.files import make_pki

    return make_pki(options.directory)
