"""`ibcm-bridge demo`."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from ibcm_bridge.commands.common import (
    EXIT_PROBLEM,
    Subcommands,
    add_untested_mitmproxy,
    mitmproxy_refusal,
)


def add(commands: Subcommands) -> None:
    parser = commands.add_parser(
        "demo",
        help="send ConfigMgr requests through a bridge and a tunnel, side by side",
        description="Start a lab on loopback: certificates, a simulated site system for each role, "
        "and the bridge in front of them. Send each request through the bridge and through a "
        "tunnel, and show which requests each forwarded and what each could inspect. "
        "Exit status: 0 if every case met its requirement, 1 otherwise.",
    )
    add_untested_mitmproxy(parser)
    parser.add_argument(
        "--report", type=Path, metavar="DIR", help="write index.html and results.json to DIR"
    )
    parser.add_argument(
        "--pcap",
        type=Path,
        metavar="DIR",
        help="write a capture of each path of each case to DIR, for Wireshark; those of the bridge "
        "have the TLS secrets of the simulated client and site systems",
    )
    parser.add_argument(
        "--json", action="store_true", help="print one JSON object per case, as it completes"
    )
    parser.set_defaults(run=_run)


def _run(options: argparse.Namespace) -> int:
    from ibcm_bridge.lab.demo.demo import Folders, run_demo

    if why_not := mitmproxy_refusal(options):
        print(f"ibcm-bridge demo: cannot start: {why_not}", file=sys.stderr)
        return EXIT_PROBLEM
    folders = Folders(options.report, options.pcap)
    return run_demo(folders, as_json=options.json, untested=options.untested_mitmproxy)
