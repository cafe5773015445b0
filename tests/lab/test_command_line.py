"""Each shell reads the words of a line that a command prints."""

from __future__ import annotations

import shlex

import pytest

from ibcm_bridge.lab.command_line import pasted, powershell
from tests.powershell_syntax import syntax_errors, words_of

WORDS = ["ibcm-bridge", "run", "--config", "C:/O'Neil/my policy.yaml", "SMS_DP_SMSPKG$", "a,b", ""]


def test_a_posix_shell_reads_the_words() -> None:
    assert shlex.split(pasted(WORDS, windows=False)) == WORDS


def test_powershell_reads_the_words() -> None:
    line = pasted(WORDS, windows=True)
    assert words_of(line) == WORDS
    assert syntax_errors(line) == []


@pytest.mark.parametrize("file", ["subject.yaml", "/srv/kit/subject.yaml"])
def test_simple_words_are_the_same_in_both(file: str) -> None:
    words = ["ibcm-bridge", "conformance", "run", file, "--only", "names::unknown_server_name"]
    assert pasted(words, windows=True) == pasted(words, windows=False) == " ".join(words)


@pytest.mark.parametrize(
    ("word", "written"),
    [
        ("C:\\lab\\root.pem", "C:\\lab\\root.pem"),
        ("a b", "'a b'"),
        ("O'Neil", "'O''Neil'"),
        ("SMS_DP_SMSPKG$", "'SMS_DP_SMSPKG$'"),
        ("", "''"),
        ("--root", "--root"),
        ("-x:y", "'-x:y'"),
        ("@file", "'@file'"),
        ("a;b", "'a;b'"),
        ("a|b&c>d", "'a|b&c>d'"),
        ("$(x)`n", "'$(x)`n'"),
    ],
)
def test_a_word_is_quoted_where_powershell_would_change_it(word: str, written: str) -> None:
    assert powershell([word]) == written
    assert words_of(written) == [word]
