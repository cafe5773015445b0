"""`ibcm-bridge explain`: each request and what becomes of it, as text or JSON."""

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
        help="say what the bridge would do with a request, and why",
        description="Follows a request through a policy without sending anything. The last line "
        "is ALLOW, or DENY with the reason, the rule and the requirement, as the audit would have "
        "them. The exit status is 1 when it would be refused, 2 when it is not understood or "
        "nothing listens on the port of its URL.",
        epilog="Example: ibcm-bridge explain --config config/bridge.yaml --certificate "
        "config/pki/clients/computer.pem DELETE https://bridge.internet.example/SMS_MP/",
    )
    add_config(parser)
    parser.add_argument(
        "--certificate", type=Path, metavar="FILE", help="what the client presents (PEM)"
    )
    parser.add_argument("--body", type=Path, metavar="FILE", help="the request's body")
    parser.add_argument(
        "--header",
        action="append",
        default=[],
        metavar="'NAME: VALUE'",
        help="a header field; may be given several times",
    )
    parser.add_argument(
        "--flow",
        type=Path,
        metavar="FILE",
        help="explain each request that mitmproxy saved there (mitmdump -w), in place of VERB URL",
    )
    parser.add_argument("--json", action="store_true", help="one JSON object per request")
    parser.add_argument("method", metavar="VERB", nargs="?")
    parser.add_argument("url", metavar="URL", nargs="?")
    parser.set_defaults(run=_run)


def _run(options: argparse.Namespace) -> int:
    from ibcm_bridge.commands.explain.environment import environment
    from ibcm_bridge.commands.explain.explain import explain
    from ibcm_bridge.storage.binding_registry import RegistryError

    target = (options.method, options.url)
    if None in target if options.flow is None else any((*target, options.body, options.header)):
        wanted = "VERB and URL, with --header and --body, or --flow FILE"
        print(f"ibcm-bridge explain: {wanted}", file=sys.stderr)
        return EXIT_USAGE
    policy = read_policy(options.config)
    if policy is None:
        return EXIT_PROBLEM
    denied, answered = False, False
    noted: set[str] = set()
    try:
        now = environment(policy)
        for request in _requests(options, policy):
            explanation = explain(policy, request, now)
            denied = denied or explanation.denial is not None
            port = explanation.port.describe(request.url) if explanation.port else None
            if port is not None and port not in noted:
                # Once: of saved requests each would say the same.
                noted.add(port)
                print(f"ibcm-bridge explain: {port}", file=sys.stderr, flush=True)
            if options.json:
                described = {"method": request.method, "url": str(request.url)}
                print(json.dumps(described | explanation.record()))
            else:
                # Of saved requests there may be many; one that was asked for is known.
                heading = [request.describe()] if options.flow else []
                blank = [""] if answered else []
                steps = [_folded(_printable(step)) for step in explanation.steps]
                verdict = _printable(explanation.verdict)
                print(*blank, *map(_printable, heading), *steps, verdict, sep="\n")
            answered = True
    except (OSError, ValueError, RegistryError) as error:
        why = str(error)
        if isinstance(error, OSError):
            if error.filename is None:
                raise  # of no file that was named, but of where this is printed
            why = f"{error.filename} cannot be read: {error.strerror}"
        print(f"ibcm-bridge explain: {why}", file=sys.stderr)
        return EXIT_USAGE
    return EXIT_PROBLEM if denied else 0


def _printable(text: str) -> str:
    """Names and paths are anybody's text, and this may be for a terminal."""
    return "".join(
        character if character.isprintable() else character.encode("unicode_escape").decode("ascii")
        for character in text
    )


def _folded(text: str) -> str:
    """A sentence in lines of a terminal; no word is taken apart."""
    return textwrap.fill(
        text, COLUMNS, subsequent_indent="  ", break_long_words=False, break_on_hyphens=False
    )


def _requests(options: argparse.Namespace, policy: Policy) -> Iterator[DescribedRequest]:
    """One request as described, or each that was saved."""
    from cryptography import x509

    from ibcm_bridge.commands.explain.described_request import describe_request, read_url
    from ibcm_bridge.commands.explain.ports import ports
    from ibcm_bridge.commands.explain.saved_flows import saved_requests

    presented: list[x509.Certificate] = []
    if options.certificate:
        pem = options.certificate.read_bytes()
        try:
            presented = x509.load_pem_x509_certificates(pem)
        except (ValueError, x509.InvalidVersion):
            text = f"{options.certificate} has no PEM certificate that can be read"
            raise ValueError(text) from None
    if options.flow is not None:
        yield from saved_requests(options.flow, presented, ports(policy))
        return
    headers = []
    for header in options.header:
        name, colon, value = header.partition(":")
        if not colon:
            raise ValueError("a header is 'NAME: VALUE'")
        # Of a value, space around it does not count (RFC 9110 section 5.5). Of a name it does: the
        # bridge refuses it, and so it must not be mended here.
        headers.append((name, value.strip(" \t")))
    body = options.body.read_bytes() if options.body else None
    yield describe_request(options.method, read_url(options.url), tuple(headers), presented, body)
