"""What a worker says of a body it was given: one line of JSON.

JSON, because a worker takes apart what a stranger sent: should that ever subvert it, the bridge
reads values from it and nothing that runs. `conclude` holds the report against the body.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

from ibcm_bridge.decisions import Deny, Reason
from ibcm_bridge.inspection.looking import Findings

MAX_TEXT = 512
MAX_VIEWS = 16
MAX_LINE = 32_768
"""Bytes of a report: all its texts at their longest, escaped."""


class ReportError(ValueError):
    """A line that is no report."""


@dataclass(frozen=True, slots=True)
class Report:
    """What was seen in the subject with this digest."""

    digest: str
    seen: Findings | Deny


def no_report(detail: str) -> Deny:
    """What a body is refused with that nobody has reported on as they should."""
    return Deny(Reason.ENGINE_UNAVAILABLE, "inspection.workers", detail)


def write_report(report: Report) -> bytes:
    """As one line."""
    seen = report.seen
    said: dict[str, Any] = {"digest": report.digest}
    if isinstance(seen, Deny):
        said["deny"] = [seen.reason.value, *_bounded(seen.rule, seen.detail, seen.requirement)]
    else:
        said["views"] = list(seen.views)
        said["endpoint"] = seen.endpoint[:MAX_TEXT]
        said["engines"] = list(seen.engines)
    return json.dumps(said).encode() + b"\n"


def read_report(line: bytes) -> Report:
    """ReportError for a line that `write_report` has not written."""
    try:
        said = json.loads(line)
        digest = _text(said.pop("digest"))
        if said.keys() == {"deny"}:
            reason, rule, detail, requirement = map(_text, said["deny"])
            return Report(digest, Deny(Reason(reason), rule, detail, requirement))
        if said.keys() != {"views", "endpoint", "engines"}:
            raise ReportError("neither findings nor a refusal")
        found = Findings(_texts(said["views"]), _text(said["endpoint"]), _texts(said["engines"]))
        return Report(digest, found)
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise ReportError("not a report") from error


def _bounded(*texts: str) -> list[str]:
    return [text[:MAX_TEXT] for text in texts]


def _text(value: object) -> str:
    if not isinstance(value, str) or len(value) > MAX_TEXT:
        raise ReportError("not a text")
    return value


def _texts(values: object) -> tuple[str, ...]:
    if not isinstance(values, list) or len(values) > MAX_VIEWS:
        raise ReportError("not a list of texts")
    return tuple(map(_text, values))
