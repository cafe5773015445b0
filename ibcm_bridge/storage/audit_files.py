"""Audit files on disk: the one in use, and those that log rotation renamed and compressed."""

from __future__ import annotations

import gzip
import re
import zlib
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import BinaryIO, cast

MAX_LINE = 1_048_576
"""Bytes. A record of the bridge has less than a tenth; more is not one."""

_ROTATED = re.compile(r"(?:\.[0-9]{1,9}|-[0-9]{4}-?[0-9]{2}-?[0-9]{2}(?:-?[0-9]{1,10})?)(?:\.gz)?")
"""What logrotate(8) appends: a number; or a date with `dateext`, and seconds with `dateformat`, as
in deploy/logrotate; `.gz` with `compress`."""


class AuditFileError(Exception):
    """A file cannot be read. The message has its path and the cause."""


def with_rotated(paths: Iterable[Path]) -> list[Path]:
    """Return each file and its rotated files, without duplicates, in the order of their names.

    The order says nothing about the time. Raise AuditFileError for a folder that cannot be listed.
    """
    found = dict[Path, None]()
    for path in paths:
        try:
            found |= dict.fromkeys((*_rotated(path), path))
        except OSError as error:
            raise AuditFileError(f"{path.parent}: {error.strerror}") from error
    return list(found)


def _rotated(path: Path) -> list[Path]:
    if not path.parent.is_dir():
        return []
    names = (other.name for other in path.parent.iterdir() if other.name.startswith(path.name))
    return [path.with_name(name) for name in sorted(names) if _is_rotated(name, path.name)]


def _is_rotated(name: str, of: str) -> bool:
    return _ROTATED.fullmatch(name, len(of)) is not None


def read_lines(path: Path) -> Iterator[bytes]:
    """Yield the lines of a file, compressed or not, each with its newline if it has one.

    A line of more than `MAX_LINE` bytes comes in parts. Raise AuditFileError.
    """
    try:
        with path.open("rb") as file:
            is_compressed = file.peek(2)[:2] == b"\x1f\x8b"  # RFC 1952 §2.3.1
            stream = cast("BinaryIO", gzip.GzipFile(fileobj=file)) if is_compressed else file
            while line := stream.readline(MAX_LINE):
                yield line
    except OSError as error:
        raise AuditFileError(f"{path}: {error.strerror or error}") from error
    except (EOFError, zlib.error) as error:
        raise AuditFileError(f"{path}: the compressed file is incomplete or damaged") from error
