"""What a head announces of its body, held against the role's table."""

from __future__ import annotations

from collections.abc import Sequence

from ibcm_bridge.decisions import rules
from ibcm_bridge.decisions.denial import Deny, Reason
from ibcm_bridge.messages.soap import read_soap_type
from ibcm_bridge.policy.bodies import BodyRule, Inspection
from ibcm_bridge.policy.roles import RoleProfile
from ibcm_bridge.request.head import RequestHead, content_type_parts
from ibcm_bridge.request.target import RequestTarget


def check_body(
    profile: RoleProfile, body_rule: BodyRule, target: RequestTarget, head: RequestHead
) -> Deny | None:
    # RFC 8894 §4.1: only the reader of a message in the query reads its line ends.
    if target.in_lines and body_rule.inspection is not Inspection.SCEP_QUERY:
        return Deny(Reason.TARGET_UNSAFE, rules.TARGET_QUERY, "line ends in the query")
    if (refusal := _check_body_announcement(body_rule, head)) is not None:
        return refusal
    return _check_depth(profile, body_rule, head)


def _check_body_announcement(body_rule: BodyRule, head: RequestHead) -> Deny | None:
    name = body_rule.name
    length = head.length or 0
    if length > body_rule.limit:
        detail = f"{length} of at most {body_rule.limit} bytes"
        if not body_rule.limit:
            detail = "a body where none belongs"
        return Deny(Reason.BODY_TOO_LARGE, rules.BODY_LIMIT.of(name), detail)
    if body_rule.media_types and (length or body_rule.required):
        if head.length is None:
            # protocol.md §1.2: clients always send it; without it the body cannot be bounded.
            return Deny(Reason.LENGTH_REQUIRED, rules.HEAD_CONTENT_LENGTH, "no Content-Length")
        values = head.values(b"content-type")
        media_type, parameters = _content_type(values)
        if media_type not in body_rule.media_types:
            # HTTP-MULTIPART
            detail = "no Content-Type" if media_type == b"" else "not one Content-Type"
            if media_type:
                detail = f"Content-Type is {media_type.decode('latin-1')[:64]}"
            return Deny(Reason.MEDIA_TYPE, rules.BODY_MEDIA_TYPES.of(name), detail)
        # Inspected in these, so another encoding would be another document.
        charsets = _CHARSETS.get(body_rule.inspection)
        if charsets is not None and parameters not in charsets:
            named = b", ".join(sorted(filter(None, charsets))).decode("ascii")
            return Deny(Reason.MEDIA_TYPE, rules.BODY_CHARSET.of(name), f"a parameter but {named}")
        if body_rule.inspection is Inspection.SOAP and read_soap_type(values[0]) is None:
            detail = "a parameter but charset=utf-8, and action in SOAP 1.2"
            return Deny(Reason.MEDIA_TYPE, rules.BODY_PARAMETERS.of(name), detail)
        # A coded body would have to be decoded to be inspected; no ConfigMgr client sends one.
        if head.values(b"content-encoding"):
            return Deny(
                Reason.MEDIA_TYPE, rules.BODY_CONTENT_ENCODING.of(name), "a coded request body"
            )
    return None


def _check_depth(profile: RoleProfile, body_rule: BodyRule, head: RequestHead) -> Deny | None:
    # RFC 4918 §9.1, §10.2: none means infinity, and so is no other request.
    values = [value.lower() for value in head.values(b"depth")]
    if not body_rule.depths or not values or (len(values) == 1 and values[0] in body_rule.depths):
        return None
    named = b", ".join(sorted(body_rule.depths)).decode("ascii")
    return Deny(
        Reason.HEADER,
        rules.BODY_DEPTHS.of(body_rule.name),
        f"not one Depth of {named}",
        profile.headers_requirement,
    )


_UTF_8 = frozenset((b"", b"charset=utf-8"))

_CHARSETS = {
    Inspection.PROPFIND: _UTF_8,
    Inspection.XML_TEXT: _UTF_8 | {b"charset=utf-16", b"charset=utf-16le"},
}


def _content_type(values: Sequence[bytes]) -> tuple[bytes | None, bytes]:
    """Media type and parameters. Empty where there is none; None where there are several, or an
    empty one."""
    if not values:
        return b"", b""
    media_type, parameters = content_type_parts(values[0])
    return (media_type if len(values) == 1 and media_type else None), parameters
