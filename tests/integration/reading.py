"""Reading from sockets until something is there, and waiting for other things."""

from __future__ import annotations

import http.client
import io
import json
import re
import socket
import threading
import time
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

from ibcm_bridge.lab.protocol.client import Response
from tests.whole_lines import whole_lines

DEADLINE = 10.0


def until(condition: Callable[[], object], what: str = "it", seconds: float = DEADLINE) -> Any:
    """Wait for a condition."""
    deadline = time.monotonic() + seconds
    while not (found := condition()):
        assert time.monotonic() < deadline, f"{what} did not come about in {seconds} s"
        threading.Event().wait(0.005)
    return found


_SAID = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}\+00:00 [A-Z]+ ibcm-bridge: (.*)\n?")


def said(lines: Iterable[str]) -> list[str]:
    """What the log says about the running bridge: the texts of lines with a time."""
    return [found[1] for line in lines if (found := _SAID.fullmatch(line))]


def read_to_end(connection: socket.socket) -> bytes:
    """Everything until the other side closes."""
    received = bytearray()
    while chunk := connection.recv(65_536):
        received += chunk
    return bytes(received)


def read_exactly(connection: socket.socket, count: int) -> bytes:
    """So many bytes; EOFError when the other side closes before."""
    received = bytearray()
    while len(received) < count:
        chunk = connection.recv(min(65_536, count - len(received)))
        if not chunk:
            raise EOFError(f"{len(received)} of {count} bytes")
        received += chunk
    return bytes(received)


class _EndedConnection(io.BytesIO):
    """A connection that has ended, for http.client; responses are taken from it in turn."""

    def makefile(self, *_: object) -> _EndedConnection:
        return self

    def close(self) -> None:
        """http.client closes after each response."""


def read_responses(data: bytes, methods: Sequence[str]) -> list[Response]:
    """All responses in `data`, and nothing else."""
    connection, responses = _EndedConnection(data), []
    for method in methods:
        if connection.tell() == len(data):
            break
        response = http.client.HTTPResponse(connection, method=method)  # type: ignore[arg-type]
        response.begin()
        body, fields = response.read(), tuple(response.getheaders())
        responses.append(Response(response.status, response.reason, fields, body))
    assert connection.tell() == len(data), data[connection.tell() :][:200]
    return responses


def writer_ends(audit: Path) -> list[str]:
    """Return the notes of the last records that the writers of an audit file have left."""
    records = map(json.loads, whole_lines(audit))
    return [record["note"] for record in records if record["event"] == "writer-ended"]
