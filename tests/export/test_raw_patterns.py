"""A pattern for the text as sent matches each usual spelling of a text, and no other text."""

from __future__ import annotations

import re
from urllib.parse import quote

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ibcm_bridge.export.raw_patterns import raw_literal, raw_pattern
from ibcm_bridge.policy_file.patterns import compile_pattern

PATTERNS = (
    r"\.sms_aut",
    r"(MPLIST[12]?|MPCERT2?|MPTRK)(&[A-Z0-9]{3})?",
    r"[A-Z0-9{}._:/-]{1,12}",
    r"/.{1,12}",
    r"[A-Z0-9]{3}[0-9A-F]{5}(\.[0-9]{1,10})?/?",
    r"[^/]{0,9}\d\w\s",
    r"[^/?]+/([A-Z ]{2,})x[^a]*",
    r"",
)


def matches(raw: str, text: str) -> bool:
    return re.fullmatch(raw, text, re.IGNORECASE) is not None


@pytest.mark.parametrize("pattern", PATTERNS)
@given(data=st.data())
def test_a_text_matches_as_sent(pattern: str, data: st.DataObject) -> None:
    compiled = compile_pattern(pattern)
    text = data.draw(st.from_regex(compiled, fullmatch=True, alphabet=st.characters(codec="utf-8")))
    if "\\" in text or "\0" in text or any(c < " " or c == "\x7f" for c in text):
        return
    assert matches(raw_pattern(compiled), quote(text, safe="/"))


@pytest.mark.parametrize("pattern", PATTERNS)
@given(text=st.text(alphabet=st.characters(codec="utf-8"), max_size=12))
def test_no_other_text_matches(pattern: str, text: str) -> None:
    compiled = compile_pattern(pattern)
    if matches(raw_pattern(compiled), quote(text, safe="/")):
        assert compiled.fullmatch(text) is not None


@pytest.mark.parametrize(
    "text", ["a%2fb", "a%5cb", "%61b", "a%2eb", "a%00b", "a%0ab", "a%zzb", "a%"]
)
def test_an_unusual_spelling_does_not_match(text: str) -> None:
    assert not matches(raw_pattern(compile_pattern(".{1,1024}")), text)


@pytest.mark.parametrize("text", ["SMS_DP_SMSPKG$", "sms_dp_smspkg%24"])
def test_a_name_matches_with_and_without_escapes(text: str) -> None:
    assert matches(raw_literal("sms_dp_smspkg$"), text)
    assert not matches(raw_literal("sms_dp_smspkg$"), f"{text}x")


def test_a_long_repetition_has_no_limit() -> None:
    assert raw_pattern(compile_pattern(".{1,1024}")).endswith("]*)*")
    assert raw_pattern(compile_pattern("a{0,1024}")) == "a*"
    assert raw_pattern(compile_pattern("a{7,1024}")) == "a{7,}"


@pytest.mark.parametrize("pattern", [".{1,1024}", ".*", "(.){3,}", "[^/]+", r"([a-z\s])*"])
def test_no_set_with_characters_as_sent_is_repeated_as_a_group(pattern: str) -> None:
    # A regular expression that repeats a group for each character fills the stack of PCRE2.
    raw = raw_pattern(compile_pattern(pattern))
    assert re.search(r"\*\(\?:%.*\*\)\*$", raw)
    assert raw.count(")*") + raw.count(")+") + raw.count(",}") == 1


@pytest.mark.parametrize(("pattern", "least"), [(".*", 0), (".+", 1), (".{3,}", 3)])
def test_a_long_repetition_keeps_its_least_number(pattern: str, least: int) -> None:
    raw = raw_pattern(compile_pattern(pattern))
    for text in ("", "%20", "a%20", "%20%20%20", "a%20bc", "%20a%20%20bcd%20"):
        length = len(text.replace("%20", " "))
        assert matches(raw, text) == (length >= least)


def test_a_line_end_of_a_class_matches_as_an_escape() -> None:
    raw = raw_pattern(compile_pattern(r"[A-Z\r\n]{1,9}"))
    assert matches(raw, "a%0D%0Ab")
    assert not matches(raw, "a%09b")
