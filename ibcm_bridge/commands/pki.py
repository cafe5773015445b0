"""`ibcm-bridge pki`."""

from __future__ import annotations

import argparse
from pathlib import Path

from ibcm_bridge.commands.common import Subcommands


def add(commands: Subcommands) -> None:
    parser = commands.add_parser(
        "pki",
        help="create lab certificates on disk",
        description="Create DIR/pki with a root CA, an issuing CA, revocation lists and the "
        "certificates that the shipped bridge.yaml names. Create DIR/bridge.yaml if it does not "
        "exist. For labs only; do not use the keys in production. "
        "Exit status: 0 created, 1 not created.",
    )
    parser.add_argument("directory", type=Path, metavar="DIR", help="folder for the files")
    parser.set_defaults(run=_run)


def _run(options: argparse.Namespace) -> int:
    from ibcm_bridge.lab.pki.files import make_pki

    return make_pki(options.directory)
