"""Rules that another process has compiled find the same, and the bridge compiles none itself."""

from __future__ import annotations

import base64
import dataclasses
import sys
from pathlib import Path

import pytest
import yara_x

from ibcm_bridge.addons.engines import rule_compiler
from ibcm_bridge.addons.engines.content_engines import engine_setup
from ibcm_bridge.addons.engines.rule_compiler import compiled_elsewhere
from ibcm_bridge.inspection.engines import (
    BEGINNINGS,
    MAX_BEGINNINGS,
    REPETITIVE,
    SHIPPED,
    CompiledRules,
    RuleError,
    YaraEngine,
    loaded,
    saved,
)
from tests.addons.stand_ins.lab import Lab, changed
from tests.addons.stand_ins.running import Running

RULE = 'rule needle { strings: $a = "needle" condition: $a }'
EICAR = "".join(("X5O!P%@AP[4\\PZX54(P^)7CC)7}$", "EICAR-STANDARD-", "ANTIVIRUS-TEST-FILE!$H+H*"))
ZIP = b"PK\x03\x04" + bytes(100)
PE = b"MZ" + bytes(58) + (64).to_bytes(4, "little") + b"PE\0\0" + bytes(100)
SAMPLES = (
    b"",
    b"nothing",
    EICAR.encode(),
    PE,
    base64.b64encode(PE),
    ZIP,
    b"a <script>alert(1)</script>",
    b"<?php system($_GET[0]); ?>",
    b"#!/bin/sh\necho",
    b"a needle",
    BEGINNINGS[0] * (MAX_BEGINNINGS + 1),
)


def test_they_find_what_rules_find_that_this_process_has_compiled(lab: Lab) -> None:
    sources = (*engine_setup(lab.policy).malware_rules, ("own.yar", RULE))
    other, own = compiled_elsewhere(sources), CompiledRules(sources)
    assert other.digest == own.digest
    elsewhere, here = YaraEngine(other), YaraEngine(own)
    assert elsewhere.identity == here.identity
    for opened in (False, True):
        found = [here.scan(data, opened=opened) for data in SAMPLES]
        assert [elsewhere.scan(data, opened=opened) for data in SAMPLES] == found
        assert len(set(found)) > 5, "the samples differ"


def test_only_sets_that_have_changed_are_loaded(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    def load(data: bytes) -> yara_x.Rules:
        loads.append(data)
        return loaded(data)

    loads: list[bytes] = []
    monkeypatch.setattr(rule_compiler, "loaded", load)
    shipped = engine_setup(lab.policy).malware_rules
    first = CompiledRules((*shipped, ("own.yar", RULE)))
    assert compiled_elsewhere((*shipped, ("own.yar", RULE)), first.sets).sets == first.sets
    assert not loads
    changed_rule = RULE.replace("needle", "thread")
    second = compiled_elsewhere((*shipped, ("own.yar", changed_rule)), first.sets)
    assert len(loads) == 1
    assert [*map(second.sets.__contains__, first.sets)] == [True, False, True]
    engine = YaraEngine(second)
    found = [engine.scan(data) for data in (b"a thread", b"a needle", PE)]
    assert found == ["thread", None, "pe_image"]


def test_the_problem_of_a_rule_is_that_of_the_compiler() -> None:
    for sources in ((("a.yar", RULE), ("b.yar", "rule")), (("c.yar", 'include "a.yar"'),)):
        with pytest.raises(RuleError) as here:
            CompiledRules(sources)
        with pytest.raises(RuleError) as elsewhere:
            compiled_elsewhere(sources)
        assert str(elsewhere.value) == str(here.value)


@pytest.mark.parametrize(
    ("code", "problem"),
    [
        ("import os; os.abort()", "ended with status"),
        ("pass", "ended with status 0"),
        ('print(\'{"sets": [["a", 5]]}\')', "before it had written everything"),
        ("print('{\"sets\": [[\"a\", 3]]}\\nabc', end='')", "cannot be loaded"),
        ("import time; time.sleep(1000)", "not compiled within 1 s"),
    ],
)
def test_a_process_that_fails_is_a_problem_of_the_rules(
    code: str, problem: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    if "sleep" in code:
        monkeypatch.setattr(rule_compiler, "SECONDS", 1.0)
    with pytest.raises(RuleError, match=problem):
        compiled_elsewhere([("a.yar", RULE)], (), (sys.executable, "-c", code))


def test_rules_that_were_not_saved_are_not_loaded() -> None:
    whole = saved(CompiledRules([("a.yar", RULE)]).sets[1].rules)
    for data in (whole[:-10], b"other" + whole, bytes(len(whole))):
        with pytest.raises(RuleError, match="cannot be loaded"):
            loaded(data)


def test_a_bridge_that_serves_compiles_nothing_itself(
    lab: Lab, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A thread would not help: YARA-X holds the interpreter lock."""
    policy = changed(lab.policy, tmp_path / "audit.jsonl")
    rules = tmp_path / "own.yar"
    with Running(lab, policy) as running:
        monkeypatch.delattr(yara_x, "Compiler")
        rules.write_text("rule", "utf-8")
        with_rules = dataclasses.replace(policy, rule_files=(rules,))
        (problem,) = running.reload(lambda: with_rules)
        assert problem.startswith(f"{rules}: error[")
        rules.write_text(RULE, "utf-8")
        assert not running.reload(lambda: with_rules)
        generation = running.bridge.generation
        assert (str(rules), RULE) in generation.rules.setup.malware_rules
        assert YaraEngine(generation.rules.compiled).scan(b"a needle") == "needle"
        running.assert_serves()


@pytest.mark.parametrize("name", [*SHIPPED, REPETITIVE])
def test_an_own_file_with_the_name_of_a_shipped_one_is_searched_in_each_view(
    lab: Lab, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    (tmp_path / name).write_text(RULE)
    monkeypatch.chdir(tmp_path)
    # As from `--config bridge.yaml`.
    policy = dataclasses.replace(lab.policy, rule_files=(Path(name),))
    assert YaraEngine(engine_setup(policy).malware_rules).scan(b"a needle") == "needle"
