"""Renders a request as a `curl` command line for a POSIX shell, or the reason why it cannot."""

from __future__ import annotations

import shlex
from dataclasses import dataclass
from pathlib import Path

from ibcm_bridge.lab.cases.case import Destination
from ibcm_bridge.lab.protocol.client import Request
from ibcm_bridge.policy.addresses import host_text


@dataclass(frozen=True)
class CurlContext:
    """The address to connect to, and the files that curl needs."""

    address: tuple[str, int]
    root: Path
    credential: Path | None
    """The client certificate: NAME, for NAME.pem and NAME.key."""
    command: tuple[str, ...] = ()
    """The prefix that runs curl in the network namespace of the client."""


def why_not(request: Request) -> str:
    """Return why curl cannot send this request unchanged; empty if it can."""
    given = {name.lower() for name, _ in request.headers}
    if "transfer-encoding" in given:
        return "curl would encode the chunks itself, and so change the request."
    return ""


def line(
    request: Request, destination: Destination, context: CurlContext, body: Path | None
) -> str:
    """Return the command line; `body` is the file with the request body."""
    host, port = context.address
    scheme = "http" if request.plaintext else "https"
    words = [*context.command, "curl", "-sSi", "--path-as-is", "--globoff"]
    words += ["--resolve", f"{destination.name}:{port}:{host_text(host)}"]
    if not request.plaintext:
        words += ["--cacert", str(context.root)]
        if context.credential is not None:
            words += ["--cert", f"{context.credential}.pem", "--key", f"{context.credential}.key"]
    # With --http1.0 alone, curl would also offer it by ALPN, which is another case.
    words += ["--http1.0", "--no-alpn"] if request.version == "HTTP/1.0" else ["--http1.1"]
    words += ["--head"] if request.method == "HEAD" else ["--request", request.method]
    for name, value in request.headers:
        if name.lower() != "content-length":  # curl sets it
            words += ["--header", f"{name}: {value}" if value else f"{name};"]
    for name in _added(request):
        words += ["--header", f"{name}:"]
    if body is not None:
        words += ["--data-binary", f"@{body}"]
    elif _is_empty(request):
        words += ["--data-binary", ""]
    if not request.target.startswith("/"):
        words += ["--request-target", request.target]
        return shlex.join([*words, f"{scheme}://{destination.name}:{port}/"])
    return shlex.join([*words, f"{scheme}://{destination.name}:{port}{request.target}"])


def _is_empty(request: Request) -> bool:
    """Return whether the request has a body without bytes."""
    return ("content-length", "0") in {(name.lower(), value) for name, value in request.headers}


def _added(request: Request) -> list[str]:
    """Return the fields that curl would add, so that it sends exactly this request."""
    adds = ["User-Agent", "Accept"]
    if request.body is not None or _is_empty(request):
        adds += ["Content-Type", "Expect"]
    given = {name.lower() for name, _ in request.headers}
    return [name for name in adds if name.lower() not in given]
