"""Why a text is not YAML, in words for its author: PyYAML's are about its own parser.

Each says what is likely to be wrong, and on which line; a row of `_CAUSES` for each.
"""

from __future__ import annotations

import re

import yaml

BACKSLASH = (
    "in double quotes a backslash begins an escape; "
    "write paths in single quotes, or with / between folders"
)
_STAR = "a value that begins with *, & or ! needs quotes"
_UNKNOWN = "look at the indentation, the colons and the quotes of this line and the one above"

_CAUSES = (
    # What PyYAML says; what to say; whether it went wrong where that began, rather than here.
    (r"found character '\\t'", "there is a tab: indent with spaces", False),
    (r"found character '(.)'", "a value that begins with {0} needs quotes", False),
    (
        "mapping values are not allowed",
        "there should be no colon here: is the line indented as its neighbours are, has the line "
        "above a space after its colon, is a value that has a colon in quotes?",
        False,
    ),
    ("could not find expected ':'", "this key has no colon after it, as in key: value", True),
    ("unexpected (end of stream|document sep)", "a quote that begins here has no end", True),
    (
        "expected <block end>, but found '<scalar>'",
        "nothing can follow a quoted value: put all of it in one pair of quotes",
        False,
    ),
    (
        "expected <block end>",
        "this belongs to nothing above: begin it in the column of the keys beside it; "
        "one of a list begins with - and a space",
        False,
    ),
    (r"expected ',' or '(.)'", "a bracket has no {0} at its end, or a comma is missing", True),
    ("expected the node content", "a bracket or comma stands where a value should be", False),
    (r"undefined alias '(.*)'", "nothing above is called &{0}; " + _STAR, False),
    (r"duplicate anchor '(.*)';", "two values are called &{0}", False),
    ("another document", "a second document begins here; a policy is one", False),
    ("escape", BACKSLASH, False),
    ("scanning an a|scanning a tag|parsing a tag|tag handle", _STAR, False),
    ("block scalar", "a value that begins with | or > needs quotes", False),
)


def in_words(error: yaml.YAMLError, text: str) -> tuple[int, str]:
    """The line, and what is likely to be wrong there."""
    if isinstance(error, yaml.reader.ReaderError):
        line = text.count("\n", 0, error.position) + 1
        return line, f"there is a character that no text has (number {error.character})"
    if not isinstance(error, yaml.MarkedYAMLError):
        return 1, _UNKNOWN
    here = error.problem_mark or error.context_mark
    said = f"{error.context} {error.problem}"
    for pattern, words, at_its_beginning in _CAUSES:
        if found := re.search(pattern, said):
            mark = (error.context_mark if at_its_beginning else None) or here
            return _line(mark), words.format(*found.groups())
    return _line(here), _UNKNOWN


def _line(mark: yaml.Mark | None) -> int:
    return mark.line + 1 if mark else 1
