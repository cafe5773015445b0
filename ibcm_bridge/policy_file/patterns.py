"""Regular expressions for client input: compiled, if their matching time is limited.

`re` backtracks if a match can continue in more than one way, and the client chooses the text. So
each pattern of the role table or of a policy is analyzed before it is used (`ambiguities`):

- A repetition is ambiguous if the text after it can also be one more round. One such repetition
  multiplies the matching time by the length of the text. A second one, or one inside another
  repetition, would multiply it again, and is refused.
- Each ambiguous optional part, and each set of alternatives with a common first character, at least
  doubles the matching time. A few are allowed.
- Look-around and back-references are refused. Two rows can replace them.
"""

from __future__ import annotations

import importlib
import re
import warnings
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

_parser: Any = importlib.import_module("re._parser")
"""The standard library's own parser. It is private, so a test checks its output."""

_FLAGS = re.IGNORECASE | re.ASCII
_ASCII = frozenset(map(chr, range(128)))
_OTHERS = "\x80"
"""Represents all characters beyond ASCII, which file names may contain (`file_names`)."""
_ALL = _ASCII | {_OTHERS}
MAX_LENGTH = 512
"""Characters; the longest pattern of the role table has 200."""
MAX_CHOICES = 64
"""Maximum number of combinations of optional parts and alternatives."""


def compile_pattern(text: str) -> re.Pattern[str]:
    """Compile the pattern for the path or query of a resource. ValueError if it is not usable.

    It ignores the case of ASCII letters, as IIS does. No other character matches an ASCII letter.
    """
    if len(text) > MAX_LENGTH:
        raise ValueError(f"longer than {MAX_LENGTH} characters; write several rows")
    try:
        with warnings.catch_warnings():
            # `re` warns of syntax such as "[[", whose meaning will change in a later version.
            warnings.simplefilter("error", FutureWarning)
            pattern = re.compile(text, _FLAGS)
        found = ambiguities(text)
    except (FutureWarning, re.error, RecursionError, OverflowError) as error:
        raise ValueError(f"not a regular expression: {error}") from error
    if found.slow:
        raise ValueError(
            f"a client could cause very long matching times: {found.slow[0]}; "
            "make each repetition end in only one way, as [^/]*/ does"
        )
    return pattern


@dataclass(slots=True)
class Ambiguities:
    """The ambiguities of a pattern, at which `re` backtracks."""

    once: list[str] = field(default_factory=list)
    """Ambiguous repetitions that are not in another repetition."""
    nested: list[str] = field(default_factory=list)
    """Ambiguities that occur in each round of a repetition."""
    choices: int = 1
    """Number of combinations of optional parts and alternatives."""
    begins: dict[int, tuple[frozenset[str], bool]] = field(default_factory=dict)
    """The id of a repeated part -> the characters it starts with, and whether it can be empty.

    Without them, each repetition in a repetition would double the time of the analysis.
    """

    @property
    def slow(self) -> list[str]:
        """The ambiguities that cause very long matching times; empty if there are none."""
        found = [*self.nested, *self.once[1:]]
        if self.choices > MAX_CHOICES:
            found.append(f"{self.choices} combinations of optional parts")
        return found


def parsed(text: str) -> Any:
    """Parse a pattern into the items of `re`: pairs of an operation and its value. re.error."""
    return _parser.parse(text, _FLAGS)


def ambiguities(text: str) -> Ambiguities:
    """Analyze a pattern. ValueError for unsupported syntax, re.error for invalid syntax."""
    found = Ambiguities()
    _walk(parsed(text), frozenset(), found, repeated=False)
    return found


def _walk(
    items: Any, after: frozenset[str], found: Ambiguities, *, repeated: bool
) -> tuple[frozenset[str], bool]:
    """Return the characters that `items` can start with, and whether they can be empty.

    `after` has the characters that can follow. `repeated` is true in a repetition, where each
    ambiguity occurs in every round.
    """
    first, empty = after, True
    for op, value in reversed(list(items)):
        name = str(op)
        if name == "AT":  # ^ and $ have no effect: the whole text must match
            continue
        if name == "SUBPATTERN":
            begins, may_be_empty = _walk(value[3], first, found, repeated=repeated)
        elif name == "BRANCH":
            begins, may_be_empty = _branch(value[1], first, found, repeated=repeated)
        elif name in ("MAX_REPEAT", "MIN_REPEAT"):
            begins, may_be_empty = _repeat(value, first, found, repeated=repeated)
        else:
            begins, may_be_empty = frozenset(characters(name, value)), False
        first = begins | first if may_be_empty else begins
        empty = empty and may_be_empty
    return first, empty


