"""The checks: each public function of a module in `checks`.

The id of a check is `topic::name`, from its module and its function. Its docstring is the published
description, with MUST or SHOULD. The last line has the requirement and the source:

    Requirement: VERB-MP. Source: protocol.md 1.2.
"""

from __future__ import annotations

import importlib
import inspect
import pkgutil
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from functools import cache

from ibcm_bridge.conformance import checks
from ibcm_bridge.conformance.judgement import Judgement
from ibcm_bridge.conformance.order import Order
from ibcm_bridge.conformance.subject import Subject
from ibcm_bridge.lab.cases.requirements import REQUIREMENTS

_LAST_LINE = re.compile(r"Requirement: ([A-Z][A-Z0-9.-]+)\. Source: (.+)\.")


class Level(StrEnum):
    """RFC 2119: whether a failure forbids the word conformant."""

    MUST = "MUST"
    SHOULD = "SHOULD"


@dataclass(frozen=True)
class Check:
    """A check, with its published description."""

    id: str
    level: Level
    text: str
    requirement: str
    source: str
    judge: Callable[[Subject], Judgement]
    order: Order = Order.ALONE


@cache
def all_checks() -> Mapping[str, Check]:
    """Return the checks by id, in the order of the topics and of their functions."""
    found = {}
    for module in sorted(pkgutil.iter_modules(checks.__path__), key=lambda entry: entry.name):
        topic = importlib.import_module(f"{checks.__name__}.{module.name}")
        for name, function in vars(topic).items():
            public = inspect.isfunction(function) and not name.startswith("_")
            if public and function.__module__ == topic.__name__:
                order = getattr(topic, "ORDER", Order.ALONE)
                check = read_check(f"{module.name}::{name}", function, order)
                found[check.id] = check
    return found


def read_check(
    name: str, judge: Callable[[Subject], Judgement], order: Order = Order.ALONE
) -> Check:
    """Read the description of a check. ValueError if it is not in the form above."""
    text, _, last = (inspect.getdoc(judge) or "").rpartition("\n")
    described = _LAST_LINE.fullmatch(last)
    levels = set(re.findall(r"\b(MUST|SHOULD)\b", text))
    if described is None or described[1] not in REQUIREMENTS or len(levels) != 1:
        raise ValueError(f"{name}: the docstring needs MUST or SHOULD, a requirement and a source")
    level = Level(levels.pop())
    return Check(name, level, text.strip(), described[1], described[2], judge, order)
