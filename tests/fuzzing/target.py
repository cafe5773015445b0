"""What a fuzzing target is, and what holds of every reader."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass

from ibcm_bridge.decisions.denial import Deny

MAX_DETAIL = 400
"""Characters; `inspection.response` has the longest."""


@dataclass(frozen=True)
class Target:
    """A reader, given any bytes: `run` raises where it does what it must not."""

    run: Callable[[bytes], None]
    seeds: Callable[[], Iterable[bytes]]
    """What it accepts, to begin with."""
    words: tuple[str, ...] = ()
    """What a mutation may put in."""
    is_xml: bool = False
    """Whether most of it has to be well-formed for a reader to look any further."""


def bounded(denial: Deny) -> None:
    """A refusal can be written into the audit: one line, and not a long one."""
    assert denial.rule
    assert len(denial.detail) <= MAX_DETAIL, denial
    assert len(denial.rule) <= MAX_DETAIL, denial
