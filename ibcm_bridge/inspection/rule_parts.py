"""Divides own YARA rules into parts that are compiled, loaded and scanned separately.

YARA-X holds the interpreter lock while it loads compiled rules. It translates each condition into
machine code, which takes 0.1 ms for a simple one. A bridge that serves clients stops meanwhile. So
it loads parts one by one.

A scan reads a view once for each part. YARA-X searches for few texts at once with vector
instructions, which is faster than its search for many. So some small parts cost a scan hardly more
than one set of all rules, but many parts cost more. Too many rules are therefore not divided.

Only the text is read here. The engine that compiles the parts compares the names of the rules.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from itertools import groupby
from typing import NamedTuple

RuleSource = tuple[str, str]
"""The origin of rules, and their text."""

PART = 60
"""The simple rules of a part, and the texts that YARA-X searches for. From the 65th text on, a
search takes four times as long (measured). The texts of a pattern are an estimate."""

MAX_PARTS = 4
"""The most parts. A scan with four takes 1 % of a message more than with one set of all rules."""

FEW = 40
"""The simple rules up to which all stay with the shipped ones: together, they load in 8 ms."""

_MODIFIERS: Mapping[str, int] = {
    "nocase": 16,
    "wide": 2,
    "base64": 3,
    "base64wide": 3,
    "xor": 256,
}
"""For each text that a pattern has, the texts that YARA-X searches for with a modifier, at most."""

_LOOP = 3
"""The simple rules that load as slowly as one loop in a condition: in 0.3 ms."""

_WORDS = 8
"""The words of a condition that load as slowly as a simple rule."""

_TOKEN = re.compile(
    r"(?P<comment>//[^\n]*|/\*.*?\*/)"
    r'|(?P<text>"(?:\\.|[^"\\\n])*")'
    r"|(?P<expression>/(?:\\.|[^/\\\n])+/)"
    r"|(?P<word>[$#@!]?\w+)"
    r"|(?P<sign>[{}=|])",
    re.DOTALL,
)
_SECTIONS = frozenset(("meta", "strings", "condition"))


class Part(NamedTuple):
    """Rules that are compiled together."""

    sources: tuple[RuleSource, ...]
    names: tuple[str, ...]
    """The names of the rules, in their order."""


class _Rule(NamedTuple):
    origin: str
    name: str
    text: str
    """With everything since the previous rule."""
    words: frozenset[str]
    """The words of the condition, such as the names of other rules and of modules."""
    modules: tuple[str, ...]
    """The modules that are imported so far."""
    code: int
    """The simple rules that load as slowly."""
    texts: int


def own_parts(sources: Sequence[RuleSource]) -> list[Part]:
    """Return the parts of own rules in their order, or none if they must stay together.

    Rules stay together if they are few, or too many, or if one is global, which concerns all. A
    rule that names another one stays with it.
    """
    rules: list[_Rule] = []
    imports: list[str] = []
    for origin, text in sources:
        read = _read(origin, text, imports)
        if read is None:
            return []
        rules.extend(read)
    if sum(rule.code for rule in rules) <= FEW:
        return []
    parts = list(_packed(_runs(rules)))
    return [_part(part) for part in parts] if len(parts) <= MAX_PARTS else []


def _part(rules: Sequence[_Rule]) -> Part:
    sources = (
        (origin, _text(list(those))) for origin, those in groupby(rules, lambda rule: rule.origin)
    )
    return Part(tuple(sources), tuple(rule.name for rule in rules))


def _text(rules: Sequence[_Rule]) -> str:
    """The text of rules, after imports of the modules that they use."""
    used = {module: None for rule in rules for module in rule.modules if module in rule.words}
    imports = (f'import "{module}" ' for module in used)
    return "".join((*imports, *(rule.text for rule in rules)))


def _runs(rules: Sequence[_Rule]) -> list[list[_Rule]]:
    """The rules in their order. One that names an earlier one is in a run with it."""
    runs: list[list[_Rule]] = []
    first: dict[str, int] = {}
    starts: list[int] = []
    for number, rule in enumerate(rules):
        begin = min((first[word] for word in rule.words if word in first), default=number)
        run = [rule]
        while starts and starts[-1] + len(runs[-1]) > begin:
            starts.pop()
            run = runs.pop() + run
        starts.append(number + 1 - len(run))
        runs.append(run)
        first.setdefault(rule.name, number)
    return runs


def _packed(runs: Sequence[Sequence[_Rule]]) -> Iterator[list[_Rule]]:
    """Runs, joined up to the size of a part."""
    part: list[_Rule] = []
    for run in runs:
        if part and max(_size([*part, *run])) > PART:
            yield part
            part = []
        part.extend(run)
    if part:
        yield part


def _size(rules: Sequence[_Rule]) -> tuple[int, int]:
    return sum(rule.code for rule in rules), sum(rule.texts for rule in rules)


def _read(origin: str, text: str, imports: list[str]) -> list[_Rule] | None:
    """The rules of a text, or None if a division could change what they find."""
    reader = _Reader(imports)
    rules: list[_Rule] = []
    begin = 0
    for token in _TOKEN.finditer(text):
        if token["comment"]:
            continue
        if not reader.take(token):
            return None
        if reader.complete:
            rules.append(reader.rule(origin, text[begin : token.end()]))
            begin, reader = token.end(), _Reader(imports)
    rest = text[begin:]
    if _TOKEN.sub(lambda token: "" if token["comment"] else token[0], rest).strip():
        # Whatever follows the last rule is compiled with it.
        if not rules:
            return None
        rules[-1] = rules[-1]._replace(text=rules[-1].text + rest)
    return rules


class _Reader:
    """Reads the tokens of a rule, and those before it."""

    def __init__(self, imports: list[str]) -> None:
        self.complete = False
        self._imports = imports
        self._name = ""
        self._words: set[str] = set()
        self._depth = 0
        self._section = ""
        self._previous = ""
        self._pattern = 0
        self._patterns = 0
        self._code = 0

    def take(self, token: re.Match[str]) -> bool:
        """Take the next token. False if the rules must stay together."""
        value = token[0]
        if token["word"]:
            if not self._depth and value in ("global", "include"):
                return False
            self._take_word(value)
        elif value == "{":
            self._depth += 1
        elif value == "}":
            self._depth -= 1
            self.complete = not self._depth
            if self._depth < 0:
                return False
        elif self._section == "strings" and value == "=":
            self._patterns += self._pattern
            self._pattern = 1
        elif self._section == "strings" and (token["expression"] or value == "|"):
            self._pattern += value.count("|")
        elif token["text"] and not self._depth and self._previous == "import":
            self._imports.append(value.strip('"'))
        self._previous = value
        return not self.complete or bool(self._name)

    def _take_word(self, word: str) -> None:
        if not self._depth:
            if self._previous == "rule":
                self._name = word
            return
        if self._depth == 1 and word in _SECTIONS:
            self._section = word
        elif self._section == "strings" and self._depth == 1:
            self._pattern *= _MODIFIERS.get(word, 1)
        elif self._section == "condition":
            self._words.add(word)
            self._code += _LOOP * _WORDS if word == "for" else 1

    def rule(self, origin: str, text: str) -> _Rule:
        """Return the rule that is complete."""
        words, modules = frozenset(self._words), tuple(self._imports)
        code, texts = 1 + self._code // _WORDS, self._patterns + self._pattern
        return _Rule(origin, self._name, text, words, modules, code, texts)
