"""YAML text -> plain values, with the line of each value and without silent conversions.

YAML 1.1 converts ``no`` to False, ``1:30`` to 90 and ``2026-01-01`` to a date. In a policy these
are mistakes. So a plain scalar is a string unless it is ``true``, ``false`` or a decimal number.
Spellings that YAML would convert are refused. Duplicate keys are refused too: YAML uses the last
one. So are control characters from escape sequences in double quotes: such a value is usually a
Windows path.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field

import yaml
from yaml.nodes import MappingNode, Node, ScalarNode, SequenceNode

from ibcm_bridge.policy_file import yaml_errors

Place = tuple[str | int, ...]
"""The place of a value: keys and list indexes from the top."""

_NUMBER = re.compile(r"-?(0|[1-9][0-9]*(_[0-9]+)*)(\.[0-9]+)?")
_STRING_TAG = "tag:yaml.org,2002:str"
_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f]")
_MERGE = "merge keys (<<) are not supported; write the keys out, or use *name as the whole value"
_ESCAPE = f"control character; {yaml_errors.BACKSLASH}"

_CONVERSIONS = {
    "bool": "a boolean",
    "null": "null",
    "int": "a number",
    "float": "a number",
    "timestamp": "a date",
}
"""By YAML tag: the type that YAML converts a plain value to."""


MAX_DEPTH = 16
"""A valid policy has fewer levels. An alias inside its own anchor would recurse without end."""


MAX_VALUES = 100_000
"""Values of a policy. Aliases in aliases would have billions."""


@dataclass(frozen=True, slots=True)
class Problem:
    """A problem: its place, and a message with the correction."""

    line: int
    place: Place
    message: str


@dataclass(frozen=True, slots=True)
class Converted:
    """A plain value that YAML would convert. No row accepts it."""

    text: str
    kind: str

    def __str__(self) -> str:
        return f"YAML reads {self.text} as {self.kind}"


@dataclass(slots=True)
class Tree:
    """The values, the line of each, and the problems."""

    value: object = None
    lines: dict[Place, int] = field(default_factory=dict)
    problems: list[Problem] = field(default_factory=list)
    aliases: dict[Place, Place] = field(default_factory=dict)
    """The place of an alias -> the place of its anchor."""

    def written_at(self, place: Place) -> Place:
        """Return the place where a value is written, which differs for an alias."""
        for length in range(len(place) + 1):
            if (first := self.aliases.get(place[:length])) is not None:
                return self.written_at((*first, *place[length:]))
        return place

    def line(self, place: Place) -> int:
        """Return the line of a value; for a missing one, the line of the mapping or list."""
        while place and place not in self.lines:
            place = place[:-1]
        return self.lines.get(place, 1)


def read_yaml(text: str) -> Tree:
    """Read one YAML document."""
    tree = Tree()
    try:
        node = yaml.compose(text, Loader=yaml.SafeLoader)
    except yaml.YAMLError as error:
        line, cause = yaml_errors.in_words(error, text)
        tree.problems.append(Problem(line, (), f"not YAML: {cause}"))
        return tree
    except RecursionError:
        tree.problems.append(Problem(1, (), "nested too deeply"))
        return tree
    if node is not None:
        tree.value = _value(tree, node, (), {})
    return tree


def _value(tree: Tree, node: Node, place: Place, seen: dict[int, Place]) -> object:
    # A node with aliases is read at each of its places. All but the first are aliases.
    if (first := seen.setdefault(id(node), place)) != place:
        tree.aliases[place] = first
    tree.lines[place] = node.start_mark.line + 1
    if len(tree.lines) > MAX_VALUES:
        problem = Problem(1, (), f"more than {MAX_VALUES:,} values, as the aliases repeat them")
        if problem not in tree.problems[-1:]:
            tree.problems.append(problem)
        return None
    if len(place) > MAX_DEPTH:
        tree.problems.append(
            Problem(tree.lines[place], place[:1], "nested too deeply, or an alias contains itself")
        )
        return None
    if isinstance(node, MappingNode):
        return _mapping(tree, node, place, seen)
    if isinstance(node, SequenceNode):
        return [_value(tree, item, (*place, index), seen) for index, item in enumerate(node.value)]
    assert isinstance(node, ScalarNode)
    return _scalar(tree, node, place)


def _mapping(
    tree: Tree, node: MappingNode, place: Place, seen: dict[int, Place]
) -> dict[str, object]:
    values: dict[str, object] = {}
    for key_node, value_node in node.value:
        line = key_node.start_mark.line + 1
        if key_node.value == "<<":
            tree.problems.append(Problem(line, place, _MERGE))
            continue
        if not isinstance(key_node, ScalarNode):
            tree.problems.append(Problem(line, place, "not a plain key; write KEY: VALUE"))
            continue
        key = key_node.value
        if key in values:
            first = tree.lines[(*place, key)]
            tree.problems.append(
                Problem(line, (*place, key), f"duplicate key, first on line {first}; remove one")
            )
            continue
        values[key] = _value(tree, value_node, (*place, key), seen)
        tree.lines[(*place, key)] = line
    return values


def _scalar(tree: Tree, node: ScalarNode, place: Place) -> object:
    text: str = node.value
    line = node.start_mark.line + 1
    if node.style == '"' and _CONTROL.search(text):
        tree.problems.append(Problem(line, place, _ESCAPE))
        return _CONTROL.sub("?", text)
    if node.style is not None or node.tag == _STRING_TAG:
        return text
    if node.tag.endswith((":bool", ":null")):
        if text in ("true", "false"):
            return text == "true"
        if text == "":
            return None
    elif _NUMBER.fullmatch(text):
        number = text.replace("_", "")
        return float(number) if "." in number else int(number)
    kind = _CONVERSIONS.get(node.tag.rpartition(":")[2], "a special character")
    return Converted(text, kind)
