"""Is there malicious content in this body? (BRIDGE-INSPECT)

The only maker of `Inspected`. What `authorization` allowed and the whole body go in; `readers`
reads the body and shows it to the engines. A body that cannot be read is refused, never waved
through.

`inspect` does it all. A bridge that serves others meanwhile takes two steps:

1. `inspect_small` decides on what is small, sent and inflated, and hands back the `Subject` of
   anything larger;
2. another process looks at that, and `conclude` decides by its `Report`, which must be about this
   very body.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from ibcm_bridge.decisions import rules
from ibcm_bridge.decisions.denial import Deny, NotATruthValue, Reason
from ibcm_bridge.inspection.engines import ContentEngine
from ibcm_bridge.inspection.message_facts import MessageFacts
from ibcm_bridge.inspection.readers import read_and_scan, scep_message
from ibcm_bridge.inspection.reports import Report, no_report
from ibcm_bridge.inspection.subject import CleanBody, Subject
from ibcm_bridge.policy.bodies import Inspection
from ibcm_bridge.request.authorization import Authorized
from ibcm_bridge.uploads.session import UploadPart


@dataclass(frozen=True, slots=True)
class Inspected(NotATruthValue):
    """Nothing malicious is in this head and this body. Made by `inspection` only."""

    authorized: Authorized
    body: bytes
    views: tuple[str, ...]
    """What was looked at, for the audit: names and sizes such as ``inflated:28672``."""
    message: MessageFacts | None
    """Of a CCM_POST, what it says of itself."""
    missed: tuple[str, ...] = ()
    """Engines that failed, where the policy lets that pass: name and why."""


SMALL = 131_072
"""Bytes, sent and inflated. Reading and scanning an inventory of that size takes 0.6 ms, the
slowest XML that was found 4 ms (twice the size: 14 ms); nobody else is served meanwhile."""

SMALL_SOAP = 32_768
"""The same of SOAP, whose fields are looked at one by one, which takes four times as long."""


def inspect(
    authorized: Authorized,
    body: bytes,
    engines: Sequence[ContentEngine],
    part: UploadPart | None = None,
) -> Inspected | Deny:
    """Look into a body of any size, every view with every engine.

    `part` is what a packet carries of an upload; without, an upload is refused.
    """
    subject = _subject(authorized, body, part)
    if isinstance(subject, Deny):
        return subject
    return _decide(authorized, body, read_and_scan(subject, engines))


def inspect_small(
    authorized: Authorized,
    body: bytes,
    engines: Sequence[ContentEngine],
    part: UploadPart | None = None,
) -> Inspected | Deny | Subject:
    """As `inspect`; of what is larger than small, the subject to be looked at elsewhere."""
    subject = _subject(authorized, body, part)
    if isinstance(subject, Deny) or subject.stored is not None:
        return subject
    if _has_views(subject) and not all(engine.in_place for engine in engines):
        return subject
    if len(body) > (SMALL if subject.rule.actions is None else SMALL_SOAP):
        return subject
    result = read_and_scan(subject, engines, SMALL)
    if (
        isinstance(result, Deny)
        and result.reason is Reason.INFLATED_TOO_LARGE
        and subject.rule.inflated_limit > SMALL
    ):
        return subject
    return _decide(authorized, body, result)


def conclude(
    authorized: Authorized,
    body: bytes,
    engines: Sequence[ContentEngine],
    report: Report,
    part: UploadPart | None = None,
) -> Inspected | Deny:
    """Decide by the report of another process."""
    subject = _subject(authorized, body, part)
    if isinstance(subject, Deny):
        return subject
    if report.digest != subject.digest():
        return no_report("a report about another body")
    result = report.result
    if isinstance(result, CleanBody):
        missed = {text.partition(":")[0] for text in result.missed}
        wanted = tuple(engine.identity for engine in engines if engine.name not in missed)
        if not missed <= subject.optional_engines or result.engines != wanted:
            return no_report("other engines have looked")
        if not result.views:
            return no_report("nothing was looked at")
    return _decide(authorized, body, result)


def _has_views(subject: Subject) -> bool:
    """Whether there could be anything to show to an engine."""
    if subject.rule.inspection is Inspection.SCEP_QUERY:
        return bool(subject.body or scep_message(subject.query))
    return bool(subject.body)


def _subject(authorized: Authorized, body: bytes, part: UploadPart | None) -> Subject | Deny:
    announced = authorized.head.length or 0
    if len(body) != announced:
        # The framing said otherwise: forwarding would let the next parser split it elsewhere.
        return Deny(
            Reason.BODY_INCOMPLETE, rules.BODIES_LENGTH, f"{len(body)} of {announced} bytes"
        )
    if authorized.packet is not None and (part is None or part.packet != authorized.packet):
        detail = "what it carries of an upload has not been decided on"
        return Deny(Reason.BRIDGE_DEFECT, rules.INSPECTION_UPLOAD, detail)
    head = authorized.head
    is_soap = authorized.body_rule.actions is not None
    return Subject(
        rule=authorized.body_rule,
        content_type=head.value(b"content-type") or b"",
        body=body,
        query=authorized.target.query or b"",
        user=authorized.user,
        optional_engines=authorized.role.optional_engines,
        path=authorized.target.path if is_soap else "",
        soap_action=tuple(head.values(b"soapaction")) if is_soap else (),
        whole=part is not None and part.whole,
        stored=part.stored if part is not None else None,
    )


def _decide(authorized: Authorized, body: bytes, result: CleanBody | Deny) -> Inspected | Deny:
    if isinstance(result, Deny):
        return result
    return Inspected(authorized, body, result.views, result.message, result.missed)
