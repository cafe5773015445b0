"""The commands that the page uses: `explain`, `check` and `reload`, as functions.

The commands hand them down to the lab, so that the page has the words of the command line.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Question:
    """A request as it was typed, and where it goes."""

    line: str
    """The request line: VERB TARGET VERSION."""
    fields: tuple[str, ...]
    """Header fields: NAME: VALUE."""
    body: bytes | None
    scheme: str
    name: str
    """The server name."""
    port: int
    """The port that the bridge listens on."""
    certificate: Path | None
    """The client's certificate with its chain (PEM); None without one."""


@dataclass(frozen=True)
class Explained:
    """The parts of a request, and the decision on it in the words of `explain`."""

    method: str
    target: str
    version: str
    fields: tuple[tuple[str, str], ...]
    """The header fields that were typed."""
    steps: tuple[str, ...]
    verdict: str
    """The last line."""


@dataclass(frozen=True)
class Report:
    """The lines of a command, and whether it succeeded."""

    lines: tuple[str, ...]
    good: bool


@dataclass(frozen=True)
class Tools:
    """The commands."""

    explain: Callable[[Path, Question], Explained]
    """Policy file, request -> decision. ValueError with a sentence if it is not a request."""
    check: Callable[[Path, bytes], Report]
    """Policy file, its text -> findings. The text is used instead of that of the file."""
    reload: Callable[[Path], Report]
    """Control socket -> the outcome of a reload."""
