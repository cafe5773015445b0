"""A worker's report on a body: one line of JSON.

A worker parses bytes from the Internet. If it is ever compromised, JSON gives the bridge only
values and no code. `verdict.conclude` compares the report with the body.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from typing import Any

from ibcm_bridge.decisions import rules
from ibcm_bridge.decisions.denial import Deny, Reason
from ibcm_bridge.decisions.observing import MOST, Observed, observed
from ibcm_bridge.inspection.message_facts import MessageFacts
from ibcm_bridge.inspection.subject import CleanBody
from ibcm_bridge.messages.registration import Registration

MAX_TEXT = 4_096
"""Characters of a text. A signature of 8,192 bits has 2,048 in hexadecimal, its key some more. A
longer text is not a valid client GUID or signature, and neither is its beginning."""

MAX_TEXTS = 64
MAX_SCANS = 4_096
"""Scans of one engine in a report. An archive has up to 1,000 members; later scans are left out."""

MAX_LINE = 8_388_608
"""Bytes of a report: the maximum of all its texts, escaped."""


class ReportError(ValueError):
    """A line is not a report."""


@dataclass(frozen=True, slots=True)
class Report:
    """The result of inspecting the subject with this digest."""

    digest: str
    result: CleanBody | Deny
    scan_seconds: Mapping[str, tuple[float, ...]] = field(default_factory=dict)
    """Name of an engine -> the time of each scan of a view. For the metrics only."""


def no_report(detail: str) -> Deny:
    """The refusal of a body without a valid report."""
    return Deny(Reason.ENGINE_UNAVAILABLE, rules.INSPECTION_WORKERS, detail)


def write_report(report: Report) -> bytes:
    """Serialize a report as one line."""
    result = report.result
    seconds = {
        engine: [round(each, 6) for each in scans[:MAX_SCANS]]
        for engine, scans in report.scan_seconds.items()
    }
    values: dict[str, Any] = {"digest": report.digest, "scan_seconds": seconds}
    if isinstance(result, Deny):
        values["deny"] = _denial_fields(result)
    else:
        values["views"] = list(result.views)
        values["message"] = _message_fields(result.message) if result.message is not None else None
        values["engines"] = list(result.engines)
        values["missed"] = _bounded(*result.missed)
        values["would_refuse"] = [
            [*_denial_fields(finding.denial), *_bounded(*finding.denial.names)]
            for finding in result.would_refuse
        ]
    return json.dumps(values).encode() + b"\n"


def read_report(line: bytes) -> Report:
    """Parse a line of `write_report`. Raises ReportError."""
    try:
        values = json.loads(line)
        digest = _text(values.pop("digest"))
        seconds = _scan_seconds(values.pop("scan_seconds"))
        if values.keys() == {"deny"}:
            return Report(digest, _denial(values["deny"]), seconds)
        if values.keys() != {"views", "message", "engines", "missed", "would_refuse"}:
            raise ReportError("neither a clean body nor a refusal")
        message = values["message"]
        facts = _message(message) if message is not None else None
        engines, missed = _texts(values["engines"]), _texts(values["missed"])
        would_refuse = _findings(values["would_refuse"])
        found = CleanBody(_texts(values["views"]), facts, engines, missed, would_refuse)
        return Report(digest, found, seconds)
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise ReportError("not a report") from error


def _scan_seconds(values: Any) -> dict[str, tuple[float, ...]]:
    if len(values) > MAX_TEXTS or any(len(scans) > MAX_SCANS for scans in values.values()):
        raise ReportError("too many scans")
    return {_text(engine): tuple(map(_seconds, scans)) for engine, scans in values.items()}


def _seconds(value: object) -> float:
    # Also neither infinite nor NaN, which the metrics would keep.
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value < 86_400:
        raise ReportError("not a time")
    return float(value)


def _denial_fields(denial: Deny) -> list[str]:
    return [denial.reason.value, *_bounded(denial.rule, denial.detail, denial.requirement)]


def _denial(values: object) -> Deny:
    reason, rule, detail, requirement, *names = _texts(values)
    return Deny(Reason(reason), rules.Rule(rule), detail, requirement, names=tuple(names))


def _findings(values: Any) -> tuple[Observed, ...]:
    found = [observed(_denial(texts)) for texts in values]
    if len(found) > MOST or None in found:
        raise ReportError("a refusal that must be enforced")
    return tuple(filter(None, found))


def _message_fields(message: MessageFacts) -> dict[str, Any]:
    registration = message.registration
    return {
        "endpoint": message.endpoint[:MAX_TEXT],
        "roots": _bounded(*message.roots),
        "anonymous": message.anonymous,
        "encrypted": message.encrypted,
        "source_id": message.source_id[:MAX_TEXT],
        "client_guids": [_bounded(*pair) for pair in message.client_guids],
        "mentioned": list(message.mentioned),
        "signature": [_bounded(*pair) for pair in message.signature],
        "payload": list(message.payload),
        "registration": [registration.key.hex(), registration.proven] if registration else None,
    }


def _message(values: Any) -> MessageFacts:
    if values.keys() != _MESSAGE_KEYS:
        raise ReportError("not the facts of a message")
    begin, end = map(_number, values["payload"])
    registration = None
    if values["registration"] is not None:
        key, proven = values["registration"]
        registration = Registration(bytes.fromhex(_text(key)), _flag(proven))
    return MessageFacts(
        endpoint=_text(values["endpoint"]),
        roots=_texts(values["roots"]),
        anonymous=_flag(values["anonymous"]),
        encrypted=_flag(values["encrypted"]),
        source_id=_text(values["source_id"]),
        client_guids=_pairs(values["client_guids"]),
        mentioned=_texts(values["mentioned"]),
        signature=_pairs(values["signature"]),
        payload=(begin, end),
        registration=registration,
    )


_MESSAGE_KEYS = frozenset(field.name for field in fields(MessageFacts))


def _bounded(*texts: str) -> list[str]:
    return [text[:MAX_TEXT] for text in texts]


def _text(value: object) -> str:
    if not isinstance(value, str) or len(value) > MAX_TEXT:
        raise ReportError("not a text")
    return value


def _flag(value: object) -> bool:
    if not isinstance(value, bool):
        raise ReportError("neither true nor false")
    return value


def _number(value: object) -> int:
    if not isinstance(value, int) or isinstance(value, bool) or value < 0:
        raise ReportError("not a number")
    return value


def _texts(values: object) -> tuple[str, ...]:
    if not isinstance(values, list) or len(values) > MAX_TEXTS:
        raise ReportError("not a list of texts")
    return tuple(map(_text, values))


def _pairs(values: Any) -> tuple[tuple[str, str], ...]:
    pairs = [_texts(pair) for pair in values]
    if len(pairs) > MAX_TEXTS or any(len(pair) != 2 for pair in pairs):
        raise ReportError("not a list of pairs")
    return tuple((name, value) for name, value in pairs)
