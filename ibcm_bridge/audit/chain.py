"""The chain of the records of one writer, which shows what is missing from an audit or was changed.

A writer is one process, from its start to its end. Its records have consecutive numbers, and each
has the SHA-256 (FIPS 180-4) of the line of the record before, without its newline. The chain has no
key: someone who can write the file can also make another chain. A point (the number and digest of
a record), which is kept elsewhere, proves that record and all before it.
"""

from __future__ import annotations

import hashlib
import re
from typing import NamedTuple

from ibcm_bridge.audit.record import EVENT, PREVIOUS, SEQUENCE, TIME, WRITER

WRITER_BYTES = 8
"""Random bytes of a writer's name, which is their hexadecimal form. A process id occurs again after
a restart, and on another host whose audit is collected in the same place."""


class Point(NamedTuple):
    """A record of a chain, as it is logged and expected."""

    writer: str
    sequence: int
    digest: str
    """The SHA-256 of the record's line, in lower-case hexadecimal."""

    def __str__(self) -> str:
        return f"{self.writer}:{self.sequence}:{self.digest}"


_POINT = re.compile(r"([0-9a-f]{16}):([1-9][0-9]{0,17}):([0-9a-f]{64})")

POINT_NAME = "audit point"
"""The words before a point in the log."""

_LOGGED = re.compile(rf"\b{POINT_NAME} ({_POINT.pattern})\b")


def read_point(text: str) -> Point | None:
    """Return the point of `str(point)`; None for any other text."""
    found = _POINT.fullmatch(text)
    return found and Point(found[1], int(found[2]), found[3])


def logged_point(line: str) -> Point | None:
    """Return the point in a line of the log; None without one."""
    found = _LOGGED.search(line)
    return read_point(found[1]) if found is not None else None


class Chain(NamedTuple):
    """A chain up to its last record, which is what the next record needs."""

    writer: str
    sequence: int = 0
    """The number of records."""
    digest: str = ""

    def members(self) -> str:
        """Return the last members of the next record, as JSON (`record.line`)."""
        last = f',"{PREVIOUS}":"{self.digest}"' if self.digest else ""
        return f'"{WRITER}":"{self.writer}","{SEQUENCE}":{self.sequence + 1}{last}'

    def after(self, line: str) -> Chain:
        """Return the chain with one more record, whose line (ASCII, with its newline) is given."""
        digest = hashlib.sha256(line[:-1].encode("ascii")).hexdigest()
        return Chain(self.writer, self.sequence + 1, digest)

    @property
    def point(self) -> Point:
        """The last record."""
        return Point(self.writer, self.sequence, self.digest)


class Link(NamedTuple):
    """A record as a part of its chain."""

    writer: str
    sequence: int
    previous: str
    """The digest of the record before; empty in the first record."""
    digest: str
    event: str
    time: str


# A string in JSON has no quote without a backslash before it, so no text of a client matches these.
BEGIN = f'{{"{TIME}":"'.encode()
"""The beginning of each record."""

_FIRST = re.compile(rf'{{"{TIME}":"([0-9T:.+-]{{1,40}})","{EVENT}":"([a-z-]{{1,32}})"'.encode())
_LAST = re.compile(
    rf',"{WRITER}":"([0-9a-f]{{16}})","{SEQUENCE}":([1-9][0-9]{{0,17}})'
    rf'(?:,"{PREVIOUS}":"([0-9a-f]{{64}})")?}}'.encode()
)
_LAST_BEGINS = f',"{WRITER}":"'.encode()


def read_link(line: bytes) -> Link | None:
    """Return the link of a line without its newline; None if it is not a record of a writer."""
    first = _FIRST.match(line)
    last = _LAST.fullmatch(line, max(0, line.rfind(_LAST_BEGINS)))
    if first is None or last is None:
        return None
    return Link(
        last[1].decode(),
        int(last[2]),
        (last[3] or b"").decode(),
        hashlib.sha256(line).hexdigest(),
        first[2].decode(),
        first[1].decode(),
    )
