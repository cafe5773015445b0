"""`ibcm-bridge capacity`: machines for a site, from the benchmarks and a simulation."""

from __future__ import annotations

import argparse
import json
import re
import sys
from collections.abc import Callable
from dataclasses import asdict

from ibcm_bridge.commands.common import EXIT_PROBLEM, Subcommands

_UNITS = {"s": 1, "m": 60, "h": 3_600}
MOST_CLIENTS = 2_000_000
"""A site of ConfigMgr has at most 175,000 clients, a hierarchy at most a million."""


def add(commands: Subcommands) -> None:
    parser = commands.add_parser(
        "capacity",
        help="compute how many machines a site needs",
        description="Compute cores, memory, connections, descriptors, database and audit volume "
        "for a number of clients, and simulate a usual day, the return of all clients after an "
        "outage, and a patch Tuesday. Service times are those of the project's benchmarks. "
        "Exit status: 0 the machines suffice, 1 they do not, 2 usage error.",
        epilog="Example: ibcm-bridge capacity --clients 175000 --cores 8",
    )
    parser.add_argument(
        "--clients",
        type=_number(MOST_CLIENTS),
        required=True,
        metavar="N",
        help="clients on the Internet at the same time",
    )
    parser.add_argument(
        "--every",
        type=_seconds,
        default=900.0,
        metavar="TIME",
        help="time between two connections of a client, such as 15m (default: 15m)",
    )
    parser.add_argument(
        "--messages",
        type=_number(1_000),
        default=5,
        metavar="N",
        help="messages of a connection (default: 5)",
    )
    parser.add_argument(
        "--kept",
        type=_seconds,
        default=60.0,
        metavar="TIME",
        help="time for which a client keeps its connection afterwards (default: 60s)",
    )
    parser.add_argument(
        "--cores",
        type=_number(256),
        default=8,
        metavar="N",
        help="cores of a machine, one worker each (default: 8)",
    )
    parser.add_argument(
        "--speed",
        type=_speed,
        default=1.0,
        metavar="FACTOR",
        help="speed of a core, relative to the measured machine (default: 1)",
    )
    parser.add_argument(
        "--machines",
        type=_number(256),
        metavar="N",
        help="simulate this number of machines only (default: as many as suffice)",
    )
    parser.add_argument(
        "--connections",
        type=_number(1_000_000),
        metavar="N",
        help="limits.connections of a machine (default: enough for the simulated loads)",
    )
    parser.add_argument(
        "--days",
        type=_number(3_650),
        default=90,
        metavar="N",
        help="days for which the audit is kept (default: 90)",
    )
    parser.add_argument("--seed", type=int, default=0, metavar="N", help="seed of the simulation")
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    parser.set_defaults(run=_run)


def _run(options: argparse.Namespace) -> int:
    from ibcm_bridge.commands.capacity.costs import Costs
    from ibcm_bridge.commands.capacity.report import lines_of
    from ibcm_bridge.commands.capacity.site import Site
    from ibcm_bridge.commands.capacity.sizing import (
        Question,
        enough_machines,
        size_of,
        try_machines,
    )

    site = Site(options.clients, options.every, options.messages, options.kept)
    costs = Costs.read().on_a_core(options.speed)
    question = Question(site, costs, options.cores, options.connections, options.days, options.seed)
    try:
        tried = (
            [try_machines(question, options.machines)]
            if options.machines
            else enough_machines(question)
        )
    except ValueError as error:
        print(f"ibcm-bridge capacity: {error}", file=sys.stderr)
        return EXIT_PROBLEM
    last = tried[-1]
    size = size_of(question, last)
    if options.json:
        document = asdict(question) | {"size": asdict(size)}
        document["tried"] = [asdict(entry) | {"suffices": entry.suffices} for entry in tried]
        print(json.dumps(document, indent=1))
    else:
        for line in lines_of(question, tried, size):
            print(line)
    return 0 if last.suffices else EXIT_PROBLEM


def _number(most: int) -> Callable[[str], int]:
    def read(text: str) -> int:
        number = int(text)
        if not 1 <= number <= most:
            raise argparse.ArgumentTypeError(f"{number} is not from 1 to {most:,}")
        return number

    return read


def _seconds(text: str) -> float:
    found = re.fullmatch(r"(\d{1,6})([smh])", text)
    if found is None or not int(found[1]):
        raise argparse.ArgumentTypeError(f"{text!r} is not a time such as 30s, 15m or 1h")
    return float(int(found[1]) * _UNITS[found[2]])


def _speed(text: str) -> float:
    speed = float(text)
    if not 0.1 <= speed <= 20:
        raise argparse.ArgumentTypeError(f"{text} is not from 0.1 to 20")
    return speed
