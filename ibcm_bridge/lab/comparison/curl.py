"""A request of the lab as a `curl` line, to be pasted into a POSIX shell; or why there is none."""

from __future__ import annotations

import shlex
from dataclasses import dataclass
from pathlib import Path

from ibcm_bridge.lab.cases.case import Destination
from ibcm_bridge.lab.protocol.client import Request
from ibcm_bridge.policy.addresses import host_text


@dataclass(frozen=True)
class CurlContext:
    """Where a name is reached, and with which files."""

    address: tuple[str, int]
    root: Path
    credential: Path | None
    """Of the client: NAME, for NAME.pem and NAME.key."""
    command: tuple[str, ...] = ()
    """What has to stand before it, for it to run where the client is."""


def why_not(request: Request) -> str:
    """Why curl cannot send it as it is; empty where it can."""
    given = {name.lower() for name, _ in request.headers}
    if "transfer-encoding" in given:
        return "curl would cut the body into chunks itself, and so send another request."
    return ""


def line(
    request: Request, destination: Destination, context: CurlContext, body: Path | None
) -> str:
    """The command; `body` is the file that holds the request's body."""
    host, port = context.address
    scheme = "http" if request.plaintext else "https"
    words = [*context.command, "curl", "-sSi", "--path-as-is", "--globoff"]
    words += ["--resolve", f"{destination.name}:{port}:{host_text(host)}"]
    if not request.plaintext:
        words += ["--cacert", str(context.root)]
        if context.credential is not None:
            words += ["--cert", f"{context.credential}.pem", "--key", f"{context.credential}.key"]
    # With --http1.0 it would ask for that in the handshake too (ALPN), which is another case.
    words += ["--http1.0", "--no-alpn"] if request.version == "HTTP/1.0" else ["--http1.1"]
    words += ["--head"] if request.method == "HEAD" else ["--request", request.method]
    for name, value in (*request.headers, *_without_defaults(request)):
        if name.lower() != "content-length":  # curl counts, too
            words += ["--header", f"{name}: {value}" if value else f"{name}:"]
    if body is not None:
        words += ["--data-binary", f"@{body}"]
    elif ("content-length", "0") in {(name.lower(), value) for name, value in request.headers}:
        words += ["--data-binary", ""]
    if not request.target.startswith("/"):
        words += ["--request-target", request.target]
        return shlex.join([*words, f"{scheme}://{destination.name}:{port}/"])
    return shlex.join([*words, f"{scheme}://{destination.name}:{port}{request.target}"])


def _without_defaults(request: Request) -> list[tuple[str, str]]:
    """What curl would add, taken out: the site system is to get what is shown."""
    adds = ["User-Agent", "Accept"]
    if request.body is not None:
        adds += ["Content-Type", "Expect"]
    given = {name.lower() for name, _ in request.headers}
    return [(name, "") for name in adds if name.lower() not in given]
