"""`ibcm-bridge audit summary`: the most frequent refusals, and the clients that were refused."""

from __future__ import annotations

import argparse
import datetime
import json
import re
from collections.abc import Iterator, Sequence

from ibcm_bridge.audit import record as audit
from ibcm_bridge.audit.record import Event, Verdict
from ibcm_bridge.audit.summary import Row, Summary, client, text
from ibcm_bridge.commands.audit.files import (
    WIDTH,
    add_files,
    audit_files,
    complain,
    read_records,
    seconds,
    shown,
)
from ibcm_bridge.commands.common import EXIT_PROBLEM, Subcommands, counted
from ibcm_bridge.storage.audit_files import AuditFileError

_ROWS = 10


def add(actions: Subcommands) -> None:
    parser = actions.add_parser(
        "summary",
        help="count requests and refusals by reason, rule and client",
        description="Count the requests of one or more audit files, and list the most frequent "
        "refusals and the clients that were refused most. Exit status: 0 done, 1 a file cannot be "
        "read, 2 usage error.",
    )
    add_files(parser)
    parser.add_argument(
        "--since",
        type=_since,
        metavar="TIME",
        help="skip earlier records: 90m, 24h or 7d ago, or a date or time in UTC such as "
        "2026-12-31 or 2026-12-31T08:30",
    )
    parser.add_argument(
        "--rows", type=_rows, default=_ROWS, metavar="N", help=f"rows of a table (default: {_ROWS})"
    )
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    parser.set_defaults(run=_run)


_AGO = re.compile(r"([0-9]{1,6})([mhd])", re.ASCII)
_UNITS = {"m": "minutes", "h": "hours", "d": "days"}


def _since(text: str) -> str:
    """Return a time in the form of the audit's times, which are compared as texts."""
    try:
        if (ago := _AGO.fullmatch(text)) is not None:
            past = datetime.timedelta(**{_UNITS[ago[2]]: int(ago[1])})
            since = datetime.datetime.now(datetime.UTC) - past
        else:
            since = datetime.datetime.fromisoformat(text)
            since = since.replace(tzinfo=since.tzinfo or datetime.UTC)
        return since.astimezone(datetime.UTC).isoformat(timespec="milliseconds")
    except (ValueError, OverflowError) as error:
        raise argparse.ArgumentTypeError(
            f"{text!r} is not a time; write 24h, 7d, 2026-12-31 or 2026-12-31T08:30"
        ) from error


def _rows(text: str) -> int:
    if not text.isdecimal() or not 1 <= int(text) <= 1_000_000:
        raise argparse.ArgumentTypeError(f"{text!r} is not a number of rows")
    return int(text)


def _run(options: argparse.Namespace) -> int:
    summary, skipped, since = Summary(), 0, options.since or ""
    try:
        paths = audit_files(options)
        for path in paths:
            for record in read_records(path):
                if record is None:
                    skipped += 1
                elif text(record, audit.TIME) >= since:
                    summary.add(record)
    except AuditFileError as error:
        complain(str(error))
        return EXIT_PROBLEM
    if options.json:
        print(json.dumps(_as_json(summary, options.rows, len(paths), skipped)))
        return 0
    for line in _lines(summary, options.rows, len(paths), skipped):
        print(line.rstrip())
    return 0


_NAMES = {
    Event.REQUEST: "requests",
    Event.TUNNEL: "tunnels",
    Event.CONNECTION_REFUSED: "connections",
}


def _lines(summary: Summary, rows: int, files: int, skipped: int) -> Iterator[str]:
    ends = " to ".join(seconds(time) for time in (summary.first, summary.last) if time)
    yield f"{summary.records:,} records in {counted(files, 'file')}"
    if ends:
        yield shown(f"{ends} UTC", WIDTH)
    yield ""
    with_observed = any(counts[Verdict.OBSERVED] for _, counts in summary.verdicts())
    yield f"{'':<12} {'ALLOWED':>12} {'REFUSED':>12}" + (
        f" {'OBSERVED':>12}" if with_observed else ""
    )
    for event, counts in summary.verdicts():
        # A connection that is not refused has records of its requests instead.
        count = "-" if event is Event.CONNECTION_REFUSED else f"{counts[Verdict.ALLOW]:,}"
        observed = f" {counts[Verdict.OBSERVED]:>12,}" if with_observed else ""
        yield f"{_NAMES[event]:<12} {count:>12} {counts[Verdict.DENY]:>12,}{observed}"
    if summary.lost:
        yield f"lost         {summary.lost:>12,}  records could not be written"
    if skipped:
        yield f"skipped      {skipped:>12,}  lines are not records"
    yield from _tables(summary, rows)


