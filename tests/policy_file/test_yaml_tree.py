"""YAML without its conversions: the values, the line of each, and the problems."""

from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ibcm_bridge.policy_file.yaml_tree import MAX_DEPTH, Converted, Problem, read_yaml

ABOVE = "# a comment\nversion: 1\n"
"""Two lines before the tested one."""


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("true", True),
        ("false", False),
        ("0", 0),
        ("-7", -7),
        ("4_194_304", 4_194_304),
        ("1.5", 1.5),
        ("127.0.0.1:8443", "127.0.0.1:8443"),
        ("'[::1]:8443'", "[::1]:8443"),
        ("https://mp01.corp.example", "https://mp01.corp.example"),
        ("SMS_DP_SMSPKG$", "SMS_DP_SMSPKG$"),
        ("'no'", "no"),
        ('"on"', "on"),
        ('"1:30"', "1:30"),
        ("'2026-01-01'", "2026-01-01"),
        ("'017'", "017"),
        ("!!str 017", "017"),
        ("|\n  no\n", "no\n"),
        ("", None),
        ("[a, 1, true]", ["a", 1, True]),
        ("{a: {b: c}}", {"a": {"b": "c"}}),
        # not numbers in YAML 1.1, so strings
        ("0o17", "0o17"),
        ("1e3", "1e3"),
        ("1,000", "1,000"),
    ],
)
def test_a_value_is_what_it_looks_like(text: str, value: object) -> None:
    tree = read_yaml(f"{ABOVE}key: {text}\n")
    assert tree.problems == []
    assert tree.value == {"version": 1, "key": value}
    assert type(tree.value["key"]) is type(value)


@pytest.mark.parametrize(
    ("text", "kind"),
    [
        ("no", "a boolean"),
        ("No", "a boolean"),
        ("yes", "a boolean"),
        ("on", "a boolean"),
        ("OFF", "a boolean"),
        ("True", "a boolean"),
        ("FALSE", "a boolean"),
        ("~", "null"),
        ("null", "null"),
        ("1:30", "a number"),
        ("12:30:45", "a number"),
        ("017", "a number"),
        ("0x1F", "a number"),
        ("0b11", "a number"),
        ("+5", "a number"),
        ("1__0", "a number"),
        ("1_", "a number"),
        ("1.", "a number"),
        (".5", "a number"),
        ("1.5e+3", "a number"),
        ("1:30.5", "a number"),
        (".inf", "a number"),
        (".NaN", "a number"),
        ("2026-01-01", "a date"),
        ("2026-01-01T00:00:00Z", "a date"),
        ("=", "a special character"),
        ("<<", "a special character"),
    ],
)
def test_a_value_that_yaml_converts_is_marked_as_converted(text: str, kind: str) -> None:
    tree = read_yaml(f"{ABOVE}outer:\n  key: {text}\n")
    assert tree.value == {"version": 1, "outer": {"key": Converted(text, kind)}}
    assert tree.line(("outer", "key")) == 4


def test_a_conversion_in_a_list_is_at_its_place() -> None:
    tree = read_yaml("a:\n  - x\n  - no\n  - [on]\n")
    assert tree.value == {"a": ["x", Converted("no", "a boolean"), [Converted("on", "a boolean")]]}
    assert (tree.line(("a", 1)), tree.line(("a", 2, 0))) == (3, 4)


def test_a_word_that_yaml_converts_may_be_a_key() -> None:
    tree = read_yaml("no: x\n1: y\n")
    assert (tree.value, tree.problems) == ({"no": "x", "1": "y"}, [])


def test_a_duplicate_key_is_refused_with_the_line_of_the_first() -> None:
    tree = read_yaml(f"{ABOVE}a:\n  b: 1\n  c: 2\n  b: 3\n")
    [problem] = tree.problems
    assert (problem.line, problem.place) == (6, ("a", "b"))
    assert problem.message == "duplicate key, first on line 4; remove one"
    assert tree.value == {"version": 1, "a": {"b": 1, "c": 2}}


def test_a_duplicate_key_in_another_spelling_is_refused() -> None:
    assert len(read_yaml("a: 1\n'a': 2\n\"a\": 3\n").problems) == 2


