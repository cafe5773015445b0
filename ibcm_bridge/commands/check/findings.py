"""Findings of a check."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class Level(StrEnum):
    """Severity of a finding."""

    PROBLEM = "problem"
    """Does not work."""
    WARNING = "warning"
    """Works, but is a risk or will stop working."""
    FACT = "fact"


@dataclass(frozen=True, slots=True)
class Finding:
    """One line of output."""

    level: Level
    where: str
    text: str
    requirement: str = ""
