"""`ibcm-bridge lab`."""

from __future__ import annotations

import argparse
import sys
from ipaddress import IPv4Address
from pathlib import Path

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
        help="run a complete perimeter on this machine, with a web page",
        description="Run a complete perimeter on this machine: certificates, a simulated site "
        "system for each role, the bridge, and a web page that sends allowed and refused requests "
        "through the bridge and through a tunnel.",
    )
    actions = parser.add_subparsers(title="commands", metavar="COMMAND", required=True)
    for add_action in (_add_up, _add_client, _add_request, _add_exercise, _add_part, _add_down):
        add_action(actions)


def _add_up(actions: Subcommands) -> None:
    parser = actions.add_parser(
        "up",
        help="start the lab; Ctrl-C stops it",
        description="Start a lab on loopback, and print the address of its page, its host names, "
        "certificates and curl commands. Run until Ctrl-C, SIGTERM or `ibcm-bridge lab down`, then "
        "remove the files. Exit status: 0 stopped, 1 could not start.",
    )
    add_untested_mitmproxy(parser)
    parser.add_argument("--no-browser", action="store_true", help="do not open a browser")
    parser.add_argument("--tour", action="store_true", help="begin with the guided tour")
    parser.add_argument(
        "--listen",
        metavar="ADDRESS",
        help="accept real clients on this address, on the ports of the shipped policy (8443, 8531, "
        "8080); ADDRESS:PORT sets another TLS port; everything except the bridge stays on loopback",
    )
    parser.add_argument(
        "--netns",
        action="store_true",
        help="use the network namespaces internet, perimeter and intranet, with a firewall between "
        "them (Linux, as root)",
    )
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    parser.set_defaults(run=_up)


def _add_client(actions: Subcommands) -> None:
    parser = actions.add_parser(
        "client",
        help="simulate one or more clients of the running lab",
        description="Simulate ConfigMgr clients of the running lab. Without --scene and --count, "
        "show the life cycle of a client, an update scan, and a download that continues on another "
        "network. "
        "With --count, let N clients register and request policy, and print their response times. "
        "Exit status: 0 no failure, 1 at least one failure.",
        epilog="Example: ibcm-bridge lab client --count 1000",
    )
    parser.add_argument(
        "--mode",
        choices=("internet-only", "both"),
        default="both",
        help="simulate a client for the Internet only, or for the Internet and the intranet "
        "(default: both)",
    )
    parser.add_argument(
        "--profile",
        choices=("pki", "own-key"),
        default="pki",
        help="sign messages with the key of the TLS certificate (pki), or with a separate key "
        "(default: pki)",
    )
    parser.add_argument("--count", type=_positive, metavar="N", help="simulate N clients")
    parser.add_argument(
        "--polls",
        type=_positive,
        metavar="N",
        help="with --count: policy requests per client (default: 3)",
    )
    parser.add_argument(
        "--at-once",
        type=_positive,
        metavar="N",
        help="with --count: concurrent clients (default: 32)",
    )
    parser.add_argument("--seed", type=int, metavar="N", help="seed for names and random choices")
    parser.add_argument(
        "--scene",
        metavar="NAME",
        help="play a scene: one sentence of Microsoft's planning page; `list` lists them, `all` "
        "plays all",
    )
    for name, setting in (
        ("--user-policy", "Enable user policy on clients"),
        ("--internet-user-policy", "Enable user policy requests from Internet clients"),
    ):
        parser.add_argument(
            name, choices=("on", "off"), help=f"with --scene: the client setting {setting}"
        )
    parser.add_argument("--json", action="store_true", help="print one JSON object per line")
    parser.set_defaults(run=_client)


def _add_request(actions: Subcommands) -> None:
    parser = actions.add_parser(
        "request",
        help="send one HTTPS request as a client, and print the response",
        description="Send one HTTPS request as a client, and print the response. It needs no "
        "running lab: it can test any bridge. "
        "Exit status: 0 a response, 1 no response, 2 usage error.",
        epilog="Example: ibcm-bridge lab request --root root.pem --certificate computer.pfx "
        '"https://cm.example.com/SMS_MP/.sms_aut?MPLIST"',
    )
    parser.add_argument("method", nargs="?", metavar="METHOD", default="GET", help="default: GET")
    parser.add_argument("url", metavar="URL", help="https://NAME[:PORT]/PATH")
    parser.add_argument(
        "--root",
        type=Path,
        required=True,
        metavar="FILE",
        help="root CA of the server's certificate: PEM or DER",
    )
    parser.add_argument(
        "--certificate", type=Path, metavar="FILE", help="client certificate: PEM, or PFX"
    )
    parser.add_argument("--key", type=Path, metavar="FILE", help="its private key, if it is PEM")
    parser.add_argument(
        "--passphrase-file", type=Path, metavar="FILE", help="file with the passphrase of the key"
    )
    parser.add_argument(
        "--connect",
        type=_address,
        metavar="ADDRESS:PORT",
        help="where to connect, if the name of the URL does not resolve to it",
    )
    parser.add_argument(
        "--header",
        action="append",
        default=[],
        metavar="NAME: VALUE",
        help="a header field; can be repeated",
    )
    parser.add_argument(
        "--header-file",
        type=Path,
        metavar="FILE",
        help="file with a header field in each line; PowerShell changes double quotes in arguments",
    )
    parser.add_argument("--body", type=Path, metavar="FILE", help="send this file as the body")
    parser.set_defaults(run=_request)


