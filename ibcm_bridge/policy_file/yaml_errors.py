"""Messages for invalid YAML. PyYAML's own messages describe the state of its parser."""

from __future__ import annotations

import re

import yaml

BACKSLASH = (
    "in double quotes a backslash starts an escape sequence; "
    "write paths in single quotes, or with / between folders"
)
_STAR = "a value that starts with *, & or ! needs quotes"
_UNKNOWN = "check the indentation, colons and quotes of this line and the line above"

_CAUSES = {
    "could not find expected ':'": "this key has no colon; write KEY: VALUE",
    "unexpected (end of stream|document sep)": "the quote that starts here is not closed",
    r"expected ',' or '(.)'": "a bracket is not closed with {0}, or a comma is missing",
    r"found character '\\t'": "tab in the indentation; indent with spaces",
    r"found character '(.)'": "a value that starts with {0} needs quotes",
    "mapping values are not allowed": (
        "a colon is not allowed here; check the indentation, write a space after the colon on the "
        "line above, and put a value with a colon in quotes"
    ),
    "<block end>, but found '<scalar>'": (
        "text after a quoted value; put the whole value in one pair of quotes"
    ),
    "expected <block end>": (
        "wrong indentation; start in the same column as the other keys, "
        "and start a list item with - and a space"
    ),
    "expected the node content": "a bracket or comma instead of a value",
    r"undefined alias '(.*)'": "there is no &{0} above; " + _STAR,
    r"duplicate anchor '(.*)';": "two values have the anchor &{0}",
    "another document": "a second document starts here; a policy file has one",
    "escape": BACKSLASH,
    "scanning an a|scanning a tag|parsing a tag|tag handle": _STAR,
    "block scalar": "a value that starts with | or > needs quotes",
}
"""By a pattern for PyYAML's message: the likely cause."""


def in_words(error: yaml.YAMLError, text: str) -> tuple[int, str]:
    """Return the line of an error, and its likely cause."""
    if isinstance(error, yaml.reader.ReaderError):
        line = text.count("\n", 0, error.position) + 1
        return line, f"invalid character (code {error.character})"
    assert isinstance(error, yaml.MarkedYAMLError)
    # A missing bracket, quote or colon has the line where its value or key starts.
    starts_here = re.search("simple key|quoted scalar|flow", error.context or "")
    mark = error.context_mark if starts_here else error.problem_mark
    message = f"{error.context} {error.problem}"
    found = ((re.search(pattern, message), words) for pattern, words in _CAUSES.items())
    causes = (words.format(*match.groups()) for match, words in found if match)
    return mark.line + 1 if mark else 1, next(causes, _UNKNOWN)
