"""The command line: parses, and hands over."""

from __future__ import annotations

import argparse
import datetime
import logging
import os
import sys
from collections.abc import Sequence
from pathlib import Path

from ibcm_bridge import __version__
from ibcm_bridge.commands import identity as identity_command
from ibcm_bridge.commands.check.command import check_command
from ibcm_bridge.commands.explain.command import explain_command
from ibcm_bridge.commands.policy import (
    EXIT_PROBLEM,
    EXIT_USAGE,
    mitmproxy_refusal,
    read_policy,
)
from ibcm_bridge.commands.run import WEB_PORT, port_number, run_command
from ibcm_bridge.lab.commands import arguments as lab_arguments

EXIT_INTERRUPTED = 130
"""What a shell reports for a command that Ctrl-C ended."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command; returns the exit status."""
    parser = _parser()
    options = parser.parse_args(arguments)
    if not hasattr(options, "command"):
        parser.print_help()
        return EXIT_USAGE
    logging.basicConfig(
        level=logging.DEBUG if getattr(options, "verbose", False) else logging.WARNING,
        format="%(asctime)s %(levelname)s %(name)s: %(message)s",
        stream=sys.stderr,
    )
    logging.getLogger("asyncio").setLevel(logging.WARNING)
    # It misses an addon that we replace on purpose, and says what StartError says better.
    logging.getLogger("mitmproxy.addons.proxyserver").setLevel(logging.CRITICAL)
    try:
        status: int = options.command(options)
        if sys.stdout is not None:
            # Now, when it can still be told that it fails.
            sys.stdout.flush()
    except BrokenPipeError:
        # Whoever read our output has read enough (`| head`).
        _print_no_more()
        return EXIT_PROBLEM
    except OSError as error:
        _print_no_more()
        print(f"ibcm-bridge: {_refused_by_the_system(error)}", file=sys.stderr)
        return EXIT_PROBLEM
    except KeyboardInterrupt:
        return EXIT_INTERRUPTED
    return status


