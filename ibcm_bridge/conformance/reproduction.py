"""Commands that send the requests of a failed check again, with curl or with openssl.

They are for a POSIX shell. `repetition` is a line for any shell, which runs the whole check.

curl sends what it can send unchanged. Everything else goes from files through `openssl s_client`:
several requests in one, malformed heads, and names that curl changes. The files are in the kit.
"""

from __future__ import annotations

import math
import re
import shlex
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

from ibcm_bridge.conformance.exchange import Exchange, Pieces
from ibcm_bridge.conformance.kit import Client, Kit
from ibcm_bridge.conformance.results import AuthorityNames, Hang
from ibcm_bridge.conformance.runner import Result
from ibcm_bridge.lab.cases.case import Destination
from ibcm_bridge.lab.command_line import WINDOWS, pasted
from ibcm_bridge.lab.comparison.curl import CurlContext, line, why_not
from ibcm_bridge.lab.protocol.client import Request, request_bytes
from ibcm_bridge.policy.addresses import address_text

MAX_ON_A_LINE = 16 * 1024
"""Bytes of a head in a command line. Linux has a limit of 128 KiB for one argument."""

_WAIT_SECONDS = 2
"""The time for a response, before the next request or the end of the input."""

_VERSIONS = ("HTTP/1.0", "HTTP/1.1")
_PLAIN = re.compile(r"[\x20-\x7e]*")
_TARGET = re.compile(r"/[A-Za-z0-9._~!$&'()*+,;=:@%/?-]*")
"""A target that curl does not change in a URL."""


def reproduction(result: Result, kit: Kit) -> str:
    """Return the command line that sends the failed request again; empty without a request.

    It needs the files of `write_requests`.
    """
    exchange = _failed(result)
    return "" if exchange is None else _command(exchange, _file(result, kit), kit)


def repeated(subject: Path, *, yes: bool) -> Sequence[str]:
    """Return the words that run the checks of a subject file; `yes` as it was given."""
    return ("ibcm-bridge", "conformance", "run", str(subject), *(["--yes"] if yes else ()))


def repetition(result: Result, words: Sequence[str], *, windows: bool = WINDOWS) -> str:
    """Return the command line that runs this check again, for the shell of this system.

    It needs only this package. `words` are those of `repeated`.
    """
    return pasted((*words, "--only", result.check.id), windows=windows)


def write_requests(result: Result, kit: Kit) -> None:
    """Write what the command of a failed check sends. OSError."""
    exchange = _failed(result)
    if exchange is None:
        return
    file = _file(result, kit)
    file.parent.mkdir(exist_ok=True)
    chain = _chain(exchange)
    bodies_only = _is_for_curl(chain)
    for part, each in zip(_parts(file, chain), chain, strict=True):
        if bodies_only and isinstance(each.sent, Request):
            part.write_bytes(each.sent.body or b"")
        else:
            part.write_bytes(sent_bytes(each))


def sent_bytes(exchange: Exchange) -> bytes:
    """Return what the client sent."""
    if isinstance(exchange.sent, bytes):
        return exchange.sent
    sent = exchange.sent
    host, version = exchange.server_name, sent.version
    return request_bytes(sent.method, sent.target, sent.headers, sent.body, host, version=version)


def _failed(result: Result) -> Exchange | None:
    """Return the exchange that differs from the expectation; without one, the last."""
    if not result.is_failure or not result.exchanges:
        return None
    return result.judgement.exchange or result.exchanges[-1]


def _chain(exchange: Exchange) -> Sequence[Exchange]:
    """Return the exchanges that the command sends: those before it that it depends on, and it."""
    before = (exchange.resumes,) if exchange.resumes is not None else exchange.follows
    return (*before, exchange)


def _file(result: Result, kit: Kit) -> Path:
    return kit.folder / "requests" / result.check.id.replace("::", "-")


def _parts(file: Path, chain: Sequence[Exchange]) -> Iterator[Path]:
    """Yield the file of each exchange; the last one has the name of the check."""
    for number in range(1, len(chain)):
        yield file.with_name(f"{file.name}-before-{number}")
    yield file


def _command(exchange: Exchange, file: Path, kit: Kit) -> str:
    chain = _chain(exchange)
    files = tuple(_parts(file, chain))
    if isinstance(exchange.result, AuthorityNames):
        return f"{_s_client(exchange, kit)} < /dev/null"
    if exchange.resumes is not None:
        session = shlex.quote(f"{file}.session")
        first, second = (
            f"{_typed(files[number : number + 1], each)} | {_s_client(each, kit, *_QUIET)}"
            for number, each in enumerate(chain)
        )
        return f"{first} -sess_out {session}; {second} -sess_in {session}"
    if _is_for_curl(chain):
        return " --next ".join(
            _curl(each, part, kit).removeprefix("curl " if number else "")
            for number, (each, part) in enumerate(zip(chain, files, strict=True))
        )
    typed = _typed(files, exchange)
    if not exchange.tls:
        return f"{typed} | {_without_tls(exchange)}"
    return f"{typed} | {_s_client(exchange, kit, *_QUIET)}"