@pytest.mark.parametrize("line", ["? [a]\n  : b", "? {a: b}\n  : c"])
def test_keys_that_are_not_plain_are_refused(line: str) -> None:
    tree = read_yaml(f"base: &base {{x: 1}}\nuse:\n  {line}\n")
    assert [(p.line, p.place) for p in tree.problems] == [(3, ("use",))]


@pytest.mark.parametrize("line", ["<<: *base", "'<<': *base", "<<: [*base]"])
def test_merge_keys_are_refused_with_the_correction(line: str) -> None:
    tree = read_yaml(f"base: &base {{x: 1}}\nuse:\n  {line}\n")
    [problem] = tree.problems
    assert (problem.line, problem.place) == (3, ("use",))
    assert problem.message.startswith("merge keys (<<) are not supported; write the keys out")


@pytest.mark.parametrize("text", ['"C:\\bridge"', '"a\\nb"', '"\\e[2J"', '"\\x7f"', '"\\0"'])
def test_an_escape_that_makes_a_control_character_is_refused(text: str) -> None:
    tree = read_yaml(f"{ABOVE}key: {text}\n")
    [problem] = tree.problems
    assert (problem.line, problem.place) == (3, ("key",))
    assert "write paths in single quotes, or with /" in problem.message
    assert str(tree.value).isprintable()


def test_backslashes_in_single_quotes_and_escapes_of_text_are_read() -> None:
    tree = read_yaml('a: \'C:\\bridge\\new\'\nb: "\\u00e4 \\""\nc: C:\\bridge\nd: |\n  x\n  y\n')
    assert tree.problems == []
    assert tree.value == {"a": r"C:\bridge\new", "b": 'ä "', "c": r"C:\bridge", "d": "x\ny\n"}


@pytest.mark.parametrize(
    ("text", "line", "cause"),
    [
        ("a: 1\nb:\n\tc: 2\n", 3, "tab in the indentation; indent with spaces"),
        ("a: 1\n---\nb: 2\n", 2, "a second document starts here"),
        ("b: 2\na: [1\nb: 2\n", 2, "a bracket is not closed with ], or a comma is missing"),
        ("a: {b: 1\n", 1, "a bracket is not closed with }"),
        ("b: 2\na: 'x\n", 2, "the quote that starts here is not closed"),
        ("a: '\n---\n'", 1, "the quote that starts here is not closed"),
        ("a: 1\n b: 2\n", 2, "a colon is not allowed here; check the indentation"),
        ("a: b: c\n", 1, "a colon is not allowed here"),
        ("key:value\nb: c\n", 2, "write a space after the colon on the line above"),
        ("a: x\nb\nc: d\n", 2, "this key has no colon; write KEY: VALUE"),
        ("a:\n  - x\n b: 1\n", 3, "start in the same column as the other keys"),
        ("a: 1\n- b\n", 2, "start a list item with - and a space"),
        ("a: 'b' c\n", 1, "text after a quoted value"),
        ("a: *nowhere\n", 1, "there is no &nowhere above"),
        ("name: *.x.example\n", 1, "a value that starts with *, & or ! needs quotes"),
        ("a: &x 1\nb: &x 2\n", 2, "two values have the anchor &x"),
        ("a: 1\nb: @x\n", 2, "a value that starts with @ needs quotes"),
        ("a: |x\n", 1, "a value that starts with | or > needs quotes"),
        ('a: "C:\\key.pem"\n', 1, "write paths in single quotes, or with / between folders"),
        ('a: "\\x1"\n', 1, "in double quotes a backslash starts an escape"),
        ("a: !<x\n", 1, "a value that starts with *, & or ! needs quotes"),
        ("a: 1\nb: \x00\n", 2, "invalid character (code 0)"),
        ("}", 1, "a bracket or comma instead of a value"),
        ("%YAML 3.0\n---\na: 1\n", 1, "check the indentation, colons and quotes"),
    ],
)
def test_text_that_is_not_one_document_of_yaml_has_one_problem_with_its_cause(
    text: str, line: int, cause: str
) -> None:
    tree = read_yaml(text)
    [problem] = tree.problems
    assert problem.line == line
    assert problem.message.startswith("not YAML: ")
    assert cause in problem.message
    assert tree.value is None


