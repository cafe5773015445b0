"""The load client: TLS sockets and prepared bytes, in a separate process.

It reads one job per line from standard input (`Job`, as JSON). For each job:

1. Open the connections. If they are kept alive, send one request on each; every later response is
   compared with the complete response to it.
2. Print `ready` and wait for a line. Meanwhile the parent reads the proxy's processor time.
3. Do the job, and print the result (`Done`, as JSON).

An unexpected response ends the process, because the measurement would be meaningless.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import socket
import ssl
import sys
import time
from dataclasses import dataclass
from pathlib import Path

from ibcm_bridge.storage.open_files import raise_open_file_limit

PIECE = 262_144
TIMEOUT = 60.0


@dataclass(frozen=True)
class Job:
    """A load, and the proxy that gets it."""

    kind: str
    """`messages`: send `request` on keep-alive connections, for `seconds`. `connections`: open
    connections one after another, each for one `request`, for `seconds`. `download`: send `request`
    once. `held`: open `connections`, each for one `request`, and close them at the start."""
    port: int
    server_name: str
    request: str
    """A request as on the wire, decoded as Latin-1."""
    seconds: float = 0.0
    connections: int = 1
    count: int = 0
    """Requests of `messages` and connections of `connections`; 0: as many as `seconds` allow."""
    resume: bool = False
    """Whether each of `connections` resumes the TLS session of the one before."""


@dataclass(frozen=True)
class Done:
    """The result of a job: responses, bytes of response bodies, and the duration."""

    requests: int
    body_bytes: int
    seconds: float


def client_context() -> ssl.SSLContext:
    """The TLS context of a client, from the command line; its certificate, and whom it trusts."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--chain", type=Path, required=True)
    parser.add_argument("--key", type=Path, required=True)
    parser.add_argument("--trust", type=Path, required=True)
    options = parser.parse_args()
    raise_open_file_limit()
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.load_cert_chain(options.chain, options.key)
    context.load_verify_locations(options.trust)
    context.set_alpn_protocols(["http/1.1"])
    return context


def main() -> None:
    """Run jobs until standard input ends."""
    context = client_context()
    for line in sys.stdin:
        job = Job(**json.loads(line))
        done = _JOBS[job.kind](job, context)
        print(json.dumps(dataclasses.asdict(done)), flush=True)


def _messages(job: Job, context: ssl.SSLContext) -> Done:
    request = job.request.encode("latin-1")
    kept = [_open(job, context) for _ in range(job.connections)]
    expected = {_exchange(connection, request) for connection in kept}
    if len(expected) != 1:
        raise ValueError("the responses differ, so they cannot be compared")
    response = expected.pop()
    space = memoryview(bytearray(len(response)))
    body = len(response) - response.index(b"\r\n\r\n") - 4
    _wait_for_start()
    count, began = 0, time.perf_counter()
    for connection in kept:
        connection.sendall(request)
    while _continues(job, count + len(kept), began):
        for connection in kept:
            _receive(connection, space)
            connection.sendall(request)
            if space != response:
                raise ValueError(_UNEXPECTED)
            count += 1
    for connection in kept:
        _receive(connection, space)
        count += 1
    seconds = time.perf_counter() - began
    for connection in kept:
        connection.close()
    return Done(count, count * body, seconds)


def _connections(job: Job, context: ssl.SSLContext) -> Done:
    request = job.request.encode("latin-1")
    with _open(job, context) as first:
        response = _exchange(first, request)
        session = first.session
    _wait_for_start()
    count, began = 0, time.perf_counter()
    while _continues(job, count, began):
        # Without a session, every handshake is a full one.
        with _open(job, context, session if job.resume else None) as connection:
            if _exchange(connection, request) != response:
                raise ValueError(_UNEXPECTED)
            if connection.session_reused is not job.resume:
                raise ValueError("the TLS session was not resumed")
            session = connection.session
        count += 1
    return Done(count, 0, time.perf_counter() - began)


def _held(job: Job, context: ssl.SSLContext) -> Done:
    request = job.request.encode("latin-1")
    began = time.perf_counter()
    opened = [_open(job, context) for _ in range(job.connections)]
    for connection in opened:
        _exchange(connection, request)
    seconds = time.perf_counter() - began
    _wait_for_start()
    for connection in opened:
        connection.close()
    return Done(len(opened), 0, seconds)


def _download(job: Job, context: ssl.SSLContext) -> Done:
    space = memoryview(bytearray(PIECE))
    with _open(job, context) as connection:
        _wait_for_start()
        began = time.perf_counter()
        connection.sendall(job.request.encode("latin-1"))
        head, start = _read_head(connection)
        length = remaining = _body_length(head)
        remaining -= len(start)
        while remaining:
            if not (count := connection.recv_into(space)):
                raise ValueError(f"{remaining} bytes of the body are missing")
            remaining -= count
        return Done(1, length, time.perf_counter() - began)


_UNEXPECTED = "unexpected response"
_JOBS = {"messages": _messages, "connections": _connections, "download": _download, "held": _held}


def _continues(job: Job, count: int, began: float) -> bool:
    return count < job.count if job.count else time.perf_counter() < began + job.seconds


def _open(
    job: Job, context: ssl.SSLContext, session: ssl.SSLSession | None = None
) -> ssl.SSLSocket:
    plain = socket.create_connection(("127.0.0.1", job.port), TIMEOUT)
    plain.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return context.wrap_socket(plain, server_hostname=job.server_name, session=session)


def _exchange(connection: ssl.SSLSocket, request: bytes) -> bytes:
    """Send a request and read its complete response."""
    connection.sendall(request)
    head, body = _read_head(connection)
    length = _body_length(head)
    while len(body) < length:
        if not (more := connection.recv(PIECE)):
            raise ValueError("the response is incomplete")
        body += more
    return head + body


def _read_head(connection: ssl.SSLSocket) -> tuple[bytes, bytes]:
    """A response head with its empty line, and the bytes of the body received with it."""
    received = b""
    while (end := received.find(b"\r\n\r\n")) < 0:
        if not (more := connection.recv(PIECE)):
            raise ValueError(f"no response: {received[:200]!r}")
        received += more
    head = received[: end + 4]
    if not head.startswith((b"HTTP/1.1 200 ", b"HTTP/1.1 206 ")):
        raise ValueError(f"refused: {received[:400]!r}")
    return head, received[end + 4 :]


def _body_length(head: bytes) -> int:
    _, _, rest = head.lower().partition(b"\r\ncontent-length:")
    return int(rest.partition(b"\r\n")[0])


def _receive(connection: ssl.SSLSocket, space: memoryview) -> None:
    """Fill `space`."""
    filled = 0
    while filled < len(space):
        if not (count := connection.recv_into(space[filled:])):
            raise ValueError("the connection was closed within a response")
        filled += count


def _wait_for_start() -> None:
    print("ready", flush=True)
    sys.stdin.readline()


if __name__ == "__main__":
    main()
