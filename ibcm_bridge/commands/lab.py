"""`ibcm-bridge lab`."""

from __future__ import annotations

import argparse
import sys
from ipaddress import IPv4Address

from ibcm_bridge.commands.common import (
    EXIT_PROBLEM,
    EXIT_USAGE,
    Subcommands,
    add_untested_mitmproxy,
    mitmproxy_refusal,
)


def add(commands: Subcommands) -> None:
    parser = commands.add_parser(
        "lab",
        help="a whole perimeter on this machine, with a page to try it from",
        description="Certificates, a stand-in for each site system role, the bridge, and a page "
        "with every good and bad case at a button, through the bridge and through a tunnel.",
    )
    actions = parser.add_subparsers(title="commands", metavar="COMMAND", required=True)
    for add_action in (_add_up, _add_client, _add_part, _add_down):
        add_action(actions)


def _add_up(actions: Subcommands) -> None:
    parser = actions.add_parser(
        "up",
        help="start it; Ctrl-C ends it",
        description="Starts a lab on loopback and prints the address of its page, names, "
        "certificates and curl lines. Runs until Ctrl-C, SIGTERM or `ibcm-bridge lab down`, and "
        "leaves nothing behind. Exit status: 0 ended, 1 could not start.",
    )
    add_untested_mitmproxy(parser)
    parser.add_argument("--no-browser", action="store_true", help="open no browser")
    parser.add_argument(
        "--listen",
        metavar="ADDRESS",
        help="have the bridge, and nothing else, listen there on the ports of the shipped policy "
        "(8443, 8531, 8080), for who brings a real client; ADDRESS:PORT for another TLS port",
    )
    parser.add_argument(
        "--netns",
        action="store_true",
        help="have the Internet, the perimeter and the intranet in network namespaces of those "
        "names, with a firewall between them (Linux, as root)",
    )
    parser.add_argument("--json", action="store_true", help="print what it says as one JSON object")
    parser.set_defaults(run=_up)


def _add_client(actions: Subcommands) -> None:
    parser = actions.add_parser(
        "client",
        help="a simulated client of the lab that is up, or a thousand",
        description="Speaks to the lab that is up as clients of ConfigMgr do. One client shows, "
        "scene by scene, its life, an update scan, and a download that goes on in another network. "
        "With --count, so many register and ask for policy, and how long they waited is said. "
        "Exit status: 0 all went well, 1 something did not.",
        epilog="Example: ibcm-bridge lab client --count 1000",
    )
    parser.add_argument(
        "--mode",
        choices=("internet-only", "both"),
        default="both",
        help="how it was installed: for the Internet only, or for the intranet too (the default)",
    )
    parser.add_argument(
        "--profile",
        choices=("pki", "own-key"),
        default="pki",
        help="what it signs messages with: the key of its TLS certificate (the default), or one of "
        "its own",
    )
    parser.add_argument("--count", type=_positive, metavar="N", help="so many clients")
    parser.add_argument(
        "--polls", type=_positive, metavar="N", help="of --count: how often they ask for policy (3)"
    )
    parser.add_argument(
        "--at-once", type=_positive, metavar="N", help="of --count: how many speak at a time (32)"
    )
    parser.add_argument(
        "--seed", type=int, metavar="N", help="have the same names and the same choices again"
    )
    parser.add_argument("--json", action="store_true", help="one JSON object for each line")
    parser.set_defaults(run=_client)


def _add_part(actions: Subcommands) -> None:
    parser = actions.add_parser(
        "part",
        help="one part of a lab, in a container of its own",
        description="For deploy/compose.yaml: the stand-ins for site systems, for a malware engine "
        "or for Microsoft Update, on an address of their container. The first writes what the "
        "others need into the runtime folder (XDG_RUNTIME_DIR), which they share. Runs until "
        "SIGTERM. Exit status: 0 ended, 1 could not start.",
    )
    parser.add_argument(
        "name",
        metavar="PART",
        choices=("site-systems", "engine", "microsoft-update"),
        help="site-systems, engine or microsoft-update",
    )
    parser.add_argument("--address", type=IPv4Address, required=True, help="where it listens")
    for name in ("bridge", "engine", "microsoft-update"):
        parser.add_argument(
            f"--{name}",
            type=IPv4Address,
            metavar="ADDRESS",
            help=f"of site-systems: where {name} is",
        )
    parser.set_defaults(run=_part)


def _add_down(actions: Subcommands) -> None:
    parser = actions.add_parser(
        "down",
        help="end it, and remove what one that crashed has left",
        description="Ends this user's lab, and removes what one that crashed has left. "
        "Exit status: 0 no lab runs any more, 1 it could not be ended.",
    )
    parser.add_argument("--json", action="store_true", help="print a JSON object")
    parser.set_defaults(run=_down)


def _positive(text: str) -> int:
    if not text.isdecimal() or not 0 < int(text) <= 1_000_000:
        raise argparse.ArgumentTypeError(f"{text} is not a number from 1 to 1,000,000")
    return int(text)


def _up(options: argparse.Namespace) -> int:
    from ibcm_bridge.lab.commands.up import lab_up

    if why_not := mitmproxy_refusal(options):
        print(f"ibcm-bridge lab: cannot start: {why_not}", file=sys.stderr)
        return EXIT_PROBLEM
    return lab_up(
        listen=options.listen,
        netns=options.netns,
        browser=not options.no_browser,
        as_json=options.json,
        untested=options.untested_mitmproxy,
    )


def _client(options: argparse.Namespace) -> int:
    from ibcm_bridge.lab.simulated.command import ClientOptions, lab_client
    from ibcm_bridge.lab.simulated.installation import Mode

    if options.count is None and (options.polls or options.at_once):
        print(
            "ibcm-bridge lab: --polls and --at-once are of many clients: --count", file=sys.stderr
        )
        return EXIT_USAGE
    return lab_client(
        ClientOptions(
            mode=Mode(options.mode),
            profile=options.profile,
            count=options.count,
            polls=options.polls or 3,
            at_once=options.at_once or 32,
            seed=options.seed,
            as_json=options.json,
        )
    )


def _part(options: argparse.Namespace) -> int:
    from ibcm_bridge.lab.commands.part import OtherParts, lab_part

    given = (options.bridge, options.engine, options.microsoft_update)
    return lab_part(options.name, options.address, None if None in given else OtherParts(*given))


def _down(options: argparse.Namespace) -> int:
    from ibcm_bridge.lab.commands.down import lab_down

    return lab_down(as_json=options.json)
