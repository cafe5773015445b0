"""Bindings as rows of a table. Each value is validated when it is written and when it is read."""

from __future__ import annotations

import datetime
import re
from collections.abc import Callable
from functools import lru_cache
from typing import Any

from ibcm_bridge.identity.bindings import Binding, Source
from ibcm_bridge.messages.client_guid import read_guid

# Without STRICT (SQLite 3.37) and RETURNING (3.35): Python 3.12 may have an older SQLite.
TABLE = """
CREATE TABLE bindings (
    guid TEXT NOT NULL PRIMARY KEY,
    source TEXT NOT NULL,
    since TEXT NOT NULL,
    key TEXT NOT NULL,
    certificate TEXT NOT NULL,
    name TEXT NOT NULL,
    signing_key BLOB NOT NULL
) WITHOUT ROWID
"""

_SHA256 = re.compile(r"[0-9a-f]{64}", re.ASCII)
_SINCE = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9:]{8}(?:\.[0-9]{6})?\+00:00", re.ASCII)
_SOURCES = frozenset(Source)
_MAX_NAME = 512
"""Characters. A principal name has at most 256, and some letters become two in lower case."""


def row_of(binding: Binding) -> tuple[object, ...]:
    """Convert a binding to a row. Raises ValueError for an invalid value."""
    since = binding.since
    row = (
        binding.guid,
        str(binding.source),
        (since.astimezone(datetime.UTC) if since.tzinfo else since).isoformat(),
        binding.key,
        binding.certificate,
        binding.name,
        binding.signing_key,
    )
    _check_form(row)
    return row


REMEMBERED = 4_096
"""Rows, at most 2 KB each. Only the conversion is remembered: each row is read again."""


@lru_cache(maxsize=REMEMBERED)
def binding_of(row: tuple[Any, ...]) -> Binding:
    """Convert a row to a binding. Raises ValueError for an invalid value."""
    _check_form(row)
    guid, source, since, key, certificate, name, signing_key = row
    then = datetime.datetime.fromisoformat(since)
    return Binding(guid, Source(source), then, key, certificate, name, signing_key)


def _is_guid(value: object) -> bool:
    return isinstance(value, str) and read_guid(value) == value


def _is_source(value: object) -> bool:
    return isinstance(value, str) and value in _SOURCES


def _is_since(value: object) -> bool:
    return isinstance(value, str) and _SINCE.fullmatch(value) is not None


def is_sha256(value: object) -> bool:
    """Return whether this is a SHA-256 in lower-case hexadecimal, or empty."""
    return isinstance(value, str) and (not value or _SHA256.fullmatch(value) is not None)


def is_name(value: object) -> bool:
    """Return whether this can be the name of a certificate, in lower case, or empty."""
    return (
        isinstance(value, str)
        and len(value) <= _MAX_NAME
        and value.isprintable()
        and " " not in value
        and value == value.lower()
    )


def _is_bytes(value: object) -> bool:
    return isinstance(value, bytes)


_FORMS: tuple[tuple[str, Callable[[object], bool]], ...] = (
    ("guid", _is_guid),
    ("source", _is_source),
    ("since", _is_since),
    ("key", is_sha256),
    ("certificate", is_sha256),
    ("name", is_name),
    ("signing_key", _is_bytes),
)
"""The columns in their order, and the check of each."""


def _check_form(row: tuple[object, ...]) -> None:
    for (column, has_form), value in zip(_FORMS, row, strict=True):
        if not has_form(value):
            raise ValueError(f"{value!r} is not a valid {column}")
