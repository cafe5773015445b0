"""Content engines: scanners that search a view of a body for malware."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence
from typing import Protocol

import yara_x

OPENED = "opened"
"""A variable for YARA rules: true for an archive whose members are scanned separately."""

SCAN_SECONDS = 10
"""The timeout for a view. Rules that need longer for a message of a few MB are defective."""


class EngineError(Exception):
    """An engine failed, so the body is refused unless the engine is optional."""


class ContentEngine(Protocol):
    """An engine that scans bytes for malicious content."""

    @property
    def name(self) -> str:
        """The engine's name, for rules and the audit."""

    @property
    def identity(self) -> str:
        """The name and a version of the signatures, which distinguish it from other engines."""

    @property
    def in_place(self) -> bool:
        """True if a scan does not wait for another process, so that the bridge itself may do it."""

    def scan(self, data: bytes, *, opened: bool = False) -> str | None:
        """Return the name of a match, or None. Raises EngineError.

        `opened`: the data is an archive whose members are scanned separately.
        """


class RuleError(ValueError):
    """YARA rules do not compile."""


RuleSource = tuple[str, str]
"""The origin of rules, and their text."""


class CompiledRules:
    """Compiled YARA rules, which all threads may share."""

    def __init__(self, sources: Iterable[RuleSource]) -> None:
        """Compile the sources. Raises RuleError, with the origin."""
        known = list(sources)
        compiled = _compile(known)
        if isinstance(compiled, str):
            raise RuleError(compiled)
        self.rules = compiled
        texts = (hashlib.sha256(text.encode()).digest() for _, text in known)
        self.digest = hashlib.sha256(b"".join(texts)).hexdigest()


def _compile(sources: Iterable[RuleSource]) -> yara_x.Rules | str:
    """Compile rules. Return them, or the problem as a text.

    An exception would keep a reference to the compiler, which must be destroyed on the thread that
    created it.
    """
    # The digest would not cover included files.
    compiler = yara_x.Compiler(includes_enabled=False)
    compiler.define_global(OPENED, False)
    for origin, source in sources:
        try:
            compiler.add_source(source, origin=origin)
        except yara_x.CompileError as error:
            return f"{origin}: {error}"
    return compiler.build()


class YaraEngine:
    """YARA-X, in this process.

    A scanner panics on another thread than the one that created it (measured). A panic is a
    BaseException, which the guard around every hook handles: it refuses and closes.
    """

    name = "yara-x"
    in_place = True

    def __init__(self, malware_rules: CompiledRules | Sequence[RuleSource]) -> None:
        """Create a scanner, and compile the rules if necessary. Raises RuleError."""
        compiled = malware_rules
        if not isinstance(compiled, CompiledRules):
            compiled = CompiledRules(compiled)
        self.identity = f"{self.name}:{compiled.digest[:16]}"
        self._scanner = yara_x.Scanner(compiled.rules)
        self._scanner.set_timeout(SCAN_SECONDS)
        self._opened = False

    def scan(self, data: bytes, *, opened: bool = False) -> str | None:
        """Return the identifier of the first matching rule, or None. Raises EngineError."""
        try:
            if opened != self._opened:
                self._scanner.set_global(OPENED, opened)
                self._opened = opened
            matching = self._scanner.scan(data).matching_rules
        except (yara_x.ScanError, yara_x.TimeoutError) as error:
            raise EngineError(type(error).__name__) from error
        return matching[0].identifier if matching else None
