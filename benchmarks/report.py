"""The results, as a table and as JSON."""

from __future__ import annotations

import dataclasses
import itertools
import json
import os
import platform
import ssl
import statistics
from collections.abc import Iterator, Sequence
from typing import Any

from mitmproxy import version

from benchmarks import interpreter
from benchmarks.comparison import BRIDGE, MITMDUMP, Measure, Plan

_Row = tuple[str, str, str, str]


def table(measures: Sequence[Measure]) -> str:
    """Median (lowest-highest) of the rounds, and of the ratios within each round."""
    heading = ("", BRIDGE, MITMDUMP, f"{BRIDGE} / {MITMDUMP}")
    groups = {
        load: [row for measure in group for row in _rows(measure)]
        for load, group in itertools.groupby(measures, lambda measure: measure.load)
    }
    rows = [heading, *itertools.chain.from_iterable(groups.values())]
    widths = [max(len(row[column]) for row in rows) for column in range(4)]
    lines = [_line(heading, widths)]
    for load, group_rows in groups.items():
        lines += ["", load, *(_line(row, widths) for row in group_rows)]
    return "\n".join(lines)


def as_json(measures: Sequence[Measure], plan: Plan) -> str:
    """The conditions, and every value of every round."""
    return json.dumps(document(measures, plan), indent=1) + "\n"


def document(measures: Sequence[Measure], plan: Plan) -> dict[str, Any]:
    """The same, before it is text."""
    return {
        "conditions": conditions(),
        "plan": dataclasses.asdict(plan),
        "measures": [
            {
                "load": measure.load,
                "name": measure.name,
                "unit": measure.unit,
                "values": measure.values,
                "median": {name: statistics.median(v) for name, v in measure.values.items()},
                "ratios": {
                    name: _ratios(measure, name)
                    for name in measure.values
                    if measure.compared and name != MITMDUMP and MITMDUMP in measure.values
                },
            }
            for measure in measures
        ],
    }


def conditions() -> dict[str, str]:
    """The conditions that the results depend on."""
    return {
        "processors": str(os.cpu_count()),
        "load average": f"{os.getloadavg()[0]:.1f}",
        "python": platform.python_version(),
        "python built with": interpreter.build(),
        "mitmproxy": version.VERSION,
        "openssl of client and site system": ssl.OPENSSL_VERSION.split()[1],
        "kernel": platform.release(),
    }


def _rows(measure: Measure) -> Iterator[_Row]:
    other = _spread(measure.values[MITMDUMP])
    for subject, values in measure.values.items():
        if subject != MITMDUMP:
            name = f"  {measure.name}"
            if measure.unit:
                name += f", {measure.unit}"
            if subject != BRIDGE:
                name += f" ({subject})"
            ratio = _spread(_ratios(measure, subject)) if measure.compared else ""
            yield name, _spread(values), other, ratio


def _ratios(measure: Measure, subject: str) -> list[float]:
    pairs = zip(measure.values[subject], measure.values[MITMDUMP], strict=True)
    return [own / other for own, other in pairs]


def _line(row: _Row, widths: Sequence[int]) -> str:
    name, *cells = row
    aligned = (cell.rjust(width) for cell, width in zip(cells, widths[1:], strict=True))
    return "  ".join([name.ljust(widths[0]), *aligned]).rstrip()


def _spread(values: Sequence[float]) -> str:
    median = _number(statistics.median(values))
    if len(values) == 1:
        return median
    return f"{median} ({_number(min(values))}-{_number(max(values))})"


def _number(value: float) -> str:
    """Three digits, or all digits of the integer part."""
    digits = 0 if value >= 100 else 1 if value >= 10 else 2
    return f"{value:,.{digits}f}"
