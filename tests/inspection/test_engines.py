"""The YARA-X engine and the default rules."""

from __future__ import annotations

from importlib.resources import files

import pytest
import yara_x

from ibcm_bridge.inspection.engines import ContentEngine, EngineError, RuleError, YaraEngine

HEAD, TAIL = "X5O!P%@AP[4\\PZX54(P^)7CC)7}$", "EICAR-STANDARD-" + "ANTIVIRUS-TEST-FILE!$H+H*"
DEFAULT = files("ibcm_bridge.config.rules").joinpath("default.yar").read_text("utf-8")

WORD = 'rule word { strings: $a = "needle" condition: $a }'
SIZE = "rule size { condition: filesize > 10 }"


@pytest.fixture(scope="module")
def default() -> ContentEngine:
    return YaraEngine([("default.yar", DEFAULT)])


@pytest.mark.parametrize("around", [("", ""), ("text before ", " and after"), ("\0" * 999, "\xff")])
def test_the_test_file_is_found_at_any_position(
    default: ContentEngine, around: tuple[str, str]
) -> None:
    text = around[0] + HEAD + TAIL + around[1]
    assert default.scan(text.encode("latin-1")) == "eicar_test_file"


def test_the_test_file_is_found_after_a_partial_match(
    default: ContentEngine,
) -> None:
    assert default.scan((HEAD + "x" + HEAD + TAIL).encode()) == "eicar_test_file"


@pytest.mark.parametrize(
    "text", ["", "text", HEAD, TAIL, HEAD + "x" + TAIL, TAIL + HEAD, HEAD + TAIL[:-1]]
)
def test_anything_else_is_clean(default: ContentEngine, text: str) -> None:
    assert default.scan(text.encode()) is None


def test_an_engine_has_a_name_for_rules_and_audit(default: ContentEngine) -> None:
    assert default.name == "yara-x"


def test_the_rules_of_several_files_are_combined() -> None:
    engine = YaraEngine([("a.yar", WORD), ("b.yar", SIZE)])
    assert engine.scan(b"a needle") == "word"
    assert engine.scan(b"x" * 11) == "size"
    assert engine.scan(b"x") is None


def test_scans_are_independent() -> None:
    engine = YaraEngine([("a.yar", WORD)])
    assert [engine.scan(data) for data in (b"needle", b"hay", b"needle")] == ["word", None, "word"]


@pytest.mark.parametrize(
    "source",
    ["rule", "rule x { condition: nothing }", "not yara", 'rule x { strings: $a = "unused"'],
)
def test_the_error_of_invalid_rules_has_their_file(source: str) -> None:
    with pytest.raises(RuleError, match=r"^broken\.yar: "):
        YaraEngine([("a.yar", WORD), ("broken.yar", source)])


def test_a_duplicate_rule_is_an_error() -> None:
    with pytest.raises(RuleError, match=r"^b\.yar: "):
        YaraEngine([("a.yar", WORD), ("b.yar", WORD)])


def test_a_timeout_is_an_engine_error(monkeypatch: pytest.MonkeyPatch) -> None:
    class Scanner:
        def scan(self, _data: bytes) -> None:
            raise yara_x.TimeoutError

    engine = YaraEngine([("a.yar", WORD)])
    monkeypatch.setattr(engine, "_scanner", Scanner())
    with pytest.raises(EngineError, match="TimeoutError"):
        engine.scan(b"x")
