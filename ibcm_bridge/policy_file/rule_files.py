"""Files with rules: those that a policy names, and those in the folders that it names."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

from ibcm_bridge.policy_file.folders import is_folder

SUFFIXES = frozenset((".yar", ".yara"))
"""Of a folder, what is taken for rules."""


def rule_files(named: Sequence[Path]) -> Iterator[Path]:
    """In the order of the policy, and by name within a folder. OSError where one cannot be read."""
    for path in named:
        if is_folder(path):
            yield from sorted(file for file in path.iterdir() if file.suffix.lower() in SUFFIXES)
        else:
            yield path
