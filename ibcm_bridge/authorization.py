"""May this client send this request head to this publication?

The checks run in the order in which their answers are least surprising: what the request *is*
before what it asks for. Each cites the requirement it enforces.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from urllib.parse import unquote

from ibcm_bridge.decisions import Authorized, Deny, Reason
from ibcm_bridge.identity import AnonymousClient, Client, may_be_anonymous
from ibcm_bridge.messages.soap import read_soap_type
from ibcm_bridge.policy import HttpPublication, PublishedRole, UnlistedHeaders
from ibcm_bridge.request_head import RequestHead, content_type_parts
from ibcm_bridge.request_target import RequestTarget, read_request_target
from ibcm_bridge.roles import BodyRule, Inspection, NeverPublished, Resource, RoleProfile
from ibcm_bridge.routing import published_role
from ibcm_bridge.uploads.packet import Packet, read_packet

_OF_THIS_LEG = frozenset((b"connection", b"keep-alive", b"proxy-connection", b"expect"))
"""Fields for the bridge itself (RFC 9110 §7.6.1, §10.1.1): never sent on, and not counted as
unlisted fields that were dropped."""

_PORT = re.compile(r"[0-9]{0,5}")
_ONE_RANGE = rb"(?:[0-9]{1,18}-[0-9]{0,18}|-[0-9]{1,18})"
_RANGE = re.compile(rb"bytes=%b(?:, ?%b){0,15}" % (_ONE_RANGE, _ONE_RANGE))
"""RFC 9110 §14.1.2, bounded: BITS asks for a few ranges; numbers near 2^64 have broken HTTP.sys."""

_CONNECTION_OPTIONS = frozenset((b"close", b"keep-alive"))
"""Any other option names a field to remove, and choosing that is not the client's business."""


def authorize(
    client: Client,
    publication: HttpPublication,
    never: NeverPublished,
    head: RequestHead,
) -> Authorized | Deny:
    """Decide on a head. `client` is proof that its certificate was verified and accepted.

    Or, where the publication's certificate policy says so, that none was needed.
    """
    # A client authenticated for one publication has not been authenticated for another.
    if client.publication != publication.name:
        return Deny(Reason.BRIDGE_DEFECT, "client.publication", "authenticated elsewhere")
    if isinstance(client, AnonymousClient) and not may_be_anonymous(publication):
        return Deny(Reason.BRIDGE_DEFECT, "client.certificate", "not authenticated")

    # RFC 9112 §3.2: one name for the certificate and for the request.
    if (refusal := _check_host(publication, head)) is not None:
        return refusal
    if (refusal := _check_connection_fields(head)) is not None:
        return refusal

    target = read_request_target(head.target)
    if isinstance(target, Deny):
        return target
    role = published_role(publication, target, never)
    if isinstance(role, Deny):
        return role

    body_rule = _body_rule(role.profile, head)
    if isinstance(body_rule, Deny):
        return body_rule
    rows = _resources(role.profile, target, head)
    if isinstance(rows, Deny):
        return rows
    # RFC 8894 §4.1: who takes a message from the query reads its lines; nobody else may.
    if target.in_lines and body_rule.inspection is not Inspection.SCEP_QUERY:
        return Deny(Reason.TARGET_UNSAFE, "target.query", "line ends in the query")
    if (refusal := _check_body_announcement(body_rule, head)) is not None:
        return refusal
    if (refusal := _check_depth(role.profile, body_rule, head)) is not None:
        return refusal
    # As it was sent: a field that is taken out may still say what the packet is not.
    is_upload = body_rule.inspection is Inspection.BITS_UPLOAD
    packet = read_packet(head) if is_upload else None
    if isinstance(packet, Deny):
        return packet
    return _with_listed_fields(publication, role, target, body_rule, head, rows=rows, packet=packet)


