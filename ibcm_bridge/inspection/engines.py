"""Content engines: what looks for malware in a view of a body."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Protocol

import yara_x

SCAN_SECONDS = 10
"""For one view. Rules that take longer on a message of a few MB are a defect of the rules."""


class EngineError(Exception):
    """An engine gave no answer. What it was asked about is refused."""


class ContentEngine(Protocol):
    """Anything that can say whether bytes are malicious."""

    @property
    def name(self) -> str:
        """The engine's name, for rules and the audit."""

    def scan(self, data: bytes) -> str | None:
        """What was found, or None. Raises EngineError where there is no answer."""


class RuleError(ValueError):
    """YARA rules that do not compile."""


class YaraEngine:
    """YARA-X, embedded.

    A scanner panics when used off the thread that made it (measured), and a panic is a
    BaseException: it is left to the guard around every hook, which refuses and closes.
    """

    name = "yara-x"

    def __init__(self, sources: Iterable[tuple[str, str]]) -> None:
        """Compile rules from (origin, source text) pairs. RuleError names the origin."""
        compiler = yara_x.Compiler()
        for origin, source in sources:
            try:
                compiler.add_source(source, origin=origin)
            except yara_x.CompileError as error:
                raise RuleError(f"{origin}: {error}") from error
        self._scanner = yara_x.Scanner(compiler.build())
        self._scanner.set_timeout(SCAN_SECONDS)

    def scan(self, data: bytes) -> str | None:
        """The identifier of the first rule that matches, or None."""
        try:
            matching = self._scanner.scan(data).matching_rules
        except (yara_x.ScanError, yara_x.TimeoutError) as error:
            raise EngineError(type(error).__name__) from error
        return matching[0].identifier if matching else None