def _branch(
    branches: Any, after: frozenset[str], found: Ambiguities, *, repeated: bool
) -> tuple[frozenset[str], bool]:
    read = [_walk(branch, after, found, repeated=repeated) for branch in branches]
    begins = frozenset[str]().union(*(first for first, _ in read))
    if sum(len(first) for first, _ in read) != len(begins):
        if repeated:
            found.nested.append("alternatives with a common first character, in a repetition")
        found.choices *= len(read)
    return begins, any(may_be_empty for _, may_be_empty in read)


def _repeat(
    value: Any, after: frozenset[str], found: Ambiguities, *, repeated: bool
) -> tuple[frozenset[str], bool]:
    least, most, body = value
    if id(body) not in found.begins:
        alone = Ambiguities(begins=found.begins)
        found.begins[id(body)] = _walk(body, frozenset(), alone, repeated=False)
    begins, may_be_empty = found.begins[id(body)]
    several = most > 1
    # If there can be several rounds, another round can follow each.
    _walk(body, after | begins if several else after, found, repeated=repeated or several)
    if several and may_be_empty:
        found.nested.append("a repetition of a part that can be empty")
    if least != most and begins & after:
        common = "".join(sorted(begins & after))[:16]
        ambiguity = f"a repetition that can end or continue with {common!r}"
        if repeated:
            found.nested.append(f"{ambiguity}, in a repetition")
        elif several:
            found.once.append(f"{ambiguity}, after another one")
        else:
            found.choices *= 2
    return begins, may_be_empty or least == 0


def characters(op: str, value: Any) -> Iterator[str]:
    """Return the characters that one item of a pattern matches, in upper and lower case.

    U+0080 represents all characters beyond ASCII.
    """
    if op == "ANY":
        taken = _ALL - {"\n"}
    elif op == "LITERAL":
        taken = frozenset({_known(value)})
    elif op == "NOT_LITERAL":
        taken = (_ASCII - {chr(value)}) | {_OTHERS}
    elif op == "IN":
        taken = frozenset().union(*(_of_class(str(kind), item) for kind, item in value))
        if str(value[0][0]) == "NEGATE":
            # A negated class can match some characters beyond ASCII.
            taken = (_ASCII - taken) | {_OTHERS}
    else:
        syntax = _UNSUPPORTED.get(op, op)
        raise ValueError(f"{syntax} is not supported; write a row for each case")
    for character in taken:
        yield character.upper()
        yield character.lower()


_UNSUPPORTED = {
    "ASSERT": "look-ahead or look-behind, (?=...) or (?<=...),",
    "ASSERT_NOT": "look-ahead or look-behind, (?!...) or (?<!...),",
    "GROUPREF": r"a back-reference, such as \1,",
    "GROUPREF_EXISTS": "a condition, (?(1)...),",
    "ATOMIC_GROUP": "an atomic group, (?>...),",
    "POSSESSIVE_REPEAT": "a possessive repetition, such as a*+,",
}
"""Items that are not analyzed: `re`'s name -> the author's."""


def _known(code_point: int) -> str:
    return chr(code_point) if code_point < 128 else _OTHERS


_CATEGORIES = {"DIGIT": r"\d", "WORD": r"\w", "SPACE": r"\s"}


def _of_class(kind: str, item: Any) -> frozenset[str]:
    if kind == "NEGATE":
        return frozenset()
    if kind == "LITERAL":
        return frozenset({_known(item)})
    if kind == "RANGE":
        within = frozenset(map(chr, range(item[0], min(item[1], 127) + 1)))
        return within | {_known(item[1])}
    if kind == "CATEGORY":
        escape = _CATEGORIES[str(item).rpartition("_")[2]]
        members = frozenset(c for c in _ASCII if re.match(escape, c, re.ASCII))
        return _ALL - members if "_NOT_" in str(item) else members
    raise ValueError(f"{kind} in a character class is not supported")
