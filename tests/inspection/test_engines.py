"""The YARA-X engine and the default rules."""

from __future__ import annotations

from importlib.resources import files

import pytest
import yara_x

from ibcm_bridge.inspection.engines import (
    BYTES_PER_SECOND,
    MAX_BEGINNINGS,
    REPETITIVE,
    TOO_MANY,
    ContentEngine,
    EngineError,
    RuleError,
    YaraEngine,
)

HEAD, TAIL = "X5O!P%@AP[4\\PZX54(P^)7CC)7}$", "EICAR-STANDARD-" + "ANTIVIRUS-TEST-FILE!$H+H*"
DEFAULT = files("ibcm_bridge.config.rules").joinpath("default.yar").read_text("utf-8")

WORD = 'rule word { strings: $a = "needle" condition: $a }'
SIZE = "rule size { condition: filesize > 10 }"
REPETITIVE_RULE = "rule tag { strings: $a = /<script\\s[^<>]{0,9}src=/ nocase condition: $a }"


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


def test_the_name_of_a_shipped_rule_is_an_error() -> None:
    with pytest.raises(RuleError, match=r"a shipped rule has the same name: word$"):
        YaraEngine([("default.yar", WORD), ("b.yar", WORD)])


def test_a_global_rule_concerns_the_own_rules_only() -> None:
    never = "global rule never { condition: false }"
    shipped = [("default.yar", WORD), (REPETITIVE, REPETITIVE_RULE)]
    engine = YaraEngine([*shipped, ("a.yar", never), ("b.yar", SIZE)])
    assert engine.scan(b"a needle") == "word"
    assert engine.scan(b"<script x src=") == "tag"
    assert engine.scan(b"x" * 11) is None


def test_an_own_rule_is_found_after_the_shipped_ones() -> None:
    engine = YaraEngine([("default.yar", WORD), (REPETITIVE, REPETITIVE_RULE), ("b.yar", SIZE)])
    assert engine.scan(b"much hay, a needle") == "word"
    assert engine.scan(b"<script x src=") == "size"


def test_a_timeout_is_an_engine_error(monkeypatch: pytest.MonkeyPatch) -> None:
    class Scanner:
        def set_timeout(self, seconds: int) -> None:
            limits.append(seconds)

        def scan(self, _data: bytes) -> None:
            raise yara_x.TimeoutError

    limits: list[int] = []
    engine = YaraEngine([("a.yar", WORD)])
    monkeypatch.setattr(engine._shipped, "_scanner", Scanner())
    for size in (1, 2, BYTES_PER_SECOND, 4 * BYTES_PER_SECOND, 1):
        with pytest.raises(EngineError, match="TimeoutError"):
            engine.scan(bytes(size))
    # The limit grows with the size, and is set only if it differs.
    assert limits == [2, 3, 6, 2]


def test_repetitive_rules_are_searched_where_a_beginning_is() -> None:
    engine = YaraEngine([("a.yar", WORD), (REPETITIVE, REPETITIVE_RULE)])
    assert engine.scan(b"<script x src=") == "tag"
    assert engine.scan(b"<SCRIPT x src=") == "tag"
    assert engine.scan(b"needle <script x src=") == "word"
    assert engine.scan(b"<script x sr") is None
    # In another file, the same rule is searched everywhere.
    assert YaraEngine([("b.yar", REPETITIVE_RULE)]).scan(b"<script x src=") == "tag"


def test_a_view_with_too_many_beginnings_is_refused() -> None:
    engine = YaraEngine([(REPETITIVE, REPETITIVE_RULE)])
    text = b"<script <%@ <?PHP " * (MAX_BEGINNINGS // 3)
    assert engine.scan(text) is None
    assert engine.scan(text + b"<script <%@ <?php ") == TOO_MANY
    # Other rules do not need the limit.
    assert YaraEngine([("a.yar", WORD)]).scan(text * 2) is None


def test_a_duplicate_of_a_repetitive_rule_is_reported_once() -> None:
    sources = [(REPETITIVE, REPETITIVE_RULE), ("own.yar", REPETITIVE_RULE)]
    assert YaraEngine(sources).scan(b"<script src=") == "tag"


def test_opened_is_known_to_both_kinds_of_rules() -> None:
    kept = "rule closed { condition: not opened }"
    for origin in ("a.yar", REPETITIVE):
        engine = YaraEngine([(origin, kept)])
        assert engine.scan(b"<%@") == "closed"
        assert engine.scan(b"<%@", opened=True) is None
        assert engine.scan(b"<%@") == "closed"
