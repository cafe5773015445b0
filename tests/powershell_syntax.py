"""Parses PowerShell with a grammar that others wrote (tree-sitter-pwsh). It runs nothing."""

from __future__ import annotations

import re
from collections.abc import Iterator

import tree_sitter_pwsh
from tree_sitter import Language, Node, Parser

_PARSER = Parser(Language(tree_sitter_pwsh.language()))


def syntax_errors(text: str) -> list[str]:
    """Return the lines in which the grammar finds an error or a missing token."""
    # A block ends with a line end; the grammar needs it for a comment.
    root = _PARSER.parse(f"{text}\n".encode()).root_node
    lines = text.splitlines()
    wrong = {node.start_point[0] for node in _wrong(root)}
    return [lines[min(number, len(lines) - 1)] for number in sorted(wrong)]


def _wrong(node: Node) -> Iterator[Node]:
    if node.is_error or node.is_missing:
        yield node
    elif node.has_error:
        for child in node.children:
            yield from _wrong(child)


_WORD = re.compile(r"'((?:[^']|'')*)'|([A-Za-z0-9_./\\:-]+)")


def words_of(line: str) -> list[str]:
    """Split a line as PowerShell does; fail for characters with another meaning."""
    words, at = [], 0
    while at < len(line):
        found = _WORD.match(line, at)
        assert found, line[at:]
        words.append(found[2] or found[1].replace("''", "'"))
        at = found.end()
        assert at == len(line) or line[at] == " ", line[at:]
        at += 1
    return words
