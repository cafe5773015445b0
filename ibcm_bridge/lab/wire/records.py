"""The TLS records of a recorded connection, in the order of their arrival (RFC 8446 §5.1)."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from ibcm_bridge.lab.capture.relay import Recorded
from ibcm_bridge.lab.wire.handshake import read_messages
from ibcm_bridge.lab.wire.hellos import VERSIONS
from ibcm_bridge.lab.wire.part import Part, number, size_text

HEADER = 5
"""Bytes of the header of a record."""

_CHANGE_CIPHER_SPEC, _ALERT, _HANDSHAKE, _APPLICATION_DATA = 20, 21, 22, 23
_TYPES = {
    _CHANGE_CIPHER_SPEC: "ChangeCipherSpec",
    _ALERT: "Alert",
    _HANDSHAKE: "Handshake",
    _APPLICATION_DATA: "Application data",
}

ALERTS = {
    0: "close notify",
    10: "unexpected message",
    40: "handshake failure",
    42: "bad certificate",
    43: "unsupported certificate",
    44: "certificate revoked",
    45: "certificate expired",
    46: "certificate unknown",
    48: "unknown ca",
    50: "decode error",
    51: "decrypt error",
    70: "protocol version",
    80: "internal error",
    112: "unrecognized name",
    116: "certificate required",
}
"""RFC 8446 §6."""


@dataclass(frozen=True)
class Record:
    """A TLS record; `parts` are all of its bytes."""

    time: float
    from_client: bool
    title: str
    parts: tuple[Part, ...]
    encrypted: bool = False

    @property
    def size(self) -> int:
        """The number of its bytes."""
        return sum(len(part.data) for part in self.parts)


def read_records(recorded: Recorded) -> list[Record]:
    """Return the records of both directions."""
    ways = {True: _Way(True), False: _Way(False)}
    found: list[Record] = []
    for piece in recorded.pieces:
        found += ways[piece.from_client].records(piece.data, piece.time)
    for way in ways.values():
        found += way.rest(found[-1].time if found else recorded.began)
    return found


class _Way:
    """One direction of a connection."""

    def __init__(self, from_client: bool) -> None:
        self._from_client = from_client
        self._waiting = b""
        self._encrypted = False
        self._is_tls = True

    def records(self, data: bytes, time: float) -> Iterator[Record]:
        """Yield the records that are complete now."""
        self._waiting += data
        while self._is_tls and len(self._waiting) >= HEADER:
            header = self._waiting[:HEADER]
            if header[0] not in _TYPES or header[1] != 3:
                self._is_tls = False
                return
            end = HEADER + number(header[3:])
            if len(self._waiting) < end:
                return
            content, self._waiting = self._waiting[HEADER:end], self._waiting[end:]
            yield self._record(header, content, time)

    def rest(self, time: float) -> Iterator[Record]:
        """Yield what is not a complete record."""
        if self._waiting:
            title = "Part of a TLS record" if self._is_tls else "Not TLS"
            yield Record(time, self._from_client, title, (Part("Bytes", self._waiting),))

    def _record(self, header: bytes, content: bytes, time: float) -> Record:
        kind = header[0]
        version = VERSIONS.get(number(header[1:3]), header[1:3].hex())
        value = f"{_TYPES[kind]}, {version}, {size_text(len(content))}"
        head = Part("Record header", header, value, "type, version, length")
        encrypted = self._encrypted or kind == _APPLICATION_DATA
        title, parts = _content(kind, content, encrypted, from_client=self._from_client)
        self._encrypted |= kind == _CHANGE_CIPHER_SPEC
        return Record(time, self._from_client, title, (head, *parts), encrypted)


def _content(
    kind: int, content: bytes, encrypted: bool, *, from_client: bool
) -> tuple[str, tuple[Part, ...]]:
    """Return a title and the parts."""
    if encrypted:
        title = {_HANDSHAKE: "Encrypted handshake", _ALERT: "Encrypted alert"}.get(kind)
        return title or "Encrypted record", (Part("Encrypted", content),)
    if kind == _HANDSHAKE:
        messages = list(read_messages(content, from_client=from_client))
        parts = tuple(part for message in messages for part in message.parts)
        return ", ".join(message.name for message in messages), parts
    if kind == _ALERT and len(content) == 2:
        name = ALERTS.get(content[1], f"number {content[1]}")
        level = "fatal" if content[0] == 2 else "warning"
        return f"Alert: {name}", (Part("Alert", content, f"{level}, {name}", "level and reason"),)
    words = "encrypted from here on" if kind == _CHANGE_CIPHER_SPEC else ""
    return _TYPES[kind], (Part(_TYPES[kind], content, words=words),)
