"""The audit files that a command reads, and its output."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Iterator
from pathlib import Path

from ibcm_bridge.audit.summary import Fields
from ibcm_bridge.storage.audit_files import read_lines, with_rotated

WIDTH = 80
"""Characters of a line of output."""


def add_files(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of `audit_files`."""
    parser.add_argument(
        "files",
        type=Path,
        nargs="+",
        metavar="FILE",
        help="audit file; its rotated files (FILE.1, FILE.2.gz, FILE-20261231.gz) are read too",
    )


def audit_files(options: argparse.Namespace) -> list[Path]:
    """Return the files to read. Raise AuditFileError."""
    return with_rotated(options.files)


def read_records(path: Path) -> Iterator[Fields | None]:
    """Yield each record of a file; None for a line that is not one. Raise AuditFileError."""
    for line in read_lines(path):
        yield record_of(line)


def record_of(line: bytes) -> Fields | None:
    """Return the record of a line; None if it is not one."""
    try:
        record = json.loads(line)
    except (ValueError, RecursionError):
        return None
    return record if isinstance(record, dict) else None


def shown(text: str, width: int) -> str:
    """Return a text for a terminal, without control characters, shortened to a width."""
    plain = "".join(character if character.isprintable() else "?" for character in text)
    return plain if len(plain) <= width else f"{plain[: width - 3]}..."


def seconds(time: str) -> str:
    """Return a time of the audit, which is in UTC, without its fraction and offset."""
    return time[:19].replace("T", " ")


def complain(text: str) -> None:
    """Print an error."""
    print(f"ibcm-bridge audit: {text}", file=sys.stderr)