def _check_host(publication: HttpPublication, head: RequestHead) -> Deny | None:
    hosts = head.values(b"host")
    if len(hosts) != 1:
        return Deny(Reason.HOST_MISMATCH, "head.host", f"{len(hosts)} Host fields")
    name, _, port = hosts[0].decode("latin-1").lower().partition(":")
    if name != publication.name or not _PORT.fullmatch(port):
        return Deny(
            Reason.HOST_MISMATCH, "head.host", f"Host {name[:255]!r} is not the server name"
        )
    return None


def _body_rule(profile: RoleProfile, head: RequestHead) -> BodyRule | Deny:
    # VERB-MP, VERB-DP: compared as bytes, so "ccm_post" is another verb.
    body_rule = profile.bodies.get(head.method)
    verb, cites = head.method[:32].decode("ascii"), profile.verbs_requirement
    if body_rule is None:
        return Deny(
            Reason.VERB,
            f"{profile.name}.verbs",
            f"{verb} is not a verb of this role",
            cites,
            _names(profile.bodies),
        )
    return body_rule


def _resources(
    profile: RoleProfile, target: RequestTarget, head: RequestHead
) -> list[Resource] | Deny:
    """The rows that this request is about."""
    if (refusal := _check_extensions(profile, target)) is not None:
        return refusal
    directory = profile.directories[target.directory]
    path = target.below
    query = None if target.query is None else unquote(target.query.decode("ascii"))
    rule = f"{profile.name}.directories.{directory.name}"
    found = [one for one in directory.resources if one.has(path, query)]
    if not found:
        return Deny(Reason.RESOURCE, rule, f"/{directory.name}/{path[:128]} is not published")
    refused = next((one.refused for one in found if one.refused), "")
    if refused:
        return Deny(Reason.RESOURCE, rule, "not over the Internet", refused)
    if (refusal := _check_dots(profile, target)) is not None:
        return refusal
    methods = frozenset[bytes]().union(*(one.methods for one in found))
    if head.method not in methods:
        verb = head.method[:32].decode("ascii")
        return Deny(
            Reason.VERB,
            rule,
            f"{verb} is not a verb of this resource",
            profile.verbs_requirement,
            _names(methods),
        )
    return found


def _check_extensions(profile: RoleProfile, target: RequestTarget) -> Deny | None:
    # Of any name and not only the last: path info, and servers that go by the first (x.asp.cab).
    for name in target.segments:
        for extension in name.lower().split(".")[1:]:
            if f".{extension}" in profile.denied_extensions:
                rule, detail = f"{profile.name}.denied_extensions", f"a name with .{extension}"
                return Deny(Reason.RESOURCE, rule, detail, profile.verbs_requirement)
    return None


def _check_dots(profile: RoleProfile, target: RequestTarget) -> Deny | None:
    dots = [name.count(".") for name in target.segments]
    if profile.dots_in_path or (not any(dots[:-1]) and dots[-1] <= 1):
        return None
    rule, detail = f"{profile.name}.dots_in_path", "a dot but that of the extension"
    return Deny(Reason.RESOURCE, rule, detail, profile.verbs_requirement)


def _names(methods: Iterable[bytes]) -> tuple[str, ...]:
    return tuple(sorted(method.decode("ascii") for method in methods))


