"""Own rules are divided only where that changes nothing that they find."""

from __future__ import annotations

from importlib.resources import files

import pytest

from ibcm_bridge.inspection import engines
from ibcm_bridge.inspection.engines import (
    REPETITIVE,
    SHIPPED,
    CompiledRules,
    EngineError,
    RuleError,
    YaraEngine,
)
from ibcm_bridge.inspection.rule_parts import FEW, MAX_PARTS, PART, RuleSource, own_parts

SOURCES = [
    (file.name, file.read_text("utf-8"))
    for file in files("ibcm_bridge.config.rules").iterdir()
    if file.name.endswith(".yar")
]


def simple(first: int, number: int) -> str:
    return "".join(
        f'rule own_{each} {{ strings: $a = "needle {each}." condition: $a }}\n'
        for each in range(first, first + number)
    )


def names(sources: list[RuleSource]) -> list[list[str]]:
    return [list(part.names) for part in own_parts(sources)]


def test_the_names_of_the_shipped_files() -> None:
    assert {origin for origin, _ in SOURCES} == {*SHIPPED, REPETITIVE}


@pytest.mark.parametrize(
    ("number", "parts"),
    [
        (0, 0),
        (FEW, 0),
        (FEW + 1, 1),
        (PART + 1, 2),
        (PART * MAX_PARTS, MAX_PARTS),
        (PART * MAX_PARTS + 1, 0),
    ],
)
def test_few_rules_and_too_many_stay_together(number: int, parts: int) -> None:
    found = names([("own.yar", simple(0, number))])
    assert len(found) == parts
    if parts:
        assert [name for part in found for name in part] == [f"own_{n}" for n in range(number)]
        assert all(len(part) <= PART for part in found)


@pytest.mark.parametrize(
    ("rule", "sizes"),
    [
        ('strings: $a = "{0}" $b = "b{0}" condition: any of them', [30, 11]),
        ('strings: $a = "{0}" wide ascii condition: $a', [30, 11]),
        ('strings: $a = "{0}" base64 condition: $a', [20, 20, 1]),
        ("strings: $a = /{0}(a|b|c)/ condition: $a", [20, 20, 1]),
        ("strings: $a = {{ 41 (42|43) {0} }} condition: $a", [30, 11]),
        ("condition: for any i in (1..9) : (uint8(i) == {0})", [12, 12, 12, 5]),
        # These would be more than `MAX_PARTS`.
        ('strings: $a = "{0}" nocase condition: $a', []),
        ('strings: $a = "{0}" xor condition: $a', []),
    ],
)
def test_patterns_and_loops_fill_a_part_sooner(rule: str, sizes: list[int]) -> None:
    text = "".join(
        f"rule own_{each} {{ {rule.format(f'{each:08}')} }}\n" for each in range(FEW + 1)
    )
    assert [len(part) for part in names([("own.yar", text)])] == sizes
    assert len(CompiledRules([*SOURCES, ("own.yar", text)]).own) == len(sizes)


def test_a_rule_stays_with_those_that_it_names() -> None:
    base = "private rule base { condition: filesize > 5 }\n"
    user = 'rule user { strings: $a = "user" condition: base and $a }\n'
    # The name in a comment or in a text is not a reference.
    other = 'rule other { strings: $a = "base" condition: $a /* base */ }\n'
    first, second = simple(0, 50), simple(50, 50)
    near = [("a.yar", first), ("b.yar", base + user + second)]
    far = [("a.yar", base + first), ("b.yar", other + second + user)]
    none = [("a.yar", base + first), ("b.yar", other + second)]
    assert [len(part) for part in names(near)] == [60, 42]
    assert [len(part) for part in names(far)] == [103]
    assert [len(part) for part in names(none)] == [60, 42]
    for sources in (near, far):
        engine = YaraEngine(sources)
        assert engine.scan(b"a user") == "user"
        assert engine.scan(b"user") is None


@pytest.mark.parametrize("word", ["global rule all { condition: filesize > 5 }", 'include "x"'])
def test_rules_that_concern_all_others_keep_them_together(word: str) -> None:
    assert names([("a.yar", simple(0, 100))])
    assert not names([("a.yar", simple(0, 50) + word + simple(50, 50))])


