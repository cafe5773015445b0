"""`ibcm-bridge explain --audit`: what a policy judges in another way than the audit."""

from __future__ import annotations

import argparse
import json
import textwrap
from collections import Counter
from collections.abc import Iterator

from ibcm_bridge.audit import record as audit
from ibcm_bridge.audit.differences import Change, Differences
from ibcm_bridge.audit.record import Verdict
from ibcm_bridge.audit.summary import Fields, text
from ibcm_bridge.commands.audit.diff import difference_fields, difference_lines
from ibcm_bridge.commands.audit.files import WIDTH, complain, read_records
from ibcm_bridge.commands.common import EXIT_PROBLEM, EXIT_USAGE
from ibcm_bridge.commands.explain.recorded import Unknown, judge_again
from ibcm_bridge.policy.policy import Policy
from ibcm_bridge.storage.audit_files import AuditFileError, with_rotated

_ROWS = 10

_NEVER = (
    "of all: header fields except dropped ones, trust of certificates, limits, malware, responses"
)


def explain_audit(policy: Policy, options: argparse.Namespace) -> int:
    """Judge the recorded requests, and print what differs. Return the exit status."""
    differences, unknown = Differences(), Counter[Unknown]()
    try:
        paths = with_rotated(options.audit)
        for path in paths:
            for record in read_records(path):
                if record is None:
                    differences.add(None)
                else:
                    _add(policy, record, differences, unknown)
    except AuditFileError as error:
        complain(str(error))
        return EXIT_USAGE
    if options.json:
        not_known = {kind.name.lower(): count for kind, count in unknown.items()}
        print(json.dumps({**difference_fields(differences, _ROWS), "not_known": not_known}))
    else:
        for line in (*difference_lines(differences, _ROWS, len(paths)), *_unknown_lines(unknown)):
            print(line.rstrip())
    # An observed request counts as refused, unless its record proves the opposite.
    refused = bool(differences.rows[Change.REFUSED].most(1)) or unknown[Unknown.ONLY_OBSERVED] > 0
    return EXIT_PROBLEM if refused else 0


def _add(
    policy: Policy, record: Fields, differences: Differences, unknown: Counter[Unknown]
) -> None:
    again = judge_again(policy, record)
    if again is None:
        return
    if again.unknown is not None:
        unknown[again.unknown] += 1
    found = audit.shadow_field(again.outcome)
    differs = found is not None and _compared(found) != _compared(record)
    differences.add({**record, audit.SHADOW: found if differs else None})


def _compared(fields: Fields) -> tuple[str, ...]:
    """The verdict, and the reason and the rule of a refusal. The rule of `allow` is a verb."""
    verdict = text(fields, audit.VERDICT)
    if verdict == Verdict.ALLOW:
        return (verdict,)
    return verdict, text(fields, audit.REASON), text(fields, audit.RULE)


def _unknown_lines(unknown: Counter[Unknown]) -> Iterator[str]:
    yield ""
    yield "NOT KNOWN FROM THE AUDIT"
    for kind, count in unknown.most_common():
        yield from _folded(f"{count:>9,}", kind)
    yield from _folded(" " * 9, _NEVER)


def _folded(first: str, words: str) -> list[str]:
    return textwrap.wrap(words, WIDTH, initial_indent=f"{first} ", subsequent_indent=" " * 10)
