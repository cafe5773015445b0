"""Bindings as CSV: device lists that PowerShell exports, and lists that this bridge writes.

A line has a client GUID and the name, certificate or key that it is bound to. All problems of a
list are reported at once, each with its line. A list with a problem yields no bindings.
"""

from __future__ import annotations

import base64
import codecs
import csv
import datetime
import io
import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

from ibcm_bridge.identity.bindings import Binding, Source
from ibcm_bridge.messages.client_guid import read_guid
from ibcm_bridge.storage.binding_rows import is_name, is_sha256

_WRITTEN = ("guid", "dns_name", "sha256", "key", "signing_key", "source", "since")
"""The columns of a written list. Reading it returns the same bindings."""

_COLUMNS = {
    # SMS_CollectionMember and Get-CMDevice have SMSID (only for clients) and Name.
    "smsid": "guid",
    "guid": "guid",
    "name": "name",
    "dns_name": "name",
    "sha256": "certificate",
    "fingerprint": "certificate",
    "key": "key",
    "signing_key": "signing_key",
    "source": "source",
    "since": "since",
}
"""A column's name in lower case -> the binding's value."""

_BOUND_TO = frozenset(("name", "certificate", "key"))
_UNKNOWN_COMPUTER = re.compile(r"(?:x86|x64|arm64) unknown computer\b", re.IGNORECASE)
"""The site's placeholders for computers without a client. They have an SMSID, too."""

_MAX_SHOWN = 60
"""Characters of a cell in a message."""


class ListError(Exception):
    """A list is invalid. `problems` are messages, in the order of the list's lines."""

    def __init__(self, problems: list[str]) -> None:
        super().__init__("\n".join(problems))
        self.problems = problems


@dataclass(frozen=True, slots=True)
class DeviceList:
    """A parsed list."""

    bindings: tuple[Binding, ...]
    skipped: int
    """The number of devices that are not clients."""
    unread: tuple[str, ...]
    """Names of unused columns."""


def read_list(data: bytes, now: datetime.datetime) -> DeviceList:
    """Parse a list. `now` is the time of bindings without one. Raises ListError."""
    lines = io.StringIO(_decoded(data), newline="")
    first, header = 1, lines.readline()
    if header.startswith("#TYPE"):  # Windows PowerShell without -NoTypeInformation
        first, header = 2, lines.readline()
    delimiter = ";" if header.count(";") > header.count(",") else ","
    reader = csv.reader(lines, delimiter=delimiter, strict=True)
    try:
        names = next(csv.reader([header], delimiter=delimiter), [])
    except csv.Error as error:
        raise ListError([f"line {first}: {error}"]) from error
    list_ = _Listed(_columns(first, names), now)
    line = first
    try:
        for cells in reader:
            line, began = first + reader.line_num, line + 1
            list_.read(began, cells)
    except csv.Error as error:
        list_.problems.append(f"line {line + 1}: {error}")
    if list_.problems:
        raise ListError(list_.problems)
    unread = [name for name in names if name.strip().lower() not in _COLUMNS]
    return DeviceList(tuple(list_.bindings), list_.skipped, tuple(unread))


def write_list(bindings: Iterable[Binding]) -> Iterator[str]:
    """The lines of a list, with line ends."""
    yield _line(_WRITTEN)
    for binding in bindings:
        signing_key = base64.b64encode(binding.signing_key).decode("ascii")
        yield _line(
            (
                binding.guid,
                binding.name,
                binding.certificate,
                binding.key,
                signing_key,
                binding.source,
                binding.since.isoformat(),
            )
        )


def _line(cells: Sequence[str]) -> str:
    written = io.StringIO(newline="")
    csv.writer(written, lineterminator="\n").writerow(cells)
    return written.getvalue()


def _decoded(data: bytes) -> str:
    with_mark = data.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE))
    try:
        text = data.decode("utf-16" if with_mark else "utf-8-sig")
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        raise ListError([f"line {line}: not UTF-8 text; save it as UTF-8"]) from error
    if "\0" in text:
        raise ListError(["line 1: UTF-16 without a byte order mark, or binary; save it as UTF-8"])
    return text


