"""The goals, and whether a run reaches them.

Everything here reads a document of `beside`, so that a stored run is judged as a new one. A ratio
is the median of the ratios within each round.
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

from benchmarks import beside, steady
from benchmarks.comparison import BRIDGE, MITMDUMP

PROCESSORS = 2


class Run:
    """The values of a document of `beside`."""

    def __init__(self, document: dict[str, Any]) -> None:
        self._values = {
            (measure["load"], measure["name"]): measure["values"]
            for measure in document["measures"]
        }

    def values(self, load: str, name: str, proxy: str = BRIDGE) -> list[float]:
        """One value per round; empty if the run did not measure it."""
        found: list[float] = self._values.get((load, name), {}).get(proxy, [])
        return found

    def median(self, load: str, name: str, proxy: str = BRIDGE) -> float | None:
        """None if the proxy was not measured."""
        values = self.values(load, name, proxy)
        return statistics.median(values) if values else None

    def ratio(self, load: str, name: str, proxy: str) -> float | None:
        """The bridge divided by another proxy."""
        return _ratio(self.values(load, name), self.values(load, name, proxy))


@dataclass(frozen=True)
class Goal:
    """A value to reach."""

    work: str
    limit: float
    unit: str
    measured: Callable[[Run], float | None]
    """None if the run did not measure it."""
    at_least: bool = False

    @property
    def text(self) -> str:
        """The goal, as `<= 0.6x apache`."""
        return f"{'>=' if self.at_least else '<='} {self.limit:g}{self.unit}"

    def reached(self, run: Run) -> bool | None:
        """None if the run did not measure it."""
        if (value := self.measured(run)) is None:
            return None
        return value >= self.limit if self.at_least else value <= self.limit


def _beside(load: str, name: str, proxy: str) -> Callable[[Run], float | None]:
    return lambda run: run.ratio(load, name, proxy)


def _more_per_second(proxy: str) -> Callable[[Run], float | None]:
    """Bytes per CPU-second, relative to another proxy: the reciprocal of CPU time per byte."""

    def measured(run: Run) -> float | None:
        load, name = beside.DOWNLOAD, beside.PER_GIBIBYTE
        return _ratio(run.values(load, name, proxy), run.values(load, name))

    return measured


def _resumed(run: Run) -> float | None:
    name = beside.PER_CONNECTION
    return _ratio(run.values(beside.RETURNING, name), run.values(beside.NEW, name))


def _of_a_site(run: Run) -> float | None:
    message = run.median(beside.MESSAGE, beside.PER_REQUEST)
    connection = run.median(beside.NEW, beside.PER_CONNECTION)
    if message is None or connection is None:
        return None
    seconds = steady.SITE_MESSAGES * message / 1e6
    seconds += steady.SITE_CONNECTIONS * connection / 1e3
    return 100 * seconds / PROCESSORS


def _growth(run: Run) -> float | None:
    waves = run.values(beside.WAITING, beside.AFTER_WAVE)
    return waves[-1] - waves[1] if len(waves) > 2 else None


def _ratio(values: list[float], others: list[float]) -> float | None:
    if not values or not others:
        return None
    return statistics.median(value / other for value, other in zip(values, others, strict=True))


def _workers(run: Run) -> float | None:
    load, name = beside.WORKERS, beside.PER_REQUEST
    return _ratio(run.values(load, name, beside.TWO_WORKERS), run.values(load, name))


def _slowest(run: Run) -> float | None:
    """No latency is good enough if a request failed."""
    names = (steady.P99_MESSAGE, steady.P99_CONNECTION)
    values = [value for name in names for value in run.values(steady.STEADY, name)]
    if not values:
        return None
    return math.inf if any(run.values(steady.STEADY, steady.ERRORS)) else max(values)


_message, _new = "CCM_POST 3 KB, signed, enforced", "new mTLS connection, both legs"
_download = "download, bytes per CPU-second"
_site = "site of 175,000: CPU of two cores"

GOALS = (
    Goal(_message, 0.6, "x apache", _beside(beside.MESSAGE, beside.PER_REQUEST, "apache")),
    Goal(_message, 0.8, "x mitmdump", _beside(beside.MESSAGE, beside.PER_REQUEST, MITMDUMP)),
    Goal(_new, 1.3, "x haproxy", _beside(beside.NEW, beside.PER_CONNECTION, "haproxy")),
    Goal(_new, 0.85, "x apache", _beside(beside.NEW, beside.PER_CONNECTION, "apache")),
    Goal(
        "  the peer resumes its leg",
        1.2,
        "x haproxy",
        _beside(beside.RESUMED, beside.PER_CONNECTION, "haproxy"),
    ),
    Goal("  resumed by the client", 0.7, "x new", _resumed),
    Goal(_download, 1.3, "x nginx", _more_per_second("nginx"), at_least=True),
    Goal(_download, 0.7, "x envoy", _more_per_second("envoy"), at_least=True),
    Goal(
        "tunnel, CPU per GiB",
        0.3,
        " s",
        lambda run: run.median(beside.TUNNEL, beside.PER_GIBIBYTE),
    ),
    Goal("two workers, CPU per message", 1.1, "x one", _workers),
    Goal(
        "  smaller share of a worker",
        0.5,
        "x other",
        lambda run: run.median(beside.WORKERS, beside.SHARES, beside.TWO_WORKERS),
        at_least=True,
    ),
    Goal(_site, 75, " %", _of_a_site),
    Goal("  p99 at the highest rate", steady.LIMIT_MS, " ms", _slowest),
    Goal(
        "connected, waiting client",
        100,
        " KB",
        lambda run: run.median(beside.WAITING, beside.PER_CLIENT),
    ),
    Goal("memory growth, wave 2 to the last", 1, " MiB", _growth),
)

_VERDICTS = {True: "reached", False: "not reached", None: "not measured"}


def judged(document: dict[str, Any]) -> Iterator[tuple[str, str, str, str]]:
    """Work, goal, measured value and verdict of each goal, as text."""
    run = Run(document)
    for goal in GOALS:
        value = goal.measured(run)
        yield (
            goal.work,
            goal.text,
            "" if value is None else number(value),
            _VERDICTS[goal.reached(run)],
        )


def number(value: float) -> str:
    """Three digits, or all digits of the integer part."""
    size = abs(value)
    return f"{value:,.{0 if size >= 100 else 1 if size >= 10 else 2}f}"