def _check_body_announcement(body_rule: BodyRule, head: RequestHead) -> Deny | None:
    rule = f"bodies.{body_rule.name}"
    length = head.length or 0
    if length > body_rule.limit:
        detail = f"{length} of at most {body_rule.limit} bytes"
        if not body_rule.limit:
            detail = "a body where none belongs"
        return Deny(Reason.BODY_TOO_LARGE, f"{rule}.limit", detail)
    if body_rule.media_types and (length or body_rule.required):
        if head.length is None:
            # protocol.md §1.2: clients always send it; without it the body cannot be bounded.
            return Deny(Reason.LENGTH_REQUIRED, "head.content-length", "no Content-Length")
        values = head.values(b"content-type")
        media_type, parameters = _content_type(values)
        if media_type not in body_rule.media_types:
            # HTTP-MULTIPART
            named = (media_type or b"none, or not one").decode("latin-1")[:64]
            return Deny(Reason.MEDIA_TYPE, f"{rule}.media_types", f"Content-Type is {named}")
        # Inspected in these, so another encoding would be another document.
        charsets = _CHARSETS.get(body_rule.inspection)
        if charsets is not None and parameters not in charsets:
            named = b", ".join(sorted(filter(None, charsets))).decode("ascii")
            return Deny(Reason.MEDIA_TYPE, f"{rule}.charset", f"a parameter but {named}")
        if body_rule.inspection is Inspection.SOAP and read_soap_type(values[0]) is None:
            detail = "a parameter but charset=utf-8, and action in SOAP 1.2"
            return Deny(Reason.MEDIA_TYPE, f"{rule}.parameters", detail)
        # A coded body would have to be decoded to be inspected; no ConfigMgr client sends one.
        if head.values(b"content-encoding"):
            return Deny(Reason.MEDIA_TYPE, f"{rule}.content-encoding", "a coded request body")
    return None


def _check_depth(profile: RoleProfile, body_rule: BodyRule, head: RequestHead) -> Deny | None:
    # RFC 4918 §9.1, §10.2: none means infinity, and so is no other request.
    values = [value.lower() for value in head.values(b"depth")]
    if not body_rule.depths or not values or (len(values) == 1 and values[0] in body_rule.depths):
        return None
    named = b", ".join(sorted(body_rule.depths)).decode("ascii")
    return Deny(
        Reason.HEADER,
        f"bodies.{body_rule.name}.depths",
        f"not one Depth of {named}",
        profile.headers_requirement,
    )


def _check_connection_fields(head: RequestHead) -> Deny | None:
    expectations = head.values(b"expect")
    if expectations and [e.lower() for e in expectations] != [b"100-continue"]:
        return Deny(Reason.EXPECTATION, "head.expect", "an expectation other than 100-continue")
    # No protocol but HTTP/1.1 is bridged (HTTP-1.1): nothing could inspect what follows a 101.
    if head.values(b"upgrade"):
        return Deny(Reason.HEADER, "head.upgrade", "an Upgrade", "HTTP-1.1")
    ranges = head.values(b"range")
    if len(ranges) > 1 or any(not _RANGE.fullmatch(value) for value in ranges):
        return Deny(Reason.HEADER, "head.range", "not one Range of up to 16 byte ranges")
    options = b",".join(head.values(b"connection")).lower().split(b",")
    if {option.strip() for option in options} - _CONNECTION_OPTIONS - {b""}:
        return Deny(
            Reason.HEADER, "head.connection", "an option but close or keep-alive", "HTTP-1.1"
        )
    return None


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


def _with_listed_fields(
    publication: HttpPublication,
    role: PublishedRole,
    target: RequestTarget,
    body_rule: BodyRule,
    head: RequestHead,
    *,
    rows: Iterable[Resource],
    packet: Packet | None,
) -> Authorized | Deny:
    # HEADER-MP, HEADER-DP, and what HTTP needs.
    kept, removed = head.keeping(role.profile.headers)
    dropped = tuple(name for name in removed if name.lower().encode() not in _OF_THIS_LEG)
    if dropped and publication.unlisted_headers is UnlistedHeaders.REFUSE:
        return Deny(
            Reason.HEADER,
            f"{role.profile.name}.headers",
            f"{dropped[0][:64]} is not listed",
            role.profile.headers_requirement,
        )
    return Authorized(
        role=role.profile,
        site_system=role.site_system,
        head=kept,
        body_rule=body_rule,
        rule=f"{role.profile.name}.verbs.{head.method.decode('ascii')}",
        dropped=dropped,
        user=role.profile.directories[target.directory].authenticates_users,
        # A row that a policy has added takes nothing away from what the role's own say.
        reply=next((row.reply for row in rows if row.reply is not None), None),
        path=f"{target.directory}/{target.below}".lower(),
        packet=packet,
    )