def _columns(line: int, names: Sequence[str]) -> list[tuple[str, str | None]]:
    """Each column's name, and the binding's value in it."""
    columns = [(name, _COLUMNS.get(name.strip().lower())) for name in names]
    meanings = [meaning for _, meaning in columns if meaning is not None]
    twice = [name for name, meaning in columns if meaning and meanings.count(meaning) > 1]
    problems = []
    if twice:
        problems.append(f"line {line}: columns with the same meaning: {', '.join(twice)}")
    if "guid" not in meanings:
        problems.append(
            f"line {line}: no column SMSID (or guid); this line must have the column names"
        )
    elif not _BOUND_TO & set(meanings):
        problems.append(
            f"line {line}: no column Name (or dns_name), sha256 (or fingerprint) or key"
        )
    if problems:
        raise ListError(problems)
    return columns


@dataclass(slots=True)
class _Listed:
    """The state of parsing a list."""

    columns: list[tuple[str, str | None]]
    now: datetime.datetime
    bindings: list[Binding] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)
    skipped: int = 0
    seen: dict[str, int] = field(default_factory=dict)
    """Client GUID -> its line."""

    def read(self, line: int, cells: Sequence[str]) -> None:
        if not cells:
            return
        if len(cells) != len(self.columns):
            text = f"{len(cells)} cells for {len(self.columns)} columns"
            self.problems.append(f"line {line}: {text}")
            return
        filled = {
            meaning: (name, cell.strip())
            for (name, meaning), cell in zip(self.columns, cells, strict=True)
            if meaning is not None and cell.strip()
        }
        if "guid" not in filled or _UNKNOWN_COMPUTER.match(filled.get("name", ("", ""))[1]):
            self.skipped += 1
            return
        problems = len(self.problems)
        values: dict[str, Any] = {"source": Source.IMPORT, "since": self.now}
        for meaning, (name, cell) in filled.items():
            try:
                values[meaning] = _READ[meaning](cell)
            except ValueError as error:
                shown = repr(cell[:_MAX_SHOWN])
                self.problems.append(f"line {line}: {name.strip()}: {shown} is {error}")
        if not _BOUND_TO & filled.keys():
            self.problems.append(
                f"line {line}: no name, certificate or key to bind the client GUID to"
            )
        self._note(line, values.get("guid"))
        if len(self.problems) == problems:
            self.bindings.append(Binding(**values))

    def _note(self, line: int, guid: str | None) -> None:
        if guid is None:
            return
        first = self.seen.setdefault(guid, line)
        if first != line:
            self.problems.append(f"line {line}: {guid} is already on line {first}")


def _guid(cell: str) -> str:
    guid = read_guid(cell)
    if guid is None:
        raise ValueError("not a client GUID")
    return guid


def _name(cell: str) -> str:
    name = cell.lower()
    if not is_name(name):
        raise ValueError("not a possible name of a certificate")
    return name


def _sha256(cell: str) -> str:
    digits = re.sub(r"[:\s]", "", cell).lower()
    if len(digits) == 40:
        raise ValueError("not a SHA-256; is it a SHA-1 thumbprint?")
    if not digits or not is_sha256(digits):
        raise ValueError("not a SHA-256 in hexadecimal")
    return digits


def _signing_key(cell: str) -> bytes:
    try:
        return base64.b64decode(cell, validate=True)
    except ValueError as error:
        raise ValueError("not base64") from error


def _source(cell: str) -> Source:
    try:
        return Source(cell.lower())
    except ValueError as error:
        raise ValueError(f"not one of {', '.join(Source)}") from error


def _since(cell: str) -> datetime.datetime:
    try:
        since = datetime.datetime.fromisoformat(cell)
        if since.tzinfo is not None:
            return since.astimezone(datetime.UTC)
    except (ValueError, OverflowError):
        pass
    raise ValueError("not a time such as 2026-01-31T12:00:00+00:00")


_READ: dict[str, Callable[[str], object]] = {
    "guid": _guid,
    "name": _name,
    "certificate": _sha256,
    "key": _sha256,
    "signing_key": _signing_key,
    "source": _source,
    "since": _since,
}
"""The binding's value -> the parser of its cell, which raises ValueError ("not a ...")."""
