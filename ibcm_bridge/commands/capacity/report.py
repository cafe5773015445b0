"""The text of `ibcm-bridge capacity`, at most 80 columns wide."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence

from ibcm_bridge.commands.capacity.simulation import Outcome
from ibcm_bridge.commands.capacity.site import loads_of
from ibcm_bridge.commands.capacity.sizing import Question, Size, Tried, cores_needed
from ibcm_bridge.commands.common import counted

BAR = 16
"""The widest bar."""

BAR_SECONDS = 10.0
"""The time of the widest bar; bars are logarithmic from a millisecond on."""


def lines_of(question: Question, tried: Sequence[Tried], size: Size) -> Iterator[str]:
    """The lines of the report. The last of `tried` is the one that `size` describes."""
    site, costs, last = question.site, question.costs, tried[-1]
    usual, *_ = loads_of(site)
    yield f"{site.clients:,} clients; each connects every {_time(site.every)} and sends"
    yield (
        f"{site.messages} messages: {site.connections_per_second:,.0f} connections and "
        f"{site.messages_per_second:,.0f} messages per second."
    )
    yield (
        f"CPU of one core: {1e3 * costs.connection_seconds:.1f} ms a connection, "
        f"{1e3 * costs.message_seconds:.1f} ms a message; "
        f"{cores_needed(usual, costs):.1f} cores busy."
    )
    yield ""
    yield from table(tried)
    yield ""
    yield _verdict(last, question.cores)
    yield ""
    yield f"A machine with {counted(question.cores, 'core')}"
    yield f"  limits.connections   {size.connections:,}"
    yield f"  file descriptors     {size.descriptors:,}"
    yield f"  memory               {_bytes(size.memory_bytes)}"
    yield "The site"
    yield (
        f"  database             {_bytes(size.bindings_bytes)} of bindings, "
        f"uploads up to {_bytes(size.spool_bytes)}"
    )
    yield (
        f"  audit                {size.records_per_day / 1e6:,.1f} million records a day, "
        f"{_bytes(size.audit_bytes_per_day)}"
    )
    yield (
        f"                       {_bytes(size.audit_bytes_kept)} in "
        f"{counted(question.days, 'day')}, rotated files compressed"
    )
    yield ""
    measured_with = f"Python {costs.python}, mitmproxy {costs.mitmproxy}"
    yield f"Measured with {measured_with}. The times are those of"
    yield "the bridge, without the network and site systems. docs/scale.md has the"
    yield "assumptions."


def table(tried: Sequence[Tried]) -> Iterator[str]:
    """A row for each number of machines and each load."""
    yield "machines  load             CPU   99 % within     connection   message   refused"
    for entry in tried:
        for place, (load, outcome) in enumerate(entry.outcomes):
            machines = "" if place else f"{entry.machines:,}"
            yield f"{machines:>8}  {load.name:<15}{_row(outcome)}"


def _row(outcome: Outcome) -> str:
    bar = _bar(max(outcome.connection_p99, outcome.message_p99))
    refused = f"{100 * outcome.refused_part:.0f} %" if outcome.refused else "0"
    return (
        f"{100 * outcome.busy:4.0f} %  {bar:<{BAR}}"
        f"{_time(outcome.connection_p99):>10}{_time(outcome.message_p99):>10}{refused:>10}"
    )


def _bar(seconds: float) -> str:
    part = math.log10(max(seconds, 1e-3) / 1e-3) / math.log10(BAR_SECONDS / 1e-3)
    return "#" * round(BAR * min(1.0, part))


def _verdict(last: Tried, cores: int) -> str:
    each = f"{counted(last.machines, 'machine')} of {counted(cores, 'core')}"
    one = last.machines == 1
    if last.suffices:
        spare = f"with one more, one can fail: {last.machines + 1}."
        return f"{each} suffice{'s' if one else ''}; {spare}"
    return f"{each} {'does' if one else 'do'} not suffice."


def _time(seconds: float) -> str:
    if seconds < 1:
        return f"{1e3 * seconds:.0f} ms"
    if seconds < 120:
        return f"{seconds:.1f} s" if seconds < 10 else f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min"


def _bytes(count: float) -> str:
    for unit in ("bytes", "KB", "MB", "GB"):
        if count < 1000:
            return (
                f"{count:.0f} {unit}" if count >= 10 or unit == "bytes" else f"{count:.1f} {unit}"
            )
        count /= 1000
    return f"{count:,.1f} TB"
