"""May this client send this request head to this publication?

The checks run in the order in which their answers are least surprising: what the request *is*
before what it asks for. Each cites the requirement it enforces.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from ibcm_bridge.authentication.client import AnonymousClient, Client, may_be_anonymous
from ibcm_bridge.byte_ranges import ByteRanges, read_byte_ranges
from ibcm_bridge.decisions.denial import Deny, NotATruthValue, Reason
from ibcm_bridge.messages.soap import read_soap_type
from ibcm_bridge.policy.bodies import BodyRule, Inspection, ReplyReading
from ibcm_bridge.policy.publications import (
    HttpPublication,
    PublishedRole,
    SiteSystem,
    UnlistedHeaders,
)
from ibcm_bridge.policy.resources import Directory, Resource
from ibcm_bridge.policy.roles import NeverPublished, RoleProfile
from ibcm_bridge.request_head import TOKEN, RequestHead, content_type_parts
from ibcm_bridge.request_target import RequestTarget, read_request_target
from ibcm_bridge.routing.publication import published_role
from ibcm_bridge.uploads.packet import Packet, read_packet


@dataclass(frozen=True, slots=True)
class Authorized(NotATruthValue):
    """This head may be sent to this site system, after its body has passed `body_rule`.

    Made by `authorization.authorize` only. `head` is what will be sent: unlisted fields are gone.
    """

    role: RoleProfile
    site_system: SiteSystem
    head: RequestHead
    body_rule: BodyRule
    rule: str
    dropped: tuple[str, ...]
    user: bool = False
    """Whether Windows authenticates the user behind it (USER-WINDOWS-AUTH)."""
    reply: ReplyReading | None = None
    """How the answer is to be read; None where it is passed on unread."""
    path: str = ""
    """Of the target, in lower case, without the slash it begins with."""
    packet: Packet | None = None
    """Of a BITS_POST, what it is."""
    ranges: ByteRanges | None = None
    """Of which parts of a file it is; None where it asks for the whole."""
    acts: bool = False
    """Whether it changes something, whatever its method says."""


_OF_THIS_LEG = frozenset((b"connection", b"keep-alive", b"proxy-connection", b"expect"))
"""Fields for the bridge itself (RFC 9110 §7.6.1, §10.1.1): never sent on, and not counted as
unlisted fields that were dropped."""

_PORT = re.compile(r"[0-9]{0,5}")

_FRAMING = frozenset((b"content-length", b"host", b"trailer", b"transfer-encoding"))
"""What a message ends by, and whom it is for. RFC 9110 §7.6.1 forbids to name in Connection what
every recipient reads; a proxy that takes one of these out sends on another message."""


def authorize(
    client: Client,
    publication: HttpPublication,
    never: NeverPublished,
    head: RequestHead,
) -> Authorized | Deny:
    """Decide on a head. `client` is proof that its certificate was verified and accepted.

    Or, where the publication's certificate policy says so, that none was needed.
    """
    if (refusal := _check_client(client, publication)) is not None:
        return refusal

    # RFC 9112 §3.2: one name for the certificate and for the request.
    if (refusal := _check_host(publication, head)) is not None:
        return refusal
    if (refusal := _check_connection_fields(head)) is not None:
        return refusal
    ranges = read_byte_ranges(head.values(b"range"))
    if isinstance(ranges, Deny):
        return ranges

    target = read_request_target(head.target)
    if isinstance(target, Deny):
        return target
    role = published_role(publication, target, never)
    if isinstance(role, Deny):
        return role
    if (refusal := _check_connection_options(role.profile, head)) is not None:
        return refusal

    body_rule = _body_rule(role.profile, head)
    if isinstance(body_rule, Deny):
        return body_rule
    rows = _resources(role.profile, target, head)
    if isinstance(rows, Deny):
        return rows
    if (refusal := _check_body(role.profile, body_rule, target, head)) is not None:
        return refusal
    # As it was sent: a field that is taken out may still say what the packet is not.
    is_upload = body_rule.inspection is Inspection.BITS_UPLOAD
    packet = read_packet(head) if is_upload else None
    if isinstance(packet, Deny):
        return packet
    return _with_listed_fields(
        publication, role, target, body_rule, head, rows=rows, packet=packet, ranges=ranges
    )


def _check_client(client: Client, publication: HttpPublication) -> Deny | None:
    # A client authenticated for one publication has not been authenticated for another.
    if client.publication != publication.name:
        return Deny(Reason.BRIDGE_DEFECT, "client.publication", "authenticated elsewhere")
    if isinstance(client, AnonymousClient) and not may_be_anonymous(publication):
        return Deny(Reason.BRIDGE_DEFECT, "client.certificate", "not authenticated")
    return None


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
    query = target.query_text
    rule = f"{profile.name}.directories.{directory.name}"
    found = [one for one in directory.resources if one.has(path, query)]
    if not found:
        detail = f"/{directory.name}/{path[:128]} {_unpublished(directory, path, query)}"
        return Deny(Reason.RESOURCE, rule, detail)
    refused = next((one.refused for one in found if one.refused), "")
    if refused:
        return Deny(Reason.RESOURCE, rule, "not over the Internet", refused)
    if (refusal := _check_dots(profile, target, found)) is not None:
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


def _unpublished(directory: Directory, path: str, query: str | None) -> str:
    """What of a path and a query that no row is about is not published; the query may be secret."""
    rows = [one for one in directory.resources if one.publishes(path)]
    if not rows:
        return "is not published"
    if query is None:
        return "is published, but not without a query"
    if all(one.query is None for one in rows):
        return "is published, but not with a query"
    return "is published, but not with this query"


def _check_extensions(profile: RoleProfile, target: RequestTarget) -> Deny | None:
    # Of any name and not only the last: path info, and servers that go by the first (x.asp.cab).
    for name in target.segments:
        for extension in name.lower().split(".")[1:]:
            if f".{extension}" in profile.denied_extensions:
                rule, detail = f"{profile.name}.denied_extensions", f"a name with .{extension}"
                return Deny(Reason.RESOURCE, rule, detail, profile.verbs_requirement)
    return None


def _check_dots(
    profile: RoleProfile, target: RequestTarget, rows: Iterable[Resource]
) -> Deny | None:
    *directories, name = (segment.count(".") for segment in target.segments)
    allowed = name <= 1 or any(row.dots for row in rows)
    if profile.dots_in_path or (allowed and not any(directories)):
        return None
    rule, detail = f"{profile.name}.dots_in_path", "a dot but that of the extension"
    return Deny(Reason.RESOURCE, rule, detail, profile.verbs_requirement)


def _names(methods: Iterable[bytes]) -> tuple[str, ...]:
    return tuple(sorted(method.decode("ascii") for method in methods))


def _check_body(
    profile: RoleProfile, body_rule: BodyRule, target: RequestTarget, head: RequestHead
) -> Deny | None:
    # RFC 8894 §4.1: only the reader of a message in the query reads its line ends.
    if target.in_lines and body_rule.inspection is not Inspection.SCEP_QUERY:
        return Deny(Reason.TARGET_UNSAFE, "target.query", "line ends in the query")
    if (refusal := _check_body_announcement(body_rule, head)) is not None:
        return refusal
    return _check_depth(profile, body_rule, head)


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
            detail = "no Content-Type" if media_type == b"" else "not one Content-Type"
            if media_type:
                detail = f"Content-Type is {media_type.decode('latin-1')[:64]}"
            return Deny(Reason.MEDIA_TYPE, f"{rule}.media_types", detail)
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
    return None


def _check_connection_options(profile: RoleProfile, head: RequestHead) -> Deny | None:
    # RFC 9110 §7.6.1: an option names a field of this leg alone, which is taken out. What the role
    # is not sent is taken out anyway; what it is sent, a client cannot have removed.
    for option in b",".join(head.values(b"connection")).lower().split(b","):
        name = option.strip(b" \t")
        if name in _FRAMING or name in profile.headers:
            detail = f"{name.decode('ascii')[:64]} is not a field of this leg alone"
            return Deny(Reason.HEADER, "head.connection", detail, "HTTP-1.1")
        if name and not TOKEN.fullmatch(name):
            return Deny(Reason.HEADER, "head.connection", "not a list of names", "HTTP-1.1")
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
    rows: Sequence[Resource],
    packet: Packet | None,
    ranges: ByteRanges | None,
) -> Authorized | Deny:
    # HEADER-MP, HEADER-DP, and what HTTP needs.
    kept, removed = head.keeping(role.profile.headers)
    dropped = tuple(name for name in removed if name.lower().encode() not in _OF_THIS_LEG)
    if packet is not None and kept.length is None:
        # [MC-BUP] §2.2.1.1 has it on every packet; some clients leave it out (protocol.md §6).
        kept = kept.stating_no_body()
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
        # A field that is not sent on asks for nothing.
        ranges=ranges if kept.values(b"range") else None,
        acts=any(row.acts for row in rows),
    )
