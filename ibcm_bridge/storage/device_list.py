"""Bindings as CSV: lists of devices as PowerShell exports them, and what this bridge writes itself.

A line names a client GUID and what it is bound to. All problems of a list are told at once, each
with its line; a list with a problem gives no bindings at all.
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
"""The columns of a list that is written; reading one gives the same bindings again."""

_COLUMNS = {
    # SMS_CollectionMember has SMSID (of clients only) and Name, and so has Get-CMDevice.
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
"""A column's name in lower case -> what of a binding it says."""

_BOUND_TO = frozenset(("name", "certificate", "key"))
_UNKNOWN_COMPUTER = re.compile(r"(?:x86|x64|arm64) unknown computer\b", re.IGNORECASE)
"""The site's stand-ins for computers without a client; they have an SMSID all the same."""

_MAX_SHOWN = 60
"""Characters of a cell in a message."""


class ListError(Exception):
    """A list that cannot be taken. `problems` are lines for people, in the order of the list."""

    def __init__(self, problems: list[str]) -> None:
        super().__init__("\n".join(problems))
        self.problems = problems


@dataclass(frozen=True, slots=True)
class DeviceList:
    """What a list says."""

    bindings: tuple[Binding, ...]
    skipped: int
    """Lines of devices that are no clients."""
    unread: tuple[str, ...]
    """Columns that say nothing of a binding."""


def read_list(data: bytes, now: datetime.datetime) -> DeviceList:
    """Read a list; where it says no time, a binding is of `now`. Raises ListError."""
    lines = io.StringIO(_decoded(data), newline="")
    first, header = 1, lines.readline()
    if header.startswith("#TYPE"):  # what Windows PowerShell writes without -NoTypeInformation
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
    """A list's lines, each with its end."""
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
        raise ListError(["line 1: UTF-16 without a byte order mark, or no text; save it as UTF-8"])
    return text


def _columns(line: int, names: Sequence[str]) -> list[tuple[str, str | None]]:
    """Each column's name, and what of a binding it says."""
    columns = [(name, _COLUMNS.get(name.strip().lower())) for name in names]
    meanings = [meaning for _, meaning in columns if meaning is not None]
    twice = [name for name, meaning in columns if meaning and meanings.count(meaning) > 1]
    problems = []
    if twice:
        problems.append(f"line {line}: columns that say the same: {', '.join(twice)}")
    if "guid" not in meanings:
        problems.append(f"line {line}: no column SMSID (or guid); this line must name the columns")
    elif not _BOUND_TO & set(meanings):
        problems.append(
            f"line {line}: no column Name (or dns_name), sha256 (or fingerprint) or key"
        )
    if problems:
        raise ListError(problems)
    return columns


@dataclass(slots=True)
class _Listed:
    """A list, line by line."""

    columns: list[tuple[str, str | None]]
    now: datetime.datetime
    bindings: list[Binding] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)
    skipped: int = 0
    seen: dict[str, int] = field(default_factory=dict)
    """Client GUIDs, and the line of each."""

    def read(self, line: int, cells: Sequence[str]) -> None:
        if not cells:
            return
        if len(cells) != len(self.columns):
            text = f"{len(cells)} cells, where the columns are {len(self.columns)}"
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
            self.problems.append(f"line {line}: nothing that the client GUID is bound to")
        self._note(line, values.get("guid"))
        if len(self.problems) == problems:
            self.bindings.append(Binding(**values))

    def _note(self, line: int, guid: str | None) -> None:
        if guid is None:
            return
        first = self.seen.setdefault(guid, line)
        if first != line:
            self.problems.append(f"line {line}: {guid} is on line {first} already")


def _guid(cell: str) -> str:
    guid = read_guid(cell)
    if guid is None:
        raise ValueError("no client GUID")
    return guid


def _name(cell: str) -> str:
    name = cell.lower()
    if not is_name(name):
        raise ValueError("no name that a certificate has")
    return name


def _sha256(cell: str) -> str:
    digits = re.sub(r"[:\s]", "", cell).lower()
    if len(digits) == 40:
        raise ValueError("no SHA-256; is it a SHA-1 thumbprint?")
    if not digits or not is_sha256(digits):
        raise ValueError("no SHA-256 in hexadecimal")
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
        raise ValueError(f"none of {', '.join(Source)}") from error


def _since(cell: str) -> datetime.datetime:
    try:
        since = datetime.datetime.fromisoformat(cell)
        if since.tzinfo is not None:
            return since.astimezone(datetime.UTC)
    except (ValueError, OverflowError):
        pass
    raise ValueError("no time such as 2026-01-31T12:00:00+00:00")


_READ: dict[str, Callable[[str], object]] = {
    "guid": _guid,
    "name": _name,
    "certificate": _sha256,
    "key": _sha256,
    "signing_key": _signing_key,
    "source": _source,
    "since": _since,
}
"""What of a binding a cell says -> its reading, which raises ValueError with what it is not."""
