"""Patterns are compiled only if no client can cause a very long matching time."""

from __future__ import annotations

import re
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ibcm_bridge.policy_file.patterns import MAX_LENGTH, ambiguities, compile_pattern


@pytest.mark.parametrize(
    "text",
    [
        "(a+)+b",
        "(a|a)*b",
        "(ab|[ab]c)*",
        "(x?[xy]){1,9}",
        "(a*)*",
        "(a?){50}",
        ".*.*x",
        "[a-z]*[a-z0-9]*[a-z]",
        r"\w+\d+x.*y",
        "(.*,){5}x",
        "([a-z]{1,9}/?){1,9}",
        "(/?[^/]{1,9}){0,9}",
        "(a{1,9}){1,9}",
        "a?" * 30 + "a" * 30,
        "(ab|[ab]c)" * 9 + "x",
        "(?:x+x+)+y",
        "(a+?)+?b",
        # Beyond ASCII, all characters are treated as equal.
        r"[^\x00-\x7f]*[^\x00-\x7f]*[^\x00-\x7f]*x",
        r"[\u0400-\u04ff]*[a\u0430]*\W*x",
        "\u00f1*[^a]*[\u00f1]*x",
        "([^a]*\u00f1)*",
        r"\S*[^ ]*\D*x",
    ],
)
def test_a_pattern_with_very_long_matching_times_is_refused(text: str) -> None:
    re.compile(text)
    with pytest.raises(ValueError, match="could cause very long matching times"):
        compile_pattern(text)


def test_the_analysis_of_repetitions_in_repetitions_takes_no_time() -> None:
    """If each level doubles the time, this one takes 20 seconds, and 30 levels take hours."""
    begin = time.process_time()
    with pytest.raises(ValueError, match="could cause very long matching times"):
        compile_pattern("(" * 20 + "a" + ")*" * 20)
    assert time.process_time() - begin < 3


@pytest.mark.parametrize(
    "text",
    [
        "",
        "abc",
        ".*",
        r".*\.cab",
        r"[A-Z0-9_.-]+\.cab",
        r"\d{1,9}",
        r"\D\S\W[\d_]+",
        "^report$",
        "a{8}a",
        "[^/]{1,9}(/[^/]{1,9}){0,3}",
        "(a|b)*c",
        "x?x",
        "(?:GET|PUT)x",
        "Espa\u00f1ol[^/]*/.*",
        r"[\u0400-\u04ff]*/x",
        r"\w*[\u0400-\u04ff]*/x",
    ],
)
def test_other_patterns_are_compiled(text: str) -> None:
    pattern = compile_pattern(text)
    assert pattern.flags & re.IGNORECASE
    assert pattern.flags & re.ASCII


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("(", "not a regular expression"),
        ("[", "not a regular expression"),
        ("?x", "not a regular expression"),
        ("[[a]", "not a regular expression"),
        ("a{4294967296}", "not a regular expression"),
        ("(a)\\1", "a back-reference, .* is not supported"),
        ("(?=a)a", "look-ahead or look-behind, .* is not supported"),
        ("(?<!x)a", "look-ahead or look-behind, .* is not supported"),
        ("(?>a*)b", "an atomic group, .* is not supported"),
        ("a*+b", "a possessive repetition, .* is not supported; write a row for each case"),
        ("(a)?(?(1)b|c)", "a condition, .* is not supported"),
        ("a" * (MAX_LENGTH + 1), "longer than"),
    ],
)
def test_invalid_and_unsupported_patterns_are_refused(text: str, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        compile_pattern(text)


@given(st.text("ab.*+?|()[]{}1,2\\\\^$dw-", max_size=24))
def test_any_text_is_a_pattern_or_a_value_error(text: str) -> None:
    try:
        pattern = compile_pattern(text)
    except ValueError:
        return
    assert not ambiguities(pattern.pattern).slow
    pattern.fullmatch("ab" * 2_000)
