"""Rows of the tables that ship with the code: each value of the kind it must have.

TypeError or ValueError where it is not: a defect, found before any listener exists.
"""

from __future__ import annotations

from collections.abc import Mapping


def only(where: str, row: Mapping[str, object], keys: set[str]) -> None:
    """Refuse keys that mean nothing."""
    if unknown := row.keys() - keys:
        raise ValueError(f"{where} has no {sorted(unknown)}")


def as_mapping(value: object) -> Mapping[str, object]:
    """A mapping."""
    if not isinstance(value, dict):
        raise TypeError(f"expected a mapping, found {value!r}")
    return value


def as_list(value: object) -> list[object]:
    """A list of rows."""
    if not isinstance(value, list):
        raise TypeError(f"expected a list of rows, found {value!r}")
    return value


def as_string(value: object) -> str:
    """A text."""
    if not isinstance(value, str):
        raise TypeError(f"expected text, found {value!r}")
    return value


def as_strings(value: object) -> list[str]:
    """A list of texts."""
    if not isinstance(value, list) or not all(isinstance(item, str) for item in value):
        raise TypeError(f"expected a list of names, found {value!r}")
    return value


def as_flag(value: object) -> bool:
    """True or false."""
    if not isinstance(value, bool):
        raise TypeError(f"expected true or false, found {value!r}")
    return value
