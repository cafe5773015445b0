"""`ibcm-bridge explain`: the decision on each request, as text or JSON."""

from __future__ import annotations

import argparse
import json
import sys
import textwrap
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from ibcm_bridge.commands.common import (
    EXIT_PROBLEM,
    EXIT_USAGE,
    Subcommands,
    add_config,
    read_policy,
)

if TYPE_CHECKING:
    from ibcm_bridge.commands.explain.described_request import DescribedRequest
    from ibcm_bridge.policy.policy import Policy


COLUMNS = 80


def add(commands: Subcommands) -> None:
    parser = commands.add_parser(
        "explain",
        help="show the decision on a request, and its reason",
        description="Evaluate a request against a policy, without sending anything. The last line "
        "is ALLOW, OBSERVED ONLY, or DENY with the reason, rule and requirement that the audit "
        "would record. Exit status: 0 allowed or observed, 1 refused or an invalid policy, 2 usage "
        "error or no listener on the port of the URL. With --audit: 1 if a forwarded request "
        "would be refused, or was only observed and cannot be judged.",
        epilog="Example, after `ibcm-bridge pki DIR`: ibcm-bridge explain --config DIR/bridge.yaml "
        "--certificate DIR/pki/clients/computer.pem DELETE "
        "https://bridge.internet.example/SMS_MP/",
    )
    add_config(parser)
    parser.add_argument(
        "--certificate", type=Path, metavar="FILE", help="client certificate, with its chain (PEM)"
    )
    parser.add_argument("--body", type=Path, metavar="FILE", help="request body")
    parser.add_argument(
        "--header",
        action="append",
        default=[],
        metavar="'NAME: VALUE'",
        help="header field; can be repeated",
    )
    parser.add_argument(
        "--flow",
        type=Path,
        metavar="FILE",
        help="evaluate each request in a mitmproxy flow file (mitmdump -w), instead of VERB URL",
    )
    parser.add_argument(
        "--audit",
        type=Path,
        action="append",
        metavar="FILE",
        help="judge the requests of an audit file, and its rotated files, again; can be repeated, "
        "instead of VERB URL. The output has what the policy judges in another way than the audit, "
        "and what the audit does not tell",
    )
    parser.add_argument("--json", action="store_true", help="print one JSON object per request")
    parser.add_argument("method", metavar="VERB", nargs="?", help="HTTP method, such as GET")
    parser.add_argument(
        "url", metavar="URL", nargs="?", help="http(s)://NAME[:PORT]/PATH, directly after VERB"
    )
    parser.set_defaults(run=_run)


def _run(options: argparse.Namespace) -> int:
    from ibcm_bridge.commands.explain.environment import environment
    from ibcm_bridge.commands.explain.explain import explain
    from ibcm_bridge.storage.binding_registry import RegistryError

    target = (options.method, options.url)
    if options.audit and not any((*target, options.body, options.header, options.flow)):
        from ibcm_bridge.commands.explain.audit_again import explain_audit

        policy = read_policy(options.config)
        return EXIT_PROBLEM if policy is None else explain_audit(policy, options)
    one_request = any((*target, options.body, options.header))
    if options.audit or (None in target if options.flow is None else one_request):
        usage = "use either VERB URL (with --header, --body), or --flow FILE, or --audit FILE"
        print(f"ibcm-bridge explain: {usage}", file=sys.stderr)
        return EXIT_USAGE
    policy = read_policy(options.config)
    if policy is None:
        return EXIT_PROBLEM
    denied, printed = False, False
    noted: set[str] = set()
    try:
        now = environment(policy)
        for request in _requests(options, policy):
            explanation = explain(policy, request, now)
            denied = denied or explanation.denial is not None
            port = explanation.port.describe(request.url) if explanation.port else None
            if port is not None and port not in noted:
                # Once, not for each saved request.
                noted.add(port)
                print(f"ibcm-bridge explain: {port}", file=sys.stderr, flush=True)
            if options.json:
                described = {"method": request.method, "url": str(request.url)}
                print(json.dumps(described | explanation.record()))
            else:
                # Only saved requests need a heading.
                heading = [request.describe()] if options.flow else []
                blank = [""] if printed else []
                steps = [_folded(printable(step)) for step in explanation.steps]
                verdict = printable(explanation.verdict)
                print(*blank, *map(printable, heading), *steps, verdict, sep="\n")
            printed = True
    except (OSError, ValueError, RegistryError) as error:
        why = str(error)
        if isinstance(error, OSError):
            if error.filename is None:
                raise  # about standard output, not about a file of the arguments
            why = f"{error.filename} cannot be read: {error.strerror}"
        print(f"ibcm-bridge explain: {why}", file=sys.stderr)
        return EXIT_USAGE
    return EXIT_PROBLEM if denied else 0


def printable(text: str) -> str:
    """Escape what is not printable: the output may be a terminal, and anyone can choose a path."""
    return "".join(
        character if character.isprintable() else character.encode("unicode_escape").decode("ascii")
        for character in text
    )


def _folded(text: str) -> str:
    """Wrap a sentence to the width of a terminal, without splitting words."""
    return textwrap.fill(
        text, COLUMNS, subsequent_indent="  ", break_long_words=False, break_on_hyphens=False
    )


def _requests(options: argparse.Namespace, policy: Policy) -> Iterator[DescribedRequest]:
    """The described request, or each saved request."""
    from ibcm_bridge.commands.explain.described_request import describe_request, read_url
    from ibcm_bridge.commands.explain.ports import ports
    from ibcm_bridge.commands.explain.saved_flows import saved_requests
    from ibcm_bridge.commands.explain.typed import read_certificates, read_field

    presented = read_certificates(options.certificate)
    if options.flow is not None:
        yield from saved_requests(options.flow, presented, ports(policy))
        return
    headers = tuple(map(read_field, options.header))
    body = options.body.read_bytes() if options.body else None
    yield describe_request(options.method, read_url(options.url), headers, presented, body)
