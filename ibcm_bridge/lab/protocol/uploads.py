"""BITS uploads in the lab: a simulated server, and the packets of a client ([MC-BUP]).

The server follows the specification and Microsoft's documentation, also where that is dangerous:
on Close-Session it stores an incomplete file (§3.2.5.1.2), and of repeated bytes it keeps the
first version (Microsoft, "Fragment").
"""

from __future__ import annotations

import re
import uuid
from collections.abc import Mapping
from dataclasses import dataclass, field

from ibcm_bridge.lab.protocol.client import Request
from ibcm_bridge.lab.protocol.content import ServerResponse

PROTOCOL = "{7df0354d-249b-430f-820d-3d2a9bef4931}"
AGENT = "Microsoft BITS/7.8"

SESSION = "{OF-THE-SESSION}"
"""Placeholder for the session id of the server."""

_RANGE = re.compile(r"bytes (\d+)-(\d+)/(\d+)", re.IGNORECASE)


@dataclass
class _Session:
    path: str
    data: bytearray = field(default_factory=bytearray)
    total: int | None = None


@dataclass
class UploadServer:
    """Sessions and finished files of one management point."""

    host_id: str = ""
    """The host that clients must continue with (BITS-Host-Id); empty if none."""
    files: dict[str, bytes] = field(default_factory=dict)
    """Path in lower case -> uploaded bytes."""
    _sessions: dict[str, _Session] = field(default_factory=dict)

    @property
    def open_sessions(self) -> int:
        """The number of sessions that are neither closed nor cancelled."""
        return len(self._sessions)

    def clear(self) -> None:
        """Remove all sessions and files."""
        self.files.clear()
        self._sessions.clear()

    def respond(self, path: str, headers: Mapping[str, str], body: bytes) -> ServerResponse:
        """Respond to a packet; the names in `headers` are in lower case."""
        kind = headers.get("bits-packet-type", "").lower()
        if kind == "ping":
            return _ack()
        if kind == "create-session":
            return self._create(path, headers)
        name = headers.get("bits-session-id", "")
        session = self._sessions.get(name)
        if session is None:
            return _error(500, "0x8020001F")
        if kind == "fragment":
            return _fragment(name, session, headers, body)
        if kind == "close-session":
            self.files[session.path] = bytes(session.data)
        elif kind != "cancel-session":
            return _error(400, "0x80070057")
        del self._sessions[name]
        return _ack()

    def _create(self, path: str, headers: Mapping[str, str]) -> ServerResponse:
        if PROTOCOL not in headers.get("bits-supported-protocols", "").lower():
            return _error(400, "0x80070057")
        name = f"{{{uuid.uuid4()}}}".upper()
        self._sessions[name] = _Session(path)
        more = {"BITS-Protocol": PROTOCOL, "BITS-Session-Id": name, "Accept-Encoding": "Identity"}
        if self.host_id:
            more |= {"BITS-Host-Id": self.host_id, "BITS-Host-Id-Fallback-Timeout": "60"}
        return _ack(more)


def _fragment(
    name: str, session: _Session, headers: Mapping[str, str], body: bytes
) -> ServerResponse:
    found = _RANGE.fullmatch(headers.get("content-range", ""))
    if found is None:
        return _error(400, "0x80070057")
    first, last, total = map(int, found.groups())
    if last - first + 1 != len(body) or session.total not in (None, total):
        return _error(400, "0x80070057")
    session.total = total
    known = len(session.data)
    if first <= known:
        session.data += body[known - first :]
    fields = {"BITS-Session-Id": name, "BITS-Received-Content-Range": str(len(session.data))}
    return _ack(fields, 416 if first > known else 200)


def _ack(more: Mapping[str, str] = {}, status: int = 200) -> ServerResponse:
    return ServerResponse(status, b"", {"BITS-Packet-Type": "Ack", **more})


def _error(status: int, code: str) -> ServerResponse:
    return _ack({"BITS-Error-Code": code, "BITS-Error-Context": "0x5"}, status)


@dataclass(frozen=True)
class Upload:
    """The packets of a client that uploads a file."""

    path: str
    data: bytes
    session: str = SESSION

    def create(self) -> Request:
        """Return Create-Session."""
        return self._packet("Create-Session", ("BITS-Supported-Protocols", PROTOCOL))

    def ping(self) -> Request:
        """Return Ping, which a client sends before it resumes an upload."""
        return self._packet("Ping")

    def fragment(self, first: int, end: int, total: int | None = None) -> Request:
        """Return Fragment with the bytes from `first` to `end` (exclusive)."""
        size = len(self.data) if total is None else total
        content_range = ("Content-Range", f"bytes {first}-{end - 1}/{size}")
        return self._packet("Fragment", *self._named(content_range), body=self.data[first:end])

    def fragments(self, count: int) -> list[Request]:
        """Return all fragments, of equal size."""
        size = -(-len(self.data) // count)
        return [
            self.fragment(first, min(first + size, len(self.data)))
            for first in range(0, len(self.data), size)
        ]

    def close(self) -> Request:
        """Return Close-Session."""
        return self._packet("Close-Session", *self._named())

    def cancel(self) -> Request:
        """Return Cancel-Session."""
        return self._packet("Cancel-Session", *self._named())

    def _named(self, *more: tuple[str, str]) -> tuple[tuple[str, str], ...]:
        name = self.path.rpartition("/")[2]
        return (("BITS-Session-Id", self.session), ("Content-Name", name), *more)

    def _packet(self, kind: str, *fields: tuple[str, str], body: bytes = b"") -> Request:
        head = (("User-Agent", AGENT), ("BITS-Packet-Type", kind), *fields)
        return Request(
            "BITS_POST", self.path, (*head, ("Content-Length", str(len(body)))), body or None
        )