# curl


def _is_for_curl(chain: Sequence[Exchange]) -> bool:
    return all(
        isinstance(each.sent, Request)
        and each.resumes is None
        and each.slowly is None
        and each.server_name == each.server_name.lower()  # curl sends it in lower case
        and _is_unchanged(each.sent)
        for each in chain
    )


def _is_unchanged(request: Request) -> bool:
    """Return whether curl sends this request as it is."""
    names = Counter(name.lower() for name, _ in request.headers)
    fields = {name.lower(): value for name, value in request.headers}
    length = str(len(request.body or b""))
    texts = [request.method, request.target, *(text for pair in request.headers for text in pair)]
    return (
        not why_not(request)
        and request.version in _VERSIONS
        and _TARGET.fullmatch(request.target) is not None
        and names["host"] <= 1
        and fields.get("host", "host") != ""
        and names["content-length"] <= 1
        and fields.get("content-length", length) == length
        and not (request.method == "HEAD" and request.body)
        and all(_PLAIN.fullmatch(text) and text == text.strip() for text in texts)
        and sum(map(len, texts)) <= MAX_ON_A_LINE
    )


def _curl(exchange: Exchange, file: Path, kit: Kit) -> str:
    sent = exchange.sent
    assert isinstance(sent, Request)
    if not any(name.lower() == "host" for name, _ in sent.headers):
        # curl would add the port.
        sent = replace(sent, headers=(("Host", exchange.server_name), *sent.headers))
    more = ["--tls-max", exchange.maximum_version] if exchange.maximum_version else []
    if isinstance(exchange.result, Hang):
        more += ["--max-time", str(math.ceil(exchange.result.seconds))]
    context = CurlContext(exchange.place.address, kit.root_file, _credential(exchange, kit))
    destination = Destination(exchange.server_name, exchange.place.address[1])
    command = line(sent, destination, context, file if sent.body is not None else None)
    return " ".join(filter(None, (command, shlex.join(more))))


# openssl

_QUIET = ("-quiet", "-no_ign_eof", "-nocommands")
"""It prints the response only, ends with its input, and has no command letters, such as R."""


def _s_client(exchange: Exchange, kit: Kit, *options: str) -> str:
    words = ["openssl", "s_client", *options]
    words += ["-connect", address_text(exchange.place.address)]
    words += ["-servername", exchange.server_name, "-alpn", "http/1.1"]
    words += ["-CAfile", str(kit.root_file)]
    if exchange.maximum_version:
        words += ["-max_protocol", f"TLSv{exchange.maximum_version}"]
    if (credential := _credential(exchange, kit)) is not None:
        words += ["-cert", f"{credential}.pem", "-key", f"{credential}.key"]
        # A client also sends the issuers of its certificate.
        words += ["-cert_chain", f"{credential}.pem"]
    return shlex.join(words)


def _without_tls(exchange: Exchange) -> str:
    host, port = exchange.place.address
    if b"\xff" not in sent_bytes(exchange):
        return f"curl -sS telnet://{address_text((host, port))}"
    # curl would double these bytes (RFC 854).
    script = f"exec 3<>/dev/tcp/{host}/{port}; cat <&3 & cat >&3; kill $!"
    return f"bash -c {shlex.quote(script)}"


def _typed(files: Sequence[Path], exchange: Exchange) -> str:
    """Return a command that writes the requests. A client ends with its input."""
    result = exchange.result
    # Perhaps before the response, or before a proxy that waits.
    last = _left(result.seconds, exchange.slowly) if isinstance(result, Hang) else _WAIT_SECONDS
    before = [f"cat {shlex.quote(str(file))}; sleep {_WAIT_SECONDS}" for file in files[:-1]]
    parts = [*before, _written(files[-1], exchange.slowly), f"sleep {last}"]
    return f"({'; '.join(parts)})"


def _left(seconds: float, slowly: Pieces | None) -> int:
    """Return the rest of the time that the check waited, after the pauses between the pieces."""
    pauses = slowly.pause * (len(slowly.sizes) - 1) if slowly is not None else 0.0
    return max(1, math.ceil(seconds - pauses))


def _written(file: Path, slowly: Pieces | None) -> str:
    """Return a command that writes a file, in pieces if the client sent it so.

    All pieces but the first have the size of the second.
    """
    name = shlex.quote(str(file))
    if slowly is None or len(slowly.sizes) < 2:
        return f"cat {name}"
    first, step, *_ = slowly.sizes
    return (
        f"head -c {first} {name}; i={first + 1}; while [ $i -le {sum(slowly.sizes)} ]; do "
        f"sleep {slowly.pause:g}; tail -c +$i {name} | head -c {step}; i=$((i + {step})); done"
    )


def _credential(exchange: Exchange, kit: Kit) -> Path | None:
    return None if exchange.client is Client.NONE else kit.client_folder / exchange.client