def _print_no_more() -> None:
    """Let standard output lead nowhere: at its end Python would flush it, and fail again."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _refused_by_the_system(error: OSError) -> str:
    """What the commands did not expect. Without a file's name it is of what they print."""
    from ibcm_bridge.os_errors import cannot_write, is_about_writing

    if error.filename:
        return f"{error.filename}: {error.strerror}"
    if is_about_writing(error):
        return cannot_write(error, "standard output", "write somewhere else")
    return error.strerror or str(error)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="ibcm-bridge",
        description="SSL bridging with inspection for ConfigMgr Internet-based client management.",
        epilog="Start with: ibcm-bridge demo",
    )
    parser.add_argument("--version", action="version", version=f"ibcm-bridge {__version__}")
    policy = argparse.ArgumentParser(add_help=False)
    policy.add_argument(
        "--config", type=Path, required=True, metavar="FILE", help="the policy file"
    )
    mitmproxy = argparse.ArgumentParser(add_help=False)
    mitmproxy.add_argument(
        "--untested-mitmproxy",
        action="store_true",
        help="go on with a mitmproxy that the tests have not run on; run them on it first",
    )
    commands = parser.add_subparsers(title="commands", metavar="COMMAND")

    demo = commands.add_parser(
        "demo",
        parents=[mitmproxy],
        help="send ConfigMgr-shaped requests through a bridge and a tunnel, side by side",
        description="Makes a lab on loopback (certificates, a stand-in for each site system "
        "role), runs the bridge in front of it, sends each request through the bridge and "
        "through a tunnel, and shows what each let through and what each could see. "
        "Exit status: 0 when every case went as its requirement says, 1 otherwise.",
    )
    demo.add_argument(
        "--report", type=Path, metavar="DIR", help="write index.html and results.json"
    )
    demo.add_argument("--json", action="store_true", help="one JSON object per case, as it ends")
    demo.set_defaults(command=_demo)

    lab = commands.add_parser(
        "lab",
        help="a whole perimeter on this machine, with a page to try it from",
        description="Certificates, a stand-in for each site system role, the bridge, and a page "
        "with every good and bad case at a button, through the bridge and through a tunnel.",
    )
    lab_arguments.add_arguments(lab, mitmproxy)

    run = commands.add_parser(
        "run",
        parents=[policy, mitmproxy],
        help="run the bridge",
        description="Runs the bridge until Ctrl-C or SIGTERM. Nothing is listened on until the "
        "whole policy has been read; what `check` finds is printed, and does not stop it. "
        "Exit status: 0 stopped, 1 could not start.",
    )
    run.add_argument("--verbose", action="store_true", help="log what mitmproxy does")
    run.add_argument(
        "--web",
        type=port_number,
        nargs="?",
        const=WEB_PORT,
        metavar="PORT",
        help="show traffic on a page of this machine, without secrets and read-only; in a lab, or "
        f"where the policy says why (web). PORT: {WEB_PORT} when left out, 0 for any",
    )
    run.set_defaults(command=run_command)

    check = commands.add_parser(
        "check",
        parents=[policy, mitmproxy],
        help="say what a policy publishes, and what is wrong with its certificates",
        description="Reads a policy as `run` would and says what it publishes; then looks at its "
        "certificates and revocation lists: purposes, names, dates, keys. Connects to nothing, "
        "unless told to. The exit status is 1 when there is a problem.",
    )
    check.add_argument(
        "--connect",
        action="store_true",
        help="speak to each site system too, with the bridge's own certificate: a HEAD request "
        "for nothing in each directory",
    )
    check.set_defaults(command=check_command)

    explain = commands.add_parser(
        "explain",
        parents=[policy],
        help="say what the bridge would do with a request, and why",
        description="Follows a request through a policy without sending anything. The last line "
        "is ALLOW, or DENY with the reason, the rule and the requirement, as the audit would have "
        "them. The exit status is 1 when it would be refused, 2 when it is not understood or "
        "nothing listens on the port of its URL.",
        epilog="Example: ibcm-bridge explain --config config/bridge.yaml --certificate "
        "config/pki/clients/computer.pem DELETE https://bridge.internet.example/SMS_MP/",
    )
    explain.add_argument(
        "--certificate", type=Path, metavar="FILE", help="what the client presents (PEM)"
    )
    explain.add_argument("--body", type=Path, metavar="FILE", help="the request's body")
    explain.add_argument(
        "--header",
        action="append",
        default=[],
        metavar="'NAME: VALUE'",
        help="a header field; may be given several times",
    )
    explain.add_argument(
        "--flow",
        type=Path,
        metavar="FILE",
        help="explain each request that mitmproxy saved there (mitmdump -w), in place of VERB URL",
    )
    explain.add_argument("--json", action="store_true", help="one JSON object per request")
    explain.add_argument("method", metavar="VERB", nargs="?")
    explain.add_argument("url", metavar="URL", nargs="?")
    explain.set_defaults(command=explain_command)

    identity = commands.add_parser(
        "identity",
        help="look at and change what client GUIDs are bound to",
        description="Which client certificate each client GUID belongs to, in the file that the "
        "policy names (messages.bindings). A running bridge sees a change at once. "
        "Exit status: 1 when it is not found or refused, 2 when it is not understood.",
    )
    identity_command.add_arguments(identity, policy)
    identity.set_defaults(command=_identity)

    pki = commands.add_parser(
        "pki",
        help="make the lab's certificates on disk",
        description="Makes DIR/pki with a root, an issuing authority, revocation lists and the "
        "certificates that the shipped bridge.yaml names, and DIR/bridge.yaml where there is "
        "none. For a lab: the keys are worthless.",
    )
    pki.add_argument("directory", type=Path, metavar="DIR")
    pki.set_defaults(command=_pki)
    return parser


def _identity(options: argparse.Namespace) -> int:
    policy = read_policy(options.config)
    if policy is None:
        return EXIT_PROBLEM
    return identity_command.identity(options, policy.messages, datetime.datetime.now(datetime.UTC))


def _pki(options: argparse.Namespace) -> int:
    from ibcm_bridge.lab.pki.files import make_pki

    return make_pki(options.directory)


def _demo(options: argparse.Namespace) -> int:
    from ibcm_bridge.lab.demo.demo import run_demo

    if why_not := mitmproxy_refusal(options):
        print(f"ibcm-bridge demo: cannot start: {why_not}", file=sys.stderr)
        return EXIT_PROBLEM
    return run_demo(options.report, as_json=options.json, untested=options.untested_mitmproxy)
