"""Regular expressions for what clients send: compiled, and held to take their time only once.

`re` goes back where a match can end in more than one way, and a client chooses the text. So a
pattern of the role table or of a policy is looked at before it is used (`ambiguities`):

- A repetition leaves a choice only where what may follow it can be one more round of it. One such
  choice costs as many steps as the text is long; one inside a repetition, or one after another,
  multiplies them, and that is refused.
- Optional parts and alternatives that begin alike double the work each; a few are allowed.
- Look-around and back-references are refused: whoever needs them can write two rows.
"""

from __future__ import annotations

import importlib
import re
import warnings
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

_parser: Any = importlib.import_module("re._parser")
"""The standard library's own parser; a test holds it to what is expected of it here."""

_FLAGS = re.IGNORECASE | re.ASCII
_ASCII = frozenset(map(chr, range(128)))
_OTHERS = "\x80"
"""Stands for every character beyond ASCII: names of files may have them (`file_names`)."""
_ALL = _ASCII | {_OTHERS}
MAX_LENGTH = 512
"""Characters; the longest of the role table has 200."""
MAX_CHOICES = 64
"""Ways in which optional parts and alternatives can be taken, multiplied."""


def compile_pattern(text: str) -> re.Pattern[str]:
    """A path or query of a resource: without regard to case, as in IIS. ValueError for no pattern.

    The case of ASCII letters, that is: no other character is a case of one of them.
    """
    if len(text) > MAX_LENGTH:
        raise ValueError(f"longer than {MAX_LENGTH} characters")
    try:
        with warnings.catch_warnings():
            # What `re` only warns of, such as "[[", is read in another way by a later version.
            warnings.simplefilter("error", FutureWarning)
            pattern = re.compile(text, _FLAGS)
        found = ambiguities(text)
    except (FutureWarning, re.error, RecursionError, OverflowError) as error:
        raise ValueError(f"not a regular expression: {error}") from error
    if found.slow:
        raise ValueError(
            f"a client could make this take very long: {found.slow[0]}; "
            "let each repetition end in only one way, as [^/]*/ does"
        )
    return pattern


@dataclass(slots=True)
class Ambiguities:
    """Where a pattern leaves `re` a choice."""

    once: list[str] = field(default_factory=list)
    """Repetitions outside of any other, which could go on with what follows them."""
    nested: list[str] = field(default_factory=list)
    """Choices that are made anew in each round of a repetition."""
    choices: int = 1
    """In how many ways optional parts and alternatives can be taken."""

    @property
    def slow(self) -> list[str]:
        """What makes the pattern one that takes its time."""
        found = [*self.nested, *self.once[1:]]
        if self.choices > MAX_CHOICES:
            found.append(f"optional parts in {self.choices} ways")
        return found


def ambiguities(text: str) -> Ambiguities:
    """Look at a pattern. ValueError for one that has what cannot be judged, re.error for none."""
    found = Ambiguities()
    _walk(_parser.parse(text, _FLAGS), frozenset(), found, repeated=False)
    return found


def _walk(
    items: Any, after: frozenset[str], found: Ambiguities, *, repeated: bool
) -> tuple[frozenset[str], bool]:
    """What `items` may begin with, and whether they may be empty; `after`: what may follow.

    `repeated`: in a repetition, so that each choice is one in every round of it.
    """
    first, empty = after, True
    for op, value in reversed(list(items)):
        name = str(op)
        if name == "AT":  # ^ and $, which a whole match has anyway
            continue
        if name == "SUBPATTERN":
            begins, may_be_empty = _walk(value[3], first, found, repeated=repeated)
        elif name == "BRANCH":
            begins, may_be_empty = _branch(value[1], first, found, repeated=repeated)
        elif name in ("MAX_REPEAT", "MIN_REPEAT"):
            begins, may_be_empty = _repeat(value, first, found, repeated=repeated)
        else:
            begins, may_be_empty = frozenset(_characters(name, value)), False
        first = begins | first if may_be_empty else begins
        empty = empty and may_be_empty
    return first, empty


def _branch(
    branches: Any, after: frozenset[str], found: Ambiguities, *, repeated: bool
) -> tuple[frozenset[str], bool]:
    read = [_walk(branch, after, found, repeated=repeated) for branch in branches]
    begins = frozenset[str]().union(*(one for one, _ in read))
    if sum(len(one) for one, _ in read) != len(begins):
        if repeated:
            found.nested.append("alternatives that begin alike, in a repetition")
        found.choices *= len(read)
    return begins, any(one for _, one in read)


def _repeat(
    value: Any, after: frozenset[str], found: Ambiguities, *, repeated: bool
) -> tuple[frozenset[str], bool]:
    least, most, body = value
    begins, may_be_empty = _walk(body, frozenset(), Ambiguities(), repeated=False)
    several = most > 1
    # One more round may follow a round, wherever there may be more than one.
    _walk(body, after | begins if several else after, found, repeated=repeated or several)
    if several and may_be_empty:
        found.nested.append("a repetition of what may be nothing")
    if least != most and begins & after:
        what = f"a repetition that can go on with {''.join(sorted(begins & after))[:16]!r}"
        if repeated:
            found.nested.append(f"{what}, in a repetition")
        elif several:
            found.once.append(f"{what}, twice")
        else:
            found.choices *= 2
    return begins, may_be_empty or least == 0


def _characters(op: str, value: Any) -> Iterator[str]:
    """What one step of a pattern takes, in either case."""
    if op == "ANY":
        taken = _ALL - {"\n"}
    elif op == "LITERAL":
        taken = frozenset({_known(value)})
    elif op == "NOT_LITERAL":
        taken = (_ASCII - {chr(value)}) | {_OTHERS}
    elif op == "IN":
        taken = frozenset().union(*(_of_class(str(kind), what) for kind, what in value))
        if str(value[0][0]) == "NEGATE":
            # Of the characters beyond ASCII some may be left: it says which, and not here.
            taken = (_ASCII - taken) | {_OTHERS}
    else:
        what = _NOT_JUDGED.get(op, op)
        raise ValueError(f"{what} is not for patterns here; give each case a row of its own")
    for character in taken:
        yield character.upper()
        yield character.lower()


_NOT_JUDGED = {
    "ASSERT": "look-ahead or look-behind, (?=...) or (?<=...),",
    "ASSERT_NOT": "look-ahead or look-behind, (?!...) or (?<!...),",
    "GROUPREF": r"a back-reference, such as \1,",
    "GROUPREF_EXISTS": "a condition, (?(1)...),",
    "ATOMIC_GROUP": "an atomic group, (?>...),",
    "POSSESSIVE_REPEAT": "a possessive repetition, such as a*+,",
}
"""What `re` calls a step that cannot be judged, and what its author does."""


def _known(code_point: int) -> str:
    return chr(code_point) if code_point < 128 else _OTHERS


_CATEGORIES = {"DIGIT": r"\d", "WORD": r"\w", "SPACE": r"\s"}


def _of_class(kind: str, what: Any) -> frozenset[str]:
    if kind == "NEGATE":
        return frozenset()
    if kind == "LITERAL":
        return frozenset({_known(what)})
    if kind == "RANGE":
        within = frozenset(map(chr, range(what[0], min(what[1], 127) + 1)))
        return within | {_known(what[1])}
    if kind == "CATEGORY":
        escape = _CATEGORIES[str(what).rpartition("_")[2]]
        members = frozenset(c for c in _ASCII if re.match(escape, c, re.ASCII))
        return _ALL - members if "_NOT_" in str(what) else members
    raise ValueError(f"what `re` calls {kind} is not for patterns here")
