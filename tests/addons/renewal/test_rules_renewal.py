"""Renewal of rules, without a running bridge: which rules are compiled, when, and where."""

from __future__ import annotations

import asyncio
import dataclasses
import gc
import os
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from ibcm_bridge.addons.engines.content_engines import EngineSetup, engine_setup
from ibcm_bridge.addons.renewal import rules_renewal
from ibcm_bridge.addons.renewal.rules_renewal import RulesRenewal
from ibcm_bridge.inspection.engines import CompiledRules, CompiledSet, RuleError, YaraEngine
from tests.addons.stand_ins.lab import Lab

RULE = 'rule needle { strings: $a = "needle" condition: $a }'


class Watched:
    """A watched folder with one rule file, and the rules compiled from it."""

    def __init__(self, lab: Lab, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.file = folder / "one.yar"
        self.file.write_text(RULE)
        self._times = iter(range(1, 100))
        self.renewed: list[CompiledRules] = []
        self.compiled = 0
        policy = dataclasses.replace(lab.policy, rule_files=(folder,))
        monkeypatch.setattr(rules_renewal, "compiled_elsewhere", self._compile)
        setup = engine_setup(policy)
        compiled = CompiledRules(setup.malware_rules)
        self._in_use = compiled.sets
        self._renewal = RulesRenewal(policy, setup, compiled, self._renew, 1.0)

    def _compile(
        self, sources: tuple[tuple[str, str], ...], known: tuple[CompiledSet, ...]
    ) -> CompiledRules:
        self.compiled += 1
        assert known is self._in_use
        return CompiledRules(sources)

    def _renew(self, setup: EngineSetup, compiled: CompiledRules) -> None:
        self.renewed.append(compiled)
        self._in_use = compiled.sets

    def write(self, text: str) -> None:
        self.file.write_text(text)
        second = next(self._times)
        os.utime(self.file, (second, second))

    def check(self) -> None:
        asyncio.run(self._renewal.check())

    def problems(self) -> list[str]:
        return list(self._renewal.problems())


@pytest.fixture
def watched(lab: Lab, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Watched:
    return Watched(lab, tmp_path, monkeypatch)


@pytest.fixture
def unraisable(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[str]]:
    """Exceptions that Python cannot raise. There must be none at the end of the test."""
    found: list[str] = []
    monkeypatch.setattr(sys, "unraisablehook", lambda about: found.append(str(about.exc_value)))
    yield found
    gc.collect()
    assert not found


def test_unchanged_rules_are_not_compiled_again(watched: Watched) -> None:
    watched.check()
    watched.write(RULE)
    watched.check()
    assert not watched.compiled


def test_rules_that_changed_are_compiled_once(watched: Watched) -> None:
    watched.write(RULE.replace("needle", "thread"))
    for _ in range(3):
        watched.check()
    assert watched.compiled == len(watched.renewed) == 1
    assert YaraEngine(watched.renewed[0]).scan(b"thread") == "thread"


def test_rules_that_do_not_compile_are_compiled_once_and_logged_once(
    watched: Watched, caplog: pytest.LogCaptureFixture, unraisable: list[str]
) -> None:
    for tries in (1, 2):
        watched.write("rule")
        for _ in range(3):
            watched.check()
        assert watched.compiled == tries
        assert caplog.text.count("the previous rules stay in use") == tries
        (problem,) = watched.problems()
        assert problem.startswith(f"rules: RuleError: {watched.file}: ")
        assert problem.endswith("; the previous rules stay in use")
        assert "\n" not in problem
    assert not watched.renewed
    watched.write(RULE.replace("needle", "thread"))
    watched.check()
    assert len(watched.renewed) == 1
    assert watched.problems() == []


def test_the_problem_ends_if_the_previous_rules_return(watched: Watched) -> None:
    for text, count in (("rule", 1), (RULE, 0)):
        watched.write(text)
        watched.check()
        assert len(watched.problems()) == count
    assert not watched.renewed


def test_removed_rules_keep_the_previous_ones(
    watched: Watched, caplog: pytest.LogCaptureFixture
) -> None:
    watched.check()
    watched.file.unlink()
    watched.file.parent.rmdir()
    for _ in range(3):
        watched.check()
    assert not watched.renewed
    assert caplog.text.count("the previous rules stay in use") == 1


def test_a_compiler_ends_in_the_thread_that_made_it(unraisable: list[str]) -> None:
    # YARA-X cannot free a compiler in another thread: it would stay in memory with a warning.
    async def elsewhere() -> None:
        with pytest.raises(RuleError, match=r"^b: "):
            await asyncio.to_thread(CompiledRules, [("a", RULE), ("b", "rule")])

    for _ in range(5):
        asyncio.run(elsewhere())
        gc.collect()
    assert not unraisable


@pytest.mark.parametrize("path", ["more.yar", "{0}/more.yar"])
def test_rules_cannot_include_other_files(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, path: str
) -> None:
    # An included file could change without changing the digest of the rules.
    (tmp_path / "more.yar").write_text(RULE)
    monkeypatch.chdir(tmp_path)
    with pytest.raises(RuleError, match="include"):
        CompiledRules([("a", f'include "{path.format(tmp_path.as_posix())}"')])
