"""Content engines: what looks for malware in a view of a body."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence
from typing import Protocol

import yara_x

OPENED = "opened"
"""A variable that rules may ask: whether this is an archive whose members are scanned, too."""

SCAN_SECONDS = 10
"""For one view. Rules that take longer on a message of a few MB are a defect of the rules."""


class EngineError(Exception):
    """An engine failed. What it was to scan is refused."""


class ContentEngine(Protocol):
    """Anything that can say whether bytes are malicious."""

    @property
    def name(self) -> str:
        """The engine's name, for rules and the audit."""

    @property
    def identity(self) -> str:
        """The name, and what tells this engine from one that would look for something else."""

    @property
    def in_place(self) -> bool:
        """Whether it returns at once, so that it may scan in the bridge's own process."""

    def scan(self, data: bytes, *, opened: bool = False) -> str | None:
        """What was found, or None. Raises EngineError where it fails.

        `opened`: it is an archive, and what is in it is shown by itself.
        """


class RuleError(ValueError):
    """YARA rules that do not compile."""


RuleSource = tuple[str, str]
"""Where rules are from, and their text."""


class CompiledRules:
    """Rules that any thread may compile, and any make a scanner of."""

    def __init__(self, sources: Iterable[RuleSource]) -> None:
        """RuleError names the origin."""
        known = list(sources)
        compiled = _compile(known)
        if isinstance(compiled, str):
            raise RuleError(compiled)
        self.rules = compiled
        texts = (hashlib.sha256(text.encode()).digest() for _, text in known)
        self.digest = hashlib.sha256(b"".join(texts)).hexdigest()


def _compile(sources: Iterable[RuleSource]) -> yara_x.Rules | str:
    """The rules, or what is wrong with them.

    In words and not as an exception: that would hold on to the compiler, which must end on the
    thread that made it.
    """
    # What another file brings in, the digest would not cover.
    compiler = yara_x.Compiler(includes_enabled=False)
    compiler.define_global(OPENED, False)
    for origin, source in sources:
        try:
            compiler.add_source(source, origin=origin)
        except yara_x.CompileError as error:
            return f"{origin}: {error}"
    return compiler.build()


class YaraEngine:
    """YARA-X, embedded.

    A scanner panics when used off the thread that made it (measured), and a panic is a
    BaseException: it is left to the guard around every hook, which refuses and closes.
    """

    name = "yara-x"
    in_place = True

    def __init__(self, rules: CompiledRules | Sequence[RuleSource]) -> None:
        """Of rules, compiled or to be compiled. RuleError names the origin."""
        compiled = rules if isinstance(rules, CompiledRules) else CompiledRules(rules)
        self.identity = f"{self.name}:{compiled.digest[:16]}"
        self._scanner = yara_x.Scanner(compiled.rules)
        self._scanner.set_timeout(SCAN_SECONDS)
        self._opened = False

    def scan(self, data: bytes, *, opened: bool = False) -> str | None:
        """The identifier of the first rule that matches, or None."""
        try:
            if opened != self._opened:
                self._scanner.set_global(OPENED, opened)
                self._opened = opened
            matching = self._scanner.scan(data).matching_rules
        except (yara_x.ScanError, yara_x.TimeoutError) as error:
            raise EngineError(type(error).__name__) from error
        return matching[0].identifier if matching else None
