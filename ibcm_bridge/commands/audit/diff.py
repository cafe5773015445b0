"""`ibcm-bridge audit diff`: what the policy of `run --shadow` judges in another way."""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterator

from ibcm_bridge.audit import record as audit
from ibcm_bridge.audit.differences import Change, Differences
from ibcm_bridge.audit.record import Verdict
from ibcm_bridge.audit.shadow import Unjudged
from ibcm_bridge.audit.summary import Row, client, text
from ibcm_bridge.commands.audit.files import (
    WIDTH,
    add_files,
    audit_files,
    complain,
    read_records,
    shown,
)
from ibcm_bridge.commands.common import EXIT_PROBLEM, Subcommands, counted
from ibcm_bridge.storage.audit_files import AuditFileError

_ROWS = 10


def add(actions: Subcommands) -> None:
    parser = actions.add_parser(
        "diff",
        help="count the requests that another policy judges in another way",
        description="Sum up what the policy of `run --shadow` would change, by publication, reason "
        "and rule, with an example of each. Exit status: 0 done, 1 a file cannot be read, 2 usage "
        "error.",
    )
    add_files(parser)
    parser.add_argument(
        "--rows", type=int, default=_ROWS, metavar="N", help=f"rows of a table (default: {_ROWS})"
    )
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    parser.set_defaults(run=_run)


def _run(options: argparse.Namespace) -> int:
    differences = Differences()
    try:
        paths = audit_files(options)
        for path in paths:
            for record in read_records(path):
                differences.add(record)
    except AuditFileError as error:
        complain(str(error))
        return EXIT_PROBLEM
    if options.json:
        print(json.dumps(difference_fields(differences, options.rows)))
    else:
        for line in difference_lines(differences, options.rows, len(paths)):
            print(line.rstrip())
    return 0


_HEADINGS = {
    Change.REFUSED: "WOULD BE REFUSED",
    Change.ALLOWED: "WOULD BE ALLOWED",
    Change.OTHER: "ANOTHER REASON",
}
_NOT_JUDGED = {
    Unjudged.BODY: "without a judgement of the body",
    Unjudged.UPLOAD: "without a judgement of the uploaded data",
    Unjudged.IDENTITY: "without a judgement of the client GUID and the signatures",
}
_INDENT = " " * 10


def difference_lines(differences: Differences, rows: int, files: int) -> Iterator[str]:
    yield f"{differences.requests:,} requests in {counted(files, 'file')}"
    yield f"{differences.different:,} with another outcome under the other policy"
    for part, words in _NOT_JUDGED.items():
        if count := differences.not_judged[part]:
            yield f"{count:,} {words}"
    if differences.skipped:
        yield f"{counted(differences.skipped, 'line')} skipped: no record"
    for change, found in differences.most(rows):
        yield ""
        yield _HEADINGS[change]
        for row in found:
            yield from _row_lines(row)


def _row_lines(row: Row) -> Iterator[str]:
    publication, *outcomes = row.key
    now, then = _outcome(*outcomes[:3]), _outcome(*outcomes[3:])
    yield shown(f"{row.count:>9,} {publication or '-'}", WIDTH)
    yield f"{_INDENT}{shown(f'now:  {now}', WIDTH - len(_INDENT))}"
    yield f"{_INDENT}{shown(f'then: {then}', WIDTH - len(_INDENT))}"
    record = row.last
    target = " ".join(filter(None, (text(record, audit.METHOD), text(record, audit.TARGET))))
    parts = [text(record, audit.REFERENCE), client(record), target]
    yield f"{_INDENT}{shown('last: ' + ', '.join(filter(None, parts)), WIDTH - len(_INDENT))}"
    if detail := text(record, audit.DETAIL):
        yield f"{_INDENT}{shown(detail, WIDTH - len(_INDENT))}"


def _outcome(verdict: str, reason: str, rule: str) -> str:
    return verdict if verdict == Verdict.ALLOW else f"{verdict} {reason}, by {rule}"


# JSON

_NAMES = (audit.VERDICT, audit.REASON, audit.RULE)


def difference_fields(differences: Differences, rows: int) -> dict[str, object]:
    found = dict(differences.most(rows))
    return {
        "requests": differences.requests,
        "different": differences.different,
        "skipped": differences.skipped,
        "not_judged": {part.value: differences.not_judged[part] for part in Unjudged},
        **{change.value: [_json_row(row) for row in found.get(change, ())] for change in Change},
    }


def _json_row(row: Row) -> dict[str, object]:
    publication, *outcomes = row.key
    return {
        audit.SERVER_NAME: publication,
        "requests": row.count,
        "now": dict(zip(_NAMES, outcomes[:3], strict=True)),
        "then": dict(zip(_NAMES, outcomes[3:], strict=True)),
        "last": row.last,
    }
