"""Renders a request as a command line for PowerShell, or the reason why it cannot.

The curl.exe of Windows takes no client certificate from PEM files (Schannel), so the line uses
`ibcm-bridge lab request`. The header fields are in a file: Windows PowerShell 5.1 and PowerShell 7
pass a double quote in an argument in different ways (about_Parsing, native commands).
"""

from __future__ import annotations

from pathlib import Path

from ibcm_bridge.lab.cases.case import Destination
from ibcm_bridge.lab.command_line import powershell
from ibcm_bridge.lab.comparison.curl import CurlContext
from ibcm_bridge.lab.protocol.client import Request
from ibcm_bridge.policy.addresses import address_text


def why_not(request: Request) -> str:
    """Return why `lab request` cannot send this request unchanged; empty if it can."""
    if request.plaintext:
        return "`lab request` sends HTTPS only."
    if request.version != "HTTP/1.1":
        return "`lab request` sends HTTP/1.1 only."
    if '"' in request.target or '"' in request.method:
        return "Windows PowerShell would remove the double quotes in the URL."
    if not request.target.startswith("/"):
        return "`lab request` takes a URL with a path."
    return ""


def line(
    request: Request,
    destination: Destination,
    context: CurlContext,
    fields: Path | None,
    body: Path | None,
) -> str:
    """Return the command line. `fields` is the file with the header fields."""
    words = ["--connect", address_text(context.address), "--root", str(context.root)]
    if context.credential is not None:
        words += [
            "--certificate",
            f"{context.credential}.pem",
            "--key",
            f"{context.credential}.key",
        ]
    if fields is not None:
        words += ["--header-file", str(fields)]
    if body is not None:
        words += ["--body", str(body)]
    words += [request.method] * (request.method != "GET")
    words.append(f"https://{destination.name}:{context.address[1]}{request.target}")
    return powershell([*context.command, "ibcm-bridge", "lab", "request", *words])
