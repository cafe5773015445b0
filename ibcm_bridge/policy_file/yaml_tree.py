"""YAML text -> plain values, with the line of each; nothing converted silently.

YAML 1.1 turns ``no`` into False, ``1:30`` into 90 and ``2026-01-01`` into a date. In a policy each
of these is a trap, so a plain scalar is a string unless it is ``true``, ``false`` or a decimal
number, and the trapped spellings are refused with the spelling to use. A key that occurs twice is
refused: YAML lets the last one win. So is what makes a control character in double quotes: it was
meant to be a path of Windows.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field

import yaml
from yaml.nodes import MappingNode, Node, ScalarNode, SequenceNode

from ibcm_bridge.policy_file import yaml_errors

Place = tuple[str | int, ...]
"""Where a value stands: keys and list positions from the top."""

_NUMBER = re.compile(r"-?(0|[1-9][0-9]*(_[0-9]+)*)(\.[0-9]+)?")
_STRING_TAG = "tag:yaml.org,2002:str"
_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f]")
_MERGE = "merge keys are not read: write the keys out, or let *name be the whole of a value"
_ESCAPE = f"this makes a control character: {yaml_errors.BACKSLASH}"

_TRAPS = {
    "bool": ("a boolean", "or true or false"),
    "null": ("nothing", "or leave the key out"),
    "int": ("a number", "or decimal digits"),
    "float": ("a number", "or decimal digits"),
    "timestamp": ("a date", ""),
}
"""By YAML's tag: what it makes of a plain value, and what can be written beside the text."""


MAX_DEPTH = 16
"""Nothing in a policy is nested deeper. An alias of what it stands in would be endless."""


@dataclass(frozen=True, slots=True)
class Problem:
    """One thing wrong with the text: where, what, and what to write instead."""

    line: int
    place: Place
    message: str


@dataclass(slots=True)
class Tree:
    """The values, the line of each, and every problem found."""

    value: object = None
    lines: dict[Place, int] = field(default_factory=dict)
    problems: list[Problem] = field(default_factory=list)
    traps: dict[Place, str] = field(default_factory=dict)
    """What YAML would have made of a plain value, in words; each is a problem, too."""
    aliases: dict[Place, Place] = field(default_factory=dict)
    """Where an alias stands, and where what it stands for is written."""

    def written_at(self, place: Place) -> Place:
        """Where a value is written: elsewhere, if an alias leads to it."""
        for length in range(len(place) + 1):
            if (first := self.aliases.get(place[:length])) is not None:
                return self.written_at((*first, *place[length:]))
        return place

    def line(self, place: Place) -> int:
        """The line of a value; for one that is missing, of what it is missing from."""
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
    if node is not None:
        tree.value = _value(tree, node, (), {})
    return tree


def _value(tree: Tree, node: Node, place: Place, seen: dict[int, Place]) -> object:
    # No setdefault: an alias is seen at each of its places, and each is a place of its own.
    if (first := seen.setdefault(id(node), place)) != place:
        tree.aliases[place] = first
    tree.lines[place] = node.start_mark.line + 1
    if len(place) > MAX_DEPTH:
        tree.problems.append(
            Problem(tree.lines[place], place[:1], "nested too deeply, or endlessly")
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
            tree.lines[(*place, "<<")] = line
            tree.problems.append(Problem(line, (*place, "<<"), _MERGE))
            continue
        if not isinstance(key_node, ScalarNode):
            tree.problems.append(Problem(line, place, "only plain names can be keys"))
            continue
        key = key_node.value
        if key in values:
            first = tree.lines[(*place, key)]
            tree.problems.append(
                Problem(line, (*place, key), f"this key stands twice (first on line {first})")
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
    kind, instead = _TRAPS.get(node.tag.rpartition(":")[2], ("a sign of its own", ""))
    tree.traps[place] = f"YAML reads {text} as {kind}"
    message = f'{tree.traps[place]}; write "{text}", in quotes, {instead}'.rstrip(", ")
    tree.problems.append(Problem(line, place, message))
    return text
