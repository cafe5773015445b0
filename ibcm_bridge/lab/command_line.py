"""Command lines to paste, for the shell of this system: PowerShell on Windows, else a POSIX shell.

A line of simple words is the same in both.
"""

from __future__ import annotations

import os
import re
import shlex
from collections.abc import Iterable
from pathlib import Path

WINDOWS = os.name == "nt"

_BARE = re.compile(r"[A-Za-z0-9_./\\][A-Za-z0-9_./\\:-]*|--[a-z-]+")
"""Words that PowerShell passes unchanged; any other is quoted."""


def pasted(words: Iterable[str | Path], *, windows: bool = WINDOWS) -> str:
    """Return words as a command line for the shell of this system."""
    texts = [str(word) for word in words]
    return powershell(texts) if windows else shlex.join(texts)


def powershell(words: Iterable[str]) -> str:
    """Return words as a command line for PowerShell.

    A double quote has no form that Windows PowerShell 5.1 and PowerShell 7 pass unchanged.
    """
    return " ".join(map(_quoted, words))


def _quoted(word: str) -> str:
    return word if _BARE.fullmatch(word) else "'" + word.replace("'", "''") + "'"
