"""Values in the tables that ship with the code, checked for their type.

TypeError or ValueError for a wrong type: a defect, found before a listener opens.
"""

from __future__ import annotations

from collections.abc import Mapping


def only(where: str, row: Mapping[str, object], keys: set[str]) -> None:
    """ValueError for unknown keys."""
    if unknown := row.keys() - keys:
        raise ValueError(f"{where}: unknown keys {sorted(unknown)}")


def as_mapping(value: object) -> Mapping[str, object]:
    """Return a mapping."""
    if not isinstance(value, dict):
        raise TypeError(f"expected a mapping, found {value!r}")
    return value


def as_list(value: object) -> list[object]:
    """Return a list of rows."""
    if not isinstance(value, list):
        raise TypeError(f"expected a list of rows, found {value!r}")
    return value


def as_string(value: object) -> str:
    """Return a string."""
    if not isinstance(value, str):
        raise TypeError(f"expected text, found {value!r}")
    return value


def as_strings(value: object) -> list[str]:
    """Return a list of strings."""
    if not isinstance(value, list) or not all(isinstance(item, str) for item in value):
        raise TypeError(f"expected a list of names, found {value!r}")
    return value


def as_flag(value: object) -> bool:
    """Return a bool."""
    if not isinstance(value, bool):
        raise TypeError(f"expected true or false, found {value!r}")
    return value
