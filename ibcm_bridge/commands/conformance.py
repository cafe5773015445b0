"""`ibcm-bridge conformance`."""

from __future__ import annotations

import argparse
from ipaddress import IPv4Address
from pathlib import Path

from ibcm_bridge.commands.common import EXIT_USAGE, Subcommands

_KIT = Path("conformance-kit")


def add(commands: Subcommands) -> None:
    parser = commands.add_parser(
        "conformance",
        help="check any proxy in front of ConfigMgr's Internet-facing site systems",
        description="Check whether a proxy publishes ConfigMgr's site systems correctly: this "
        "bridge, or any other product. `serve` runs simulated site systems for the proxy, and "
        "`run` sends the checks through it.",
        epilog="Start with: ibcm-bridge conformance serve",
    )
    parser.add_argument("--list", action="store_true", help="print the id of each check")
    parser.set_defaults(run=_list, parser=parser)
    actions = parser.add_subparsers(title="commands", metavar="COMMAND")
    for add_action in (_add_serve, _add_init, _add_run, _add_explain):
        add_action(actions)


def _add_serve(actions: Subcommands) -> None:
    parser = actions.add_parser(
        "serve",
        help="run the simulated site systems; Ctrl-C stops them",
        description="Run a simulated site system for each role on ADDRESS, and write a kit: the "
        "certificates and CRLs for the proxy, and the certificates of the clients. A kit that "
        "exists is used again. Exit status: 0 stopped, 1 could not start.",
    )
    parser.add_argument(
        "--address",
        type=IPv4Address,
        default=IPv4Address("127.0.0.1"),
        help="listen address of the site systems (default: 127.0.0.1)",
    )
    _add_kit(parser)
    parser.add_argument(
        "--pki",
        type=Path,
        metavar="DIR",
        help="issue from the authorities in DIR (root.pem, root.key, issuing.pem, issuing.key; "
        "RSA or EC keys without a password) instead of new ones",
    )
    parser.add_argument(
        "--name",
        action="append",
        default=[],
        metavar="ROLE=NAME",
        help="a published name of the proxy: the kit gets a server certificate for it, and the "
        "replies of the site systems have it; can be repeated",
    )
    parser.set_defaults(run=_serve, parser=parser)


def _add_init(actions: Subcommands) -> None:
    parser = actions.add_parser(
        "init",
        help="write a subject file to edit",
        description="Write a subject file, which has the names and addresses of the proxy. They "
        "are those of the policy in the kit until you change them. "
        "Exit status: 0 written, 1 not written.",
    )
    parser.add_argument("file", type=Path, metavar="SUBJECT", help="the new subject file")
    parser.add_argument(
        "--for",
        dest="product",
        choices=["ibcm-bridge"],
        default="",
        help="write the time limits of this product with the policy in the kit, and how it gets "
        "new CRLs (default: both are comments, for any product)",
    )
    _add_kit(parser)
    parser.set_defaults(run=_init)


def _add_run(actions: Subcommands) -> None:
    parser = actions.add_parser(
        "run",
        help="send the checks through the proxy",
        description="Send the checks through the proxy that SUBJECT describes. "
        "Exit status: 0 if no MUST failed, except for known gaps, 1 otherwise.",
    )
    parser.add_argument("file", type=Path, metavar="SUBJECT", help="the subject file")
    parser.add_argument(
        "--only",
        action="append",
        default=[],
        metavar="ID",
        help="run only this check, or this topic; can be repeated",
    )
    parser.add_argument("--failures-only", action="store_true", help="print only failures")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the report to FILE")
    parser.add_argument("--junit", type=Path, metavar="FILE", help="write JUnit XML to FILE")
    parser.add_argument(
        "--html", type=Path, metavar="DIR", help="write a page for each check to DIR"
    )
    parser.add_argument(
        "--yes",
        action="store_true",
        help="also send to addresses that are neither loopback nor private",
    )
    parser.set_defaults(run=_run)


def _add_explain(actions: Subcommands) -> None:
    parser = actions.add_parser(
        "explain",
        help="print the description of a check",
        description="Print what a check requires, and the source of the requirement. "
        "Exit status: 0 printed, 1 unknown check.",
    )
    parser.add_argument("check", metavar="ID", help="the id of the check")
    parser.set_defaults(run=_explain)


def _add_kit(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--kit",
        type=Path,
        default=_KIT,
        metavar="DIR",
        help=f"folder of the kit (default: {_KIT})",
    )


def _list(options: argparse.Namespace) -> int:
    from ibcm_bridge.conformance.running import conformance_list

    if not options.list:
        options.parser.print_help()
        return EXIT_USAGE
    return conformance_list()


def _serve(options: argparse.Namespace) -> int:
    from ibcm_bridge.conformance.own_names import own_name
    from ibcm_bridge.conformance.serving import conformance_serve

    try:
        names = dict(own_name(text) for text in options.name)
    except argparse.ArgumentTypeError as error:
        options.parser.error(f"--name: {error}")
    return conformance_serve(options.address, options.kit, options.pki, names)


def _init(options: argparse.Namespace) -> int:
    from ibcm_bridge.conformance.running import conformance_init

    return conformance_init(options.file, options.kit, options.product)


def _run(options: argparse.Namespace) -> int:
    from ibcm_bridge.conformance.running import RunOptions, conformance_run

    return conformance_run(
        options.file,
        RunOptions(
            options.only,
            options.failures_only,
            options.json,
            options.junit,
            options.yes,
            options.html,
        ),
    )


def _explain(options: argparse.Namespace) -> int:
    from ibcm_bridge.conformance.running import conformance_explain

    return conformance_explain(options.check)
