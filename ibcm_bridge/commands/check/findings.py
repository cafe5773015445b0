"""What a check finds."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class Level(StrEnum):
    """How bad it is: what does not work, what soon will not, what is so."""

    PROBLEM = "problem"
    WARNING = "warning"
    FACT = "fact"


@dataclass(frozen=True, slots=True)
class Finding:
    """One line of the check."""

    level: Level
    where: str
    text: str
    requirement: str = ""
