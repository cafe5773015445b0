"""Content engines: scanners that search a view of a body for malware."""

from __future__ import annotations

import hashlib
import io
from collections.abc import Callable, Iterable, Sequence
from typing import NamedTuple, Protocol

import yara_x

RuleSource = tuple[str, str]
"""The origin of rules, and their text. The origin is a shipped file's name, or an absolute path."""

OPENED = "opened"
"""A variable for YARA rules: true for an archive whose members are scanned separately."""

SCAN_SECONDS = 2
"""The timeout for a small view. YARA-X measures whole seconds of elapsed time."""

BYTES_PER_SECOND = 16_777_216
"""One more second for each so many bytes of a view. The shipped rules need 0.02 s for text, and at
most 0.2 s; the rest is for a busy machine, and for the rules of a policy."""

SHIPPED = frozenset(("default.yar", "executables.yar"))
"""The shipped files whose rules are searched in each view. They stay active beside any others."""

REPETITIVE = "repetitive.yar"
"""The shipped file whose rules are searched only in a view that has one of `BEGINNINGS`."""

BEGINNINGS = (b"<script", b"<%@", b"<?php")
"""The beginnings of the patterns in that file, in lower case."""

MAX_BEGINNINGS = 4_096
"""All beginnings in a view. At each, YARA-X compares up to 200 characters, in 10 us. Logs, events
and inventories have a few, or they match a rule."""

TOO_MANY = "too_many_beginnings"
"""The finding in a view with more."""

_HAS_BEGINNING = "has_beginning"


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


type Scanned = Callable[[str, float], None]
"""Called after each scan of a view, with the name of the engine and the seconds."""


class RuleError(ValueError):
    """YARA rules do not compile."""


class CompiledSet(NamedTuple):
    """Rules that are loaded and scanned together."""

    digest: str
    """Of their sources."""
    rules: yara_x.Rules


class CompiledRules:
    """Compiled YARA rules, which all threads may share."""

    def __init__(
        self, sources: Iterable[RuleSource], sets: Sequence[CompiledSet] | None = None
    ) -> None:
        """Compile the sources, or take the `sets` that they were compiled to. Raise RuleError.

        The error has the origin.
        """
        known = list(sources)
        self.sets = tuple(_compiled_sets(known) if sets is None else sets)
        self.shipped, own, repetitive = (each.rules for each in self.sets)
        self.own, self.repetitive = _unless_empty(own), _unless_empty(repetitive)
        self.digest = _digest(known)


def _unless_empty(rules: yara_x.Rules) -> yara_x.Rules | None:
    """The rules, or None: an empty set need not be scanned."""
    return rules if any(True for _ in rules) else None


def _digest(sources: Iterable[RuleSource]) -> str:
    texts = (hashlib.sha256(text.encode()).digest() for _, text in sources)
    return hashlib.sha256(b"".join(texts)).hexdigest()


def _compiled_sets(sources: Sequence[RuleSource]) -> list[CompiledSet]:
    """The shipped rules, the own ones, and the repetitive ones. Raise RuleError.

    Own rules are a set of their own, so that a global one among them concerns no shipped rule.
    """
    first = [source for source in sources if source[0] in SHIPPED]
    own = [source for source in sources if source[0] not in (*SHIPPED, REPETITIVE)]
    repetitive = [source for source in sources if source[0] == REPETITIVE]
    divided = ([(_HAS_BEGINNING, _beginning_rule()), *first], own, repetitive)
    sets = [CompiledSet(_digest(each), _compiled(each)) for each in divided]
    shipped, named, _ = ({rule.identifier for rule in each.rules} for each in sets)
    if twice := min(shipped & named, default=None):
        raise RuleError(f"a shipped rule has the same name: {twice}")
    return sets


def saved(rules: yara_x.Rules) -> bytes:
    """Return compiled rules as bytes, for another process with the same version of YARA-X."""
    file = io.BytesIO()
    rules.serialize_into(file)
    return file.getvalue()


def loaded(data: bytes) -> yara_x.Rules:
    """Load compiled rules from a process that is trusted like this one. Raise RuleError."""
    try:
        return yara_x.Rules.deserialize_from(io.BytesIO(data))
    except Exception as error:
        raise RuleError("the compiled rules cannot be loaded") from error


def _beginning_rule() -> str:
    """A rule that matches a view with a beginning. YARA-X finds them faster than Python."""
    strings = " ".join(
        f'$begin_{number} = "{text.decode()}" nocase' for number, text in enumerate(BEGINNINGS)
    )
    return f"rule {_HAS_BEGINNING} {{ strings: {strings} condition: any of them }}"


def _compiled(sources: Iterable[RuleSource]) -> yara_x.Rules:
    compiled = _compile(sources)
    if isinstance(compiled, str):
        raise RuleError(compiled)
    return compiled


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
        self._shipped = _Scanner(compiled.shipped)
        self._own = _Scanner(compiled.own) if compiled.own is not None else None
        self._repetitive = (
            _Scanner(compiled.repetitive) if compiled.repetitive is not None else None
        )

    def scan(self, data: bytes, *, opened: bool = False) -> str | None:
        """Return the identifier of the first matching rule, or None. Raises EngineError."""
        found = self._shipped.scan(data, opened=opened)
        has_beginning = found[:1] == [_HAS_BEGINNING]
        if found[has_beginning:]:
            return found[has_beginning]
        if self._own is not None and (found := self._own.scan(data, opened=opened)):
            return found[0]
        if not has_beginning or self._repetitive is None:
            return None
        lower = data.lower()
        if sum(map(lower.count, BEGINNINGS)) > MAX_BEGINNINGS:
            return TOO_MANY
        return next(iter(self._repetitive.scan(data, opened=opened)), None)


class _Scanner:
    """A YARA-X scanner and its settings."""

    def __init__(self, rules: yara_x.Rules) -> None:
        self._scanner = yara_x.Scanner(rules)
        # Only the first match of a pattern is needed, and 300 ns are saved for each other one.
        self._scanner.fast_scan(True)
        self._opened = False
        self._seconds = 0

    def scan(self, data: bytes, *, opened: bool) -> list[str]:
        """Return the identifiers of the matching rules, in their order. Raises EngineError."""
        seconds = SCAN_SECONDS + len(data) // BYTES_PER_SECOND
        try:
            if seconds != self._seconds:
                self._scanner.set_timeout(seconds)
                self._seconds = seconds
            if opened != self._opened:
                self._scanner.set_global(OPENED, opened)
                self._opened = opened
            matching = self._scanner.scan(data).matching_rules
        except (yara_x.ScanError, yara_x.TimeoutError) as error:
            raise EngineError(type(error).__name__) from error
        return [rule.identifier for rule in matching]
