"""Which checks run at the same time."""

from __future__ import annotations

from enum import Enum, auto


class Order(Enum):
    """How a check runs beside others. A topic has the constant `ORDER`; the default is ALONE."""

    BESIDE = auto()
    """At the same time as all others: each of its targets has its marker."""
    ALONE = auto()
    """One after the other: what arrives belongs to the only one that runs."""
    LAST = auto()
    """After all others, because it changes the subject."""
