"""`ibcm-bridge explain`: the questions and their answers, as text or JSON."""

from __future__ import annotations

import argparse
import json
import sys
import textwrap
from collections.abc import Iterator
from typing import TYPE_CHECKING

from ibcm_bridge.commands.policy import EXIT_PROBLEM, EXIT_USAGE, read_policy

if TYPE_CHECKING:
    from ibcm_bridge.commands.explain.question import Question
    from ibcm_bridge.policy.policy import Policy


COLUMNS = 80


def explain_command(options: argparse.Namespace) -> int:
    from ibcm_bridge.commands.explain.circumstances import circumstances
    from ibcm_bridge.commands.explain.explain import explain
    from ibcm_bridge.storage.binding_registry import RegistryError

    one = (options.method, options.url)
    if None in one if options.flow is None else any((*one, options.body, options.header)):
        wanted = "VERB and URL, with --header and --body, or --flow FILE"
        print(f"ibcm-bridge explain: {wanted}", file=sys.stderr)
        return EXIT_USAGE
    policy = read_policy(options.config)
    if policy is None:
        return EXIT_PROBLEM
    denied, answered = False, False
    noted: set[str] = set()
    try:
        now = circumstances(policy)
        for question in _questions(options, policy):
            explanation = explain(policy, question, now)
            denied = denied or explanation.denial is not None
            port = explanation.port.describe(question.url) if explanation.port else None
            if port is not None and port not in noted:
                # Once: of saved requests each would say the same.
                noted.add(port)
                print(f"ibcm-bridge explain: {port}", file=sys.stderr, flush=True)
            if options.json:
                asked = {"method": question.method, "url": str(question.url)}
                print(json.dumps(asked | explanation.record()))
            else:
                # Of saved requests there may be many; one that was asked for is known.
                heading = [question.describe()] if options.flow else []
                blank = [""] if answered else []
                steps = [_folded(_printable(one)) for one in explanation.steps]
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
        one if one.isprintable() else one.encode("unicode_escape").decode("ascii") for one in text
    )


def _folded(text: str) -> str:
    """A sentence in lines of a terminal; no word is taken apart."""
    return textwrap.fill(
        text, COLUMNS, subsequent_indent="  ", break_long_words=False, break_on_hyphens=False
    )


def _questions(options: argparse.Namespace, policy: Policy) -> Iterator[Question]:
    """What is asked: one request as described, or each that was saved."""
    from cryptography import x509

    from ibcm_bridge.commands.explain.explain import ports
    from ibcm_bridge.commands.explain.question import described, read_url
    from ibcm_bridge.commands.explain.saved_flows import saved_questions

    presented: list[x509.Certificate] = []
    if options.certificate:
        pem = options.certificate.read_bytes()
        try:
            presented = x509.load_pem_x509_certificates(pem)
        except (ValueError, x509.InvalidVersion):
            text = f"{options.certificate} has no PEM certificate that can be read"
            raise ValueError(text) from None
    if options.flow is not None:
        yield from saved_questions(options.flow, presented, ports(policy))
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
    yield described(options.method, read_url(options.url), tuple(headers), presented, body)