def test_nothing_is_ever_constructed() -> None:
    tree = read_yaml("a: !!python/object/apply:os.getcwd []\n")
    assert tree.value == {"a": []}
    name = read_yaml("a: !!python/name:os.getcwd\n")
    assert name.value == {"a": Converted("", "a special character")}


def test_all_problems_are_found_at_once() -> None:
    tree = read_yaml('a: "\\t"\nb: 1\nb: 2\nc:\n  <<: x\n')
    assert [problem.line for problem in tree.problems] == [1, 3, 5]


@pytest.mark.parametrize("text", ["", "# nothing\n"])
def test_an_empty_file_has_no_value(text: str) -> None:
    tree = read_yaml(text)
    assert (tree.value, tree.problems, tree.line(())) == (None, [], 1)


def test_a_value_has_its_line_and_a_missing_one_that_of_its_container() -> None:
    tree = read_yaml("a:\n  b:\n    - x\n    - y: 1\nc: 2\n")
    assert tree.line(("a",)) == 1
    assert tree.line(("a", "b", 0)) == 3
    assert tree.line(("a", "b", 1, "y")) == 4
    assert tree.line(("c",)) == 5
    assert tree.line(("a", "b", 1, "missing", "deeper")) == 4
    assert tree.line(("missing",)) == 1


def test_an_alias_is_a_value_at_each_of_its_places() -> None:
    tree = read_yaml('a: &x {k: "\\t"}\nb: *x\n')
    assert tree.value == {"a": {"k": "?"}, "b": {"k": "?"}}
    assert [problem.place for problem in tree.problems] == [("a", "k"), ("b", "k")]
    assert {tree.written_at(problem.place) for problem in tree.problems} == {("a", "k")}


def test_an_alias_in_an_alias_is_written_at_its_first_place() -> None:
    tree = read_yaml("a: &x [1, &y {k: 2}]\nb: &z {c: *y, d: *x}\ne: *z\n")
    assert tree.written_at(("e", "d", 1, "k")) == ("a", 1, "k")
    assert tree.written_at(("e", "c", "k")) == ("a", 1, "k")
    assert tree.written_at(("e", "new")) == ("b", "new")
    assert tree.written_at(("a", 0)) == ("a", 0)


@pytest.mark.parametrize("text", ["a: &x [*x]\n", "a: &x {b: *x}\n"])
def test_an_alias_that_contains_itself_is_a_problem(text: str) -> None:
    assert read_yaml(text).problems == [
        Problem(1, ("a",), "nested too deeply, or an alias contains itself")
    ]


def test_deep_nesting_is_refused() -> None:
    def nested(depth: int) -> str:
        return "[" * depth + "]" * depth

    assert read_yaml(nested(MAX_DEPTH + 1)).problems == []
    assert len(read_yaml(nested(MAX_DEPTH + 2)).problems) == 1


@given(st.text(max_size=60) | st.text("ab:-?[]{}\"'|>&*!%@#\\\n \t,", max_size=60))
def test_any_text_is_read_or_has_problems(text: str) -> None:
    for whole in (text, f"a: {text}", f"a:\n  - {text}"):
        tree = read_yaml(whole)
        assert all(problem.line >= 1 for problem in tree.problems)
        messages = " ".join(problem.message for problem in tree.problems)
        assert not any(words in messages for words in ("while ", "expected", "stream", "<block"))


def _billions() -> str:
    """Ten lists, each with nine times the one before it."""
    names = "abcdefghij"
    lists = [f"{names[0]}: &{names[0]} [x]"]
    lists += [
        f"{name}: &{name} [{', '.join([f'*{before}'] * 9)}]" for before, name in pairwise(names)
    ]
    return "\n".join(lists)


def test_aliases_of_aliases_are_not_read_without_end() -> None:
    (problem,) = read_yaml(_billions()).problems
    assert "as the aliases repeat them" in problem.message


def test_brackets_in_brackets_are_a_problem() -> None:
    (problem,) = read_yaml("[" * 1_500 + "]" * 1_500).problems
    assert problem == Problem(1, (), "nested too deeply")
