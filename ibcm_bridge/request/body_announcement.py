"""Checks the fields that describe the body against the table of the role."""

from __future__ import annotations

import re
from collections.abc import Sequence

from ibcm_bridge.decisions import rules
from ibcm_bridge.decisions.denial import Deny, Reason
from ibcm_bridge.decisions.observing import Observation
from ibcm_bridge.messages.soap import read_soap_type
from ibcm_bridge.policy.bodies import BodyRule, Inspection
from ibcm_bridge.policy.roles import RoleProfile
from ibcm_bridge.request.head import RequestHead, content_type_parts
from ibcm_bridge.request.target import RequestTarget


def check_body(
    profile: RoleProfile,
    body_rule: BodyRule,
    target: RequestTarget,
    head: RequestHead,
    observation: Observation,
) -> Deny | None:
    """Check the length, the media type and the depth that a head announces."""
    # RFC 8894 §4.1: only the parser of a message in the query accepts line ends.
    if target.has_line_ends and body_rule.inspection is not Inspection.SCEP_QUERY:
        return Deny(Reason.TARGET_UNSAFE, rules.TARGET_QUERY, "the query has line ends")
    if (refusal := _check_body_announcement(body_rule, head, observation)) is not None:
        return refusal
    return observation.enforce(_check_depth(profile, body_rule, head))


def _check_body_announcement(
    body_rule: BodyRule, head: RequestHead, observation: Observation
) -> Deny | None:
    name = body_rule.name
    length = head.length or 0
    if length and not body_rule.limit:
        # RFC 9110 §9.3.1: a body of a GET has no defined meaning, and can be request smuggling.
        return Deny(
            Reason.BODY_NOT_ALLOWED,
            rules.BODY_LIMIT.of(name),
            f"the request has a body of {length} bytes",
        )
    if length > body_rule.limit:
        detail = f"{length} bytes; the limit is {body_rule.limit} bytes"
        return Deny(Reason.BODY_TOO_LARGE, rules.BODY_LIMIT.of(name), detail)
    if body_rule.inspection is Inspection.ANY_FORMAT:
        return _check_readable(body_rule, head) if length else None
    if body_rule.media_types and (length or body_rule.required):
        if head.length is None:
            # protocol.md §1.2: clients always send it. Without it, the body has no known end.
            return Deny(Reason.LENGTH_REQUIRED, rules.HEAD_CONTENT_LENGTH, "no Content-Length")
        values = head.values(b"content-type")
        media_type, parameters = _content_type(values)
        if media_type not in body_rule.media_types:
            # HTTP-MULTIPART
            detail = "no Content-Type" if media_type == b"" else "empty or repeated Content-Type"
            if media_type:
                detail = f"Content-Type is {media_type.decode('latin-1')[:64]}"
            refusal = Deny(Reason.MEDIA_TYPE, rules.BODY_MEDIA_TYPES.of(name), detail)
            if (enforced := observation.enforce(refusal)) is not None:
                return enforced
            # The inspection finds the format in the body itself.
            return _check_readable(body_rule, head)
        # The inspection assumes one of these. In another encoding it would be another document.
        charsets = _CHARSETS.get(body_rule.inspection)
        if charsets is not None and parameters not in charsets:
            allowed = b", ".join(sorted(filter(None, charsets))).decode("ascii")
            detail = f"Content-Type has a parameter other than {allowed}"
            return Deny(Reason.MEDIA_TYPE, rules.BODY_CHARSET.of(name), detail)
        if body_rule.inspection is Inspection.SOAP and read_soap_type(values[0]) is None:
            detail = "Content-Type has a parameter other than charset=utf-8 (SOAP 1.2: and action)"
            return Deny(Reason.MEDIA_TYPE, rules.BODY_PARAMETERS.of(name), detail)
        # The inspection would have to decode it, and no ConfigMgr client sends one.
        if head.values(b"content-encoding"):
            return Deny(
                Reason.MEDIA_TYPE,
                rules.BODY_CONTENT_ENCODING.of(name),
                "the request body has a Content-Encoding",
            )
    return None


def _check_readable(body_rule: BodyRule, head: RequestHead) -> Deny | None:
    """Refuse a coding or a charset that the inspection of an unlisted media type cannot read."""
    name = body_rule.name
    if head.values(b"content-encoding"):
        detail = "the request body has a Content-Encoding"
        return Deny(Reason.MEDIA_TYPE, rules.BODY_CONTENT_ENCODING.of(name), detail)
    _, parameters = _content_type(head.values(b"content-type"))
    charsets = [value.strip() for value in _CHARSET.findall(parameters)]
    allowed = _READABLE.get(body_rule.inspection, _ANY_READABLE)
    if b"charset" in parameters and not (charsets and allowed.issuperset(charsets)):
        detail = f"Content-Type has a charset other than {b', '.join(sorted(allowed)).decode()}"
        return Deny(Reason.MEDIA_TYPE, rules.BODY_CHARSET.of(name), detail)
    return None


_CHARSET = re.compile(rb"charset\*?=([^;]*)")
_ANY_READABLE = frozenset((b"utf-8", b"us-ascii", b"utf-16", b"utf-16le"))
_READABLE = dict.fromkeys(
    (Inspection.PROPFIND, Inspection.SOAP, Inspection.FORM), frozenset((b"utf-8", b"us-ascii"))
)
"""The charsets in which the inspection reads a body of an unlisted type."""


def _check_depth(profile: RoleProfile, body_rule: BodyRule, head: RequestHead) -> Deny | None:
    # RFC 4918 §9.1, §10.2: without Depth the depth is infinity, which is allowed.
    values = [value.lower() for value in head.values(b"depth")]
    if not body_rule.depths or not values or (len(values) == 1 and values[0] in body_rule.depths):
        return None
    allowed = b", ".join(sorted(body_rule.depths)).decode("ascii")
    return Deny(
        Reason.HEADER,
        rules.BODY_DEPTHS.of(body_rule.name),
        f"Depth is not one of {allowed}",
        profile.headers_requirement,
    )


_UTF_8 = frozenset((b"", b"charset=utf-8"))

_CHARSETS = {
    Inspection.PROPFIND: _UTF_8,
    Inspection.XML_TEXT: _UTF_8 | {b"charset=utf-16", b"charset=utf-16le"},
}


def _content_type(values: Sequence[bytes]) -> tuple[bytes | None, bytes]:
    """Media type and parameters. The media type is empty without Content-Type, and None if the
    field is repeated or empty."""
    if not values:
        return b"", b""
    media_type, parameters = content_type_parts(values[0])
    return (media_type if len(values) == 1 and media_type else None), parameters
