"""The parts of a message: consecutive bytes, each with a name and words."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Part:
    """Some bytes of a message."""

    name: str
    data: bytes
    value: str = ""
    """The readable content."""
    words: str = ""
    """The purpose of the part."""
    marked: bool = False
    """True if it names the client or a server."""


class Cursor:
    """Reads bytes in order. ValueError if there are not enough."""

    def __init__(self, data: bytes) -> None:
        self._data = data
        self._at = 0

    def take(self, size: int) -> bytes:
        """Return the next bytes."""
        taken = self._data[self._at : self._at + size]
        if len(taken) < size:
            raise ValueError(f"{size} bytes expected, {len(taken)} found")
        self._at += size
        return taken

    def rest(self) -> bytes:
        """Return all remaining bytes."""
        return self.take(len(self._data) - self._at)

    @property
    def left(self) -> int:
        """The number of remaining bytes."""
        return len(self._data) - self._at


def number(data: bytes) -> int:
    """Return a number in network byte order."""
    return int.from_bytes(data)


def size_text(size: int) -> str:
    """Return a number of bytes as a text."""
    return "1 byte" if size == 1 else f"{size:,} bytes"
