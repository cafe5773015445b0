"""Decide on a body: allow it, or refuse malicious content (BRIDGE-INSPECT).

The only maker of `Inspected`. The input is an authorized head and its complete body. `scan` parses
the body (`messages.ccm` inflates a zlib part) and passes its views to the engines. A body that
cannot be parsed is refused.

`inspect` does everything at once. To serve other clients meanwhile, the bridge uses two steps:

1. `inspect_small` decides on small bodies. For a larger one it returns the `Subject`.
2. Another process inspects the subject, and `conclude` decides by its `Report`, which must be about
   exactly this body.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from ibcm_bridge.decisions import rules
from ibcm_bridge.decisions.denial import Deny, NotATruthValue, Reason
from ibcm_bridge.decisions.observing import Observed
from ibcm_bridge.inspection.engines import ContentEngine
from ibcm_bridge.inspection.message_facts import MessageFacts
from ibcm_bridge.inspection.reports import Report, no_report
from ibcm_bridge.inspection.scan import read_and_scan, scep_message
from ibcm_bridge.inspection.subject import CleanBody, Subject
from ibcm_bridge.policy.bodies import Inspection
from ibcm_bridge.request.authorization import Authorized
from ibcm_bridge.uploads.session import UploadPart


@dataclass(frozen=True, slots=True)
class Inspected(NotATruthValue):
    """The inspection of this head and this body found nothing. Made in this module only."""

    authorized: Authorized
    body: bytes
    views: tuple[str, ...]
    """The scanned views, for the audit: names and sizes such as ``inflated:28672``."""
    message: MessageFacts | None
    """The facts of a CCM_POST; None for other requests."""
    missed: tuple[str, ...] = ()
    """Optional engines that failed: names and problems."""
    would_refuse: tuple[Observed, ...] = ()
    """The refusals of the head and the body that are not enforced."""


SMALL = 131_072
"""Bytes, both as sent and inflated. Parsing and scanning takes 0.6 ms for an inventory of that
size, and 4 ms for the slowest known XML (14 ms at twice the size). Other clients wait meanwhile."""

SMALL_SOAP = 32_768
"""The same for SOAP, which takes four times as long, because its fields are checked one by one."""


def inspect(
    authorized: Authorized,
    body: bytes,
    engines: Sequence[ContentEngine],
    part: UploadPart | None = None,
) -> Inspected | Deny:
    """Inspect a body of any size: every view with every engine.

    `part` is the decision on an upload's packet; an upload without it is refused.
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
    """Inspect a small body. Return the subject of a larger one, for another process."""
    subject = _subject(authorized, body, part)
    if isinstance(subject, Deny) or subject.stored is not None:
        return subject
    if subject.body and (subject.has_unlisted_type or subject.has_any_format):
        # Its format decides how long it takes.
        return subject
    if _has_views(subject) and not all(engine.in_place for engine in engines):
        return subject
    if len(body) > (SMALL if subject.body_rule.actions is None else SMALL_SOAP):
        return subject
    result = read_and_scan(subject, engines, SMALL)
    if (
        isinstance(result, Deny)
        and result.reason is Reason.INFLATED_TOO_LARGE
        and subject.body_rule.inflated_limit > SMALL
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
    """Decide on a body by the report of another process."""
    subject = _subject(authorized, body, part)
    if isinstance(subject, Deny):
        return subject
    if report.digest != subject.digest():
        return no_report("the report is about another body")
    result = report.result
    if isinstance(result, CleanBody):
        missed = {text.partition(":")[0] for text in result.missed}
        wanted = tuple(engine.identity for engine in engines if engine.name not in missed)
        if not missed <= subject.optional_engines or result.engines != wanted:
            return no_report("the report is from other engines")
        if not result.views:
            return no_report("the report has no views")
        if result.would_refuse and not subject.observing:
            return no_report("the report has refusals that must be enforced")
    return _decide(authorized, body, result)


def inspected_again(
    authorized: Authorized, body: bytes, other: Authorized, result: Inspected | Deny | None
) -> Inspected | Deny | None:
    """The result for a body by the result for another authorization of the same request.

    None if there is none, or if the body would be inspected in another way.
    """
    subject = _subject(authorized, body, None)
    if result is None or subject != _subject(other, body, None):
        return None
    if isinstance(result, Deny):
        return result
    would_refuse = authorized.would_refuse + result.would_refuse[len(other.would_refuse) :]
    return Inspected(authorized, body, result.views, result.message, result.missed, would_refuse)


def _has_views(subject: Subject) -> bool:
    """Return whether there could be any view to scan."""
    if subject.body_rule.inspection is Inspection.SCEP_QUERY:
        return bool(subject.body or scep_message(subject.query))
    return bool(subject.body)


def _subject(authorized: Authorized, body: bytes, part: UploadPart | None) -> Subject | Deny:
    announced = authorized.head.length or 0
    if len(body) != announced:
        # Otherwise the next parser would split the bytes at another place.
        return Deny(
            Reason.BODY_INCOMPLETE, rules.BODIES_LENGTH, f"{len(body)} of {announced} bytes"
        )
    if authorized.packet is not None and (part is None or part.packet != authorized.packet):
        detail = "the upload's packet was not checked against its session"
        return Deny(Reason.BRIDGE_DEFECT, rules.INSPECTION_UPLOAD, detail)
    head = authorized.head
    is_soap = authorized.body_rule.actions is not None
    return Subject(
        body_rule=authorized.body_rule,
        content_type=head.value(b"content-type") or b"",
        body=body,
        query=authorized.target.query or b"",
        user=authorized.user,
        optional_engines=authorized.role.optional_engines,
        path=authorized.target.path if is_soap else "",
        soap_action=tuple(head.values(b"soapaction")) if is_soap else (),
        whole=part is not None and part.whole,
        stored=part.stored if part is not None else None,
        observing=authorized.observing,
    )


def _decide(authorized: Authorized, body: bytes, result: CleanBody | Deny) -> Inspected | Deny:
    if isinstance(result, Deny):
        return result
    would_refuse = authorized.would_refuse + result.would_refuse
    return Inspected(authorized, body, result.views, result.message, result.missed, would_refuse)