TRICKY = r"""
import "pe" // rule in_a_comment {
import "math"
/* } rule in_another { */
rule first : tag other { meta: a = "} rule x {" b = "\"}" strings: $a = "first {" condition: $a }
private rule hidden { condition: filesize == 7 }
rule text { meta: a = "" b = "{" strings: $a = "}\"{" $b = "text" condition: $b or $a }
rule hexadecimal { strings: $a = { 68 (65|/* } */ 66) 78 [1-2] // }
    21 } condition: $a }
rule expression { strings: $a = /[{]\/exp"r(a|b)}/ condition: $a }
rule called { strings: $a = "called" condition: $a and "}{" matches /\}["\/{]/
    and math.abs(-1) == 1 }
rule program { condition: pe.number_of_sections == 77 }
rule kept_together { strings: $a = "together" condition: $a and (called or filesize > 3) }
// the end }
"""
SAMPLES = [
    *(b"first {", b"1234567", b'}"{', b"a text", b"hexxx!", b'{/exp"rb}', b"called", b"together"),
    *(f"a needle {each}.".encode() for each in (0, 59, 60, 119, 120, 121)),
    *(b"", b"nothing", b"MZ" + bytes(500), b"rule x { condition: true }"),
]


def test_divided_rules_find_the_same() -> None:
    own = [("a.yar", simple(0, 60)), ("b.yar", TRICKY), ("c.yar", "// none\n"), ("d.yar", "")]
    own.append(("e.yar", simple(60, 100)))
    together = CompiledRules([*SOURCES, (min(SHIPPED), "".join(source for _, source in own))])
    divided = CompiledRules([*SOURCES, *own])
    assert not together.own
    assert [len(list(rules)) for rules in divided.own] == [60, 59, 49]
    found = [YaraEngine(together).scan(sample) for sample in SAMPLES]
    assert [YaraEngine(divided).scan(sample) for sample in SAMPLES] == found
    assert len(set(found)) > 12, "the samples differ"


def test_a_module_is_imported_where_it_is_used() -> None:
    late = "rule late { condition: math.abs(filesize) == 3 }"
    divided = CompiledRules([("a.yar", 'import "math"' + simple(0, 70)), ("b.yar", late)])
    assert len(divided.own) == 2
    assert [list(rules.imports()) for rules in divided.own] == [["math"], ["math"]]
    assert YaraEngine(divided).scan(b"abc") == "late"


@pytest.mark.parametrize(
    "wrong",
    [
        "rule",
        "}",
        "rule x { condition: nothing }",
        "rule own_3 { condition: true }",
        "rule eicar_test_file { condition: true }",
        'rule x { strings: $a = "unclosed condition: $a }',
        "rule x { condition: math.abs(1) == 1 }",
        "condition: true }",
    ],
)
@pytest.mark.parametrize("number", [5, 100])
def test_a_problem_is_that_of_all_rules_together(wrong: str, number: int) -> None:
    text = simple(0, number) + wrong + "\n" + simple(number, number)
    with pytest.raises(RuleError, match=r"^own\.yar: error"):
        CompiledRules([*SOURCES, ("own.yar", text)])
    with pytest.raises(RuleError, match=r"^own\.yar: error"):
        CompiledRules([*SOURCES, ("own.yar", simple(0, number) + wrong)])


def test_the_problem_has_the_line_in_the_file() -> None:
    text = simple(0, 100) + "rule x { condition: nothing }\n"
    with pytest.raises(RuleError, match=r"own\.yar:101:21"):
        CompiledRules([*SOURCES, ("own.yar", text)])


def test_own_rules_may_name_shipped_rules() -> None:
    text = simple(0, 100) + "rule also { condition: pe_image and filesize > 1 }"
    compiled = CompiledRules([*SOURCES, ("own.yar", text)])
    assert not compiled.own
    assert YaraEngine(compiled).scan(b"a needle 99.") == "own_99"


def test_all_parts_have_one_timeout(monkeypatch: pytest.MonkeyPatch) -> None:
    engine = YaraEngine([("own.yar", simple(0, 100))])
    assert engine.scan(b"a needle 99.") == "own_99"
    times = iter((0.0, 1.0, 2.5))
    monkeypatch.setattr(engines.time, "monotonic", lambda: next(times))
    with pytest.raises(EngineError, match="TimeoutError"):
        engine.scan(b"a needle 99.")
