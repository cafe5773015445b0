"""YARA rule files: the files that a policy names, and the files in folders that it names."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

from ibcm_bridge.policy_file.folders import is_folder

SUFFIXES = frozenset((".yar", ".yara"))
"""The files of a folder that contain rules."""


def rule_files(named: Sequence[Path]) -> Iterator[Path]:
    """Return the files in policy order, by name within a folder. OSError if unreadable."""
    for path in named:
        if is_folder(path):
            yield from sorted(file for file in path.iterdir() if file.suffix.lower() in SUFFIXES)
        else:
            yield path
