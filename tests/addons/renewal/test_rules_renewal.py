"""Rules that change while the bridge runs, without one: what is compiled, when, and where."""

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
from ibcm_bridge.inspection.engines import CompiledRules, RuleError, YaraEngine
from tests.addons.conftest import Lab

RULE = 'rule needle { strings: $a = "needle" condition: $a }'


class Watched:
    """A folder of rules, and what became of it."""

    def __init__(self, lab: Lab, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.file = folder / "one.yar"
        self.file.write_text(RULE)
        self._times = iter(range(1, 100))
        self.renewed: list[CompiledRules] = []
        self.compiled = 0
        policy = dataclasses.replace(lab.policy, rule_files=(folder,))
        monkeypatch.setattr(rules_renewal, "CompiledRules", self._compile)
        self._renewal = RulesRenewal(policy, engine_setup(policy), self._renew, 1.0)

    def _compile(self, sources: tuple[tuple[str, str], ...]) -> CompiledRules:
        self.compiled += 1
        return CompiledRules(sources)

    def _renew(self, setup: EngineSetup, compiled: CompiledRules) -> None:
        self.renewed.append(compiled)

    def write(self, text: str) -> None:
        self.file.write_text(text)
        second = next(self._times)
        os.utime(self.file, (second, second))

    def look(self) -> None:
        asyncio.run(self._renewal.look())


@pytest.fixture
def watched(lab: Lab, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Watched:
    return Watched(lab, tmp_path, monkeypatch)


@pytest.fixture
def unraisable(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[str]]:
    """What Python could only complain about; nothing, when the test is over."""
    said: list[str] = []
    monkeypatch.setattr(sys, "unraisablehook", lambda about: said.append(str(about.exc_value)))
    yield said
    gc.collect()
    assert not said


def test_rules_that_are_as_they_were_are_not_compiled_again(watched: Watched) -> None:
    watched.look()
    watched.write(RULE)
    watched.look()
    assert not watched.compiled


def test_rules_that_changed_are_compiled_once(watched: Watched) -> None:
    watched.write(RULE.replace("needle", "thread"))
    for _ in range(3):
        watched.look()
    assert watched.compiled == len(watched.renewed) == 1
    assert YaraEngine(watched.renewed[0]).scan(b"thread") == "thread"


def test_rules_that_do_not_compile_are_tried_once_and_said_once(
    watched: Watched, caplog: pytest.LogCaptureFixture, unraisable: list[str]
) -> None:
    for tries in (1, 2):
        watched.write("rule")
        for _ in range(3):
            watched.look()
        assert watched.compiled == tries
        assert caplog.text.count("those before are kept") == tries
    assert not watched.renewed
    watched.write(RULE.replace("needle", "thread"))
    watched.look()
    assert len(watched.renewed) == 1


def test_rules_that_are_gone_leave_those_before(
    watched: Watched, caplog: pytest.LogCaptureFixture
) -> None:
    watched.look()
    watched.file.unlink()
    watched.file.parent.rmdir()
    for _ in range(3):
        watched.look()
    assert not watched.renewed
    assert caplog.text.count("those before are kept") == 1


def test_a_compiler_ends_in_the_thread_that_made_it(unraisable: list[str]) -> None:
    # YARA-X lets go of none elsewhere: each would stay in memory, and Python complain.
    async def elsewhere() -> None:
        with pytest.raises(RuleError, match=r"^b: "):
            await asyncio.to_thread(CompiledRules, [("a", RULE), ("b", "rule")])

    for _ in range(5):
        asyncio.run(elsewhere())
        gc.collect()
    assert not unraisable


@pytest.mark.parametrize("path", ["more.yar", "{0}/more.yar"])
def test_rules_bring_in_no_other_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, path: str
) -> None:
    # It could change with the digest staying as it is, so that a report by other rules would count.
    (tmp_path / "more.yar").write_text(RULE)
    monkeypatch.chdir(tmp_path)
    with pytest.raises(RuleError, match="include"):
        CompiledRules([("a", f'include "{path.format(tmp_path.as_posix())}"')])