def _tables(summary: Summary, rows: int) -> Iterator[str]:
    if found := summary.reasons.most(rows):
        yield from ("", _row("REASON", "REQUIREMENT", "LAST (UTC)"))
        for row in found:
            yield _row(*row.key, _time(row), count=row.count)
    if found := summary.refusals.most(rows):
        yield from ("", _row("REASON", "RULE", widths=_RULE))
        for row in found:
            reason, rule, place = row.key
            yield _row(reason, rule, count=row.count, widths=_RULE)
            # Enough to find the record, and often to understand it.
            yield from _example(row, place)
    if found := summary.observed.most(rows):
        yield ""
        yield _row("REASON", "RULE", first="OBSERVED", widths=_RULE)
        for row in found:
            reason, rule, place, line = row.key
            yield _row(reason, rule, count=row.count, widths=_RULE)
            yield from _example(row, place)
            # A line is to be copied, so it is not shortened.
            yield f"{'':<10}{shown(_allowed_by(line), audit.MAX_TEXT)}"
    if found := summary.clients.most(rows):
        yield from ("", _row("CLIENT", "LAST REASON", "LAST (UTC)"))
        for row in found:
            yield _row(row.key[0], text(row.last, audit.REASON), _time(row), count=row.count)


_TIME = (25, 23, 19)
_RULE = (25, 44)
"""Widths of columns."""


def _allowed_by(line: str) -> str:
    return f"allowed by: {line}" if line else "no policy can allow it"


def _row(
    *cells: str,
    count: int | None = None,
    first: str = "REFUSED",
    widths: tuple[int, ...] = _TIME,
) -> str:
    number = first if count is None else f"{count:,}"
    named = (
        f"{shown(cell or '-', width):<{width}}" for cell, width in zip(cells, widths, strict=True)
    )
    return f"{number:>9} {' '.join(named)}"


def _time(row: Row) -> str:
    return seconds(text(row.last, audit.TIME))


def _example(row: Row, place: str) -> Iterator[str]:
    record = row.last
    target = " ".join(filter(None, (text(record, audit.METHOD), text(record, audit.TARGET))))
    parts = [text(record, audit.REFERENCE), client(record), place, target]
    yield f"{'':<10}{shown('last: ' + ', '.join(filter(None, parts)), _INDENTED)}"
    if detail := text(record, audit.DETAIL):
        yield f"{'':<10}{shown(detail, _INDENTED)}"


_INDENTED = WIDTH - 10


# JSON


def _as_json(summary: Summary, rows: int, files: int, skipped: int) -> dict[str, object]:
    return {
        "files": files,
        "records": summary.records,
        "skipped_lines": skipped,
        "first": summary.first,
        "last": summary.last,
        audit.LOST_RECORDS: summary.lost,
        **{
            event.value: {verdict.value: count for verdict, count in counts.items()}
            for event, counts in summary.verdicts()
        },
        "reasons": _listed(summary.reasons.most(rows), audit.REASON, audit.REQUIREMENT),
        "refusals": _listed(summary.refusals.most(rows), audit.REASON, audit.RULE, "place"),
        "observed": _listed(
            summary.observed.most(rows),
            *(audit.REASON, audit.RULE, "place", audit.ALLOWED_BY),
            counted="observed",
        ),
        "clients": _listed(summary.clients.most(rows), "client"),
    }


def _listed(rows: Sequence[Row], *names: str, counted: str = "refused") -> list[dict[str, object]]:
    return [
        {
            **dict(zip(names, row.key, strict=True)),
            counted: row.count,
            "last": row.last,
        }
        for row in rows
    ]
