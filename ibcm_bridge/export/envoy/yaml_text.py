"""Writes values as YAML with comments. Every text is quoted as in JSON, which YAML reads alike."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from ibcm_bridge.export.writing import comment

type Value = bool | int | float | str | Sequence[Value] | Mapping[str, Value] | Commented | None


@dataclass(frozen=True, slots=True)
class Commented:
    """A value with a comment before it."""

    text: str
    value: Value


def yaml_text(value: Value) -> str:
    """Return a value as YAML."""
    return "\n".join(_lines(value, "")) + "\n"


def _lines(value: Value, indent: str) -> Iterator[str]:
    if isinstance(value, Commented):
        yield comment(value.text, indent)
        yield from _lines(value.value, indent)
    elif isinstance(value, Mapping):
        for key, item in value.items():
            yield from _item(
                f'{indent}"{key}":' if key.startswith("@") else f"{indent}{key}:", item
            )
    elif isinstance(value, Sequence) and not isinstance(value, str):
        for item in value:
            yield from _element(indent, item)
    else:
        yield f"{indent}{json.dumps(value)}"


def _item(key: str, item: Value) -> Iterator[str]:
    indent = " " * (len(key) - len(key.lstrip()))
    if isinstance(item, Commented):
        yield comment(item.text, indent)
        item = item.value
    if isinstance(item, str) and "\n" in item:
        yield f"{key} |"
        yield from (f"{indent}  {line}" if line else "" for line in item.rstrip("\n").split("\n"))
    elif _is_plain(item):
        yield f"{key} {json.dumps(item)}"
    else:
        yield key
        yield from _lines(item, f"{indent}  ")


def _element(indent: str, item: Value) -> Iterator[str]:
    if isinstance(item, Commented):
        yield comment(item.text, indent)
        item = item.value
    if _is_plain(item):
        yield f"{indent}- {json.dumps(item)}"
        return
    first, *rest = _lines(item, f"{indent}  ")
    # A comment cannot follow the dash.
    while first.lstrip().startswith("#"):
        yield f"{indent}{first.lstrip()}"
        first, *rest = rest
    yield f"{indent}- {first.lstrip()}"
    yield from rest


def _is_plain(item: Value) -> bool:
    if isinstance(item, Mapping):
        return not item
    return not isinstance(item, Commented) and (
        isinstance(item, str) or not isinstance(item, Sequence) or _is_short(item)
    )


def _is_short(items: Sequence[Value]) -> bool:
    return all(isinstance(item, str | int | float) for item in items) and len(str(items)) < 80