def _add_exercise(actions: Subcommands) -> None:
    parser = actions.add_parser(
        "exercise",
        help="correct a policy with a mistake; the lab checks it",
        description="Without arguments, list the exercises. If FILE does not exist, write a policy "
        "with a mistake to it. If it exists, start a bridge with this policy, send the cases of "
        "the exercise, and print what is not as required. "
        "Exit status: 0 solved, listed or written, 1 not solved.",
        epilog="Example: ibcm-bridge lab exercise users users.yaml",
    )
    parser.add_argument(
        "name",
        nargs="?",
        metavar="NAME",
        choices=("identity", "host-names", "users"),
        help="the exercise",
    )
    parser.add_argument("file", nargs="?", type=Path, metavar="FILE", help="the policy file")
    parser.add_argument("--hints", type=_positive, metavar="N", default=0, help="print N hints")
    parser.set_defaults(run=_exercise)


def _add_part(actions: Subcommands) -> None:
    parser = actions.add_parser(
        "part",
        help="run one part of the lab, in a container",
        description="Run one part of the lab in a container, as deploy/compose.yaml does: the "
        "simulated site systems, the simulated malware engine (clamd) or the simulated Microsoft "
        "Update. All parts share the runtime folder (XDG_RUNTIME_DIR); site-systems writes the "
        "files that the other parts need. Run until SIGTERM. "
        "Exit status: 0 stopped, 1 could not start.",
    )
    parser.add_argument(
        "name",
        metavar="PART",
        choices=("site-systems", "engine", "microsoft-update"),
        help="site-systems, engine or microsoft-update",
    )
    parser.add_argument(
        "--address", type=IPv4Address, required=True, help="listen address of this part"
    )
    for name in ("bridge", "engine", "microsoft-update"):
        parser.add_argument(
            f"--{name}",
            type=IPv4Address,
            metavar="ADDRESS",
            help=f"for site-systems: address of the {name} container",
        )
    parser.set_defaults(run=_part)


def _add_down(actions: Subcommands) -> None:
    parser = actions.add_parser(
        "down",
        help="stop the lab, or clean up after a crashed one",
        description="Stop this user's lab, or clean up after a crashed one. "
        "Exit status: 0 no lab is running, 1 the lab could not be stopped.",
    )
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    parser.set_defaults(run=_down)


def _positive(text: str) -> int:
    if not text.isdecimal() or not 0 < int(text) <= 1_000_000:
        raise argparse.ArgumentTypeError(f"{text} is not a number from 1 to 1,000,000")
    return int(text)


def _address(text: str) -> tuple[str, int]:
    host, colon, port = text.rpartition(":")
    if not (host and colon and port.isdecimal() and 0 < int(port) < 65536):
        raise argparse.ArgumentTypeError(f"{text} is not ADDRESS:PORT")
    return host.strip("[]"), int(port)


def _up(options: argparse.Namespace) -> int:
    from ibcm_bridge.commands.page_tools import page_tools
    from ibcm_bridge.lab.commands.up import lab_up

    if why_not := mitmproxy_refusal(options):
        print(f"ibcm-bridge lab: cannot start: {why_not}", file=sys.stderr)
        return EXIT_PROBLEM
    return lab_up(
        listen=options.listen,
        netns=options.netns,
        browser=not options.no_browser,
        tour=options.tour,
        as_json=options.json,
        tools=page_tools(),
        untested=options.untested_mitmproxy,
    )


def _client(options: argparse.Namespace) -> int:
    from ibcm_bridge.lab.commands.signals import end_on_signals
    from ibcm_bridge.lab.scenes.command import lab_scene
    from ibcm_bridge.lab.simulated.command import ClientOptions, lab_clients
    from ibcm_bridge.lab.simulated.installation import Mode
    from ibcm_bridge.lab.simulated.user import ClientSettings

    if options.count is None and (options.polls or options.at_once):
        print("ibcm-bridge lab: --polls and --at-once require --count", file=sys.stderr)
        return EXIT_USAGE
    if options.scene is not None and options.count is not None:
        print("ibcm-bridge lab: use either --scene or --count", file=sys.stderr)
        return EXIT_USAGE
    if options.scene is None and (options.user_policy or options.internet_user_policy):
        print(
            "ibcm-bridge lab: --user-policy and --internet-user-policy require --scene",
            file=sys.stderr,
        )
        return EXIT_USAGE
    client = ClientOptions(
        mode=Mode(options.mode),
        profile=options.profile,
        polls=options.polls or 3,
        at_once=options.at_once or 32,
        seed=options.seed,
        as_json=options.json,
        scene=options.scene,
        settings=ClientSettings(
            user_policy=options.user_policy != "off",
            internet_user_policy=options.internet_user_policy != "off",
        ),
    )
    # A signal ends the domain and the site systems of a scene, as the end of the scene does.
    with end_on_signals():
        return lab_scene(client) if options.count is None else lab_clients(client, options.count)


def _request(options: argparse.Namespace) -> int:
    from ibcm_bridge.lab.commands.request import RequestOptions, lab_request

    return lab_request(
        RequestOptions(
            method=options.method,
            url=options.url,
            headers=options.header,
            header_file=options.header_file,
            body=options.body,
            root=options.root,
            certificate=options.certificate,
            key=options.key,
            passphrase_file=options.passphrase_file,
            connect=options.connect,
        )
    )


def _exercise(options: argparse.Namespace) -> int:
    from ibcm_bridge.lab.commands.exercises import lab_exercise

    return lab_exercise(options.name, options.file, options.hints)


def _part(options: argparse.Namespace) -> int:
    from ibcm_bridge.lab.commands.part import OtherParts, lab_part

    given = (options.bridge, options.engine, options.microsoft_update)
    return lab_part(options.name, options.address, None if None in given else OtherParts(*given))


def _down(options: argparse.Namespace) -> int:
    from ibcm_bridge.lab.commands.down import lab_down

    return lab_down(as_json=options.json)
