"""May this client send this request head to this publication?

The checks run in the order in which their answers are least surprising: what the request *is*
before what it asks for. Each cites the requirement it enforces.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from ibcm_bridge.authentication.client import AnonymousClient, Client, may_be_anonymous
from ibcm_bridge.decisions import rules
from ibcm_bridge.decisions.denial import Deny, NotATruthValue, Reason
from ibcm_bridge.policy.bodies import BodyRule, Inspection, ReplyReading
from ibcm_bridge.policy.publications import (
    HttpPublication,
    PublishedRole,
    SiteSystem,
    UnlistedHeaders,
)
from ibcm_bridge.policy.resources import Resource
from ibcm_bridge.policy.roles import NeverPublished, RoleProfile
from ibcm_bridge.request.bits_packet import Packet, read_packet
from ibcm_bridge.request.body_announcement import check_body
from ibcm_bridge.request.byte_ranges import ByteRanges, read_byte_ranges
from ibcm_bridge.request.head import TOKEN, RequestHead
from ibcm_bridge.request.resources import method_names, published_role, requested_resources
from ibcm_bridge.request.target import RequestTarget


@dataclass(frozen=True, slots=True)
class Authorized(NotATruthValue):
    """This head may be sent to this site system, after its body has passed `body_rule`.

    Made by `authorization.authorize` only. `head` is what will be sent: unlisted fields are gone.
    """

    role: RoleProfile
    site_system: SiteSystem
    head: RequestHead
    body_rule: BodyRule
    target: RequestTarget
    rule: rules.Rule
    dropped: tuple[str, ...]
    user: bool = False
    """Whether Windows authenticates the user behind it (USER-WINDOWS-AUTH)."""
    reply: ReplyReading | None = None
    """How the answer is to be read; None where it is passed on unread."""
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

    target = head.target.reading
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
    rows = requested_resources(role.profile, target, head)
    if isinstance(rows, Deny):
        return rows
    if (refusal := check_body(role.profile, body_rule, target, head)) is not None:
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
        return Deny(Reason.BRIDGE_DEFECT, rules.CLIENT_PUBLICATION, "authenticated elsewhere")
    if isinstance(client, AnonymousClient) and not may_be_anonymous(publication):
        return Deny(Reason.BRIDGE_DEFECT, rules.CLIENT_CERTIFICATE, "not authenticated")
    return None


def _check_host(publication: HttpPublication, head: RequestHead) -> Deny | None:
    hosts = head.values(b"host")
    if len(hosts) != 1:
        return Deny(Reason.HOST_MISMATCH, rules.HEAD_HOST, f"{len(hosts)} Host fields")
    name, port = _split_host(hosts[0].decode("latin-1").lower())
    if name != publication.name or not _PORT.fullmatch(port):
        return Deny(
            Reason.HOST_MISMATCH, rules.HEAD_HOST, f"Host {name[:255]!r} is not the server name"
        )
    return None


def _split_host(host: str) -> tuple[str, str]:
    """Name and port; the colons of an IPv6 address stand in brackets (RFC 9110 §7.2)."""
    bracketed, bracket, rest = host.rpartition("]")
    name, _, port = rest.partition(":")
    return bracketed + bracket + name, port


def _body_rule(profile: RoleProfile, head: RequestHead) -> BodyRule | Deny:
    # VERB-MP, VERB-DP: compared as bytes, so "ccm_post" is another verb.
    body_rule = profile.bodies.get(head.method)
    verb, cites = head.method[:32].decode("ascii"), profile.verbs_requirement
    if body_rule is None:
        return Deny(
            Reason.VERB,
            rules.ROLE_VERBS.of(profile.name),
            f"{verb} is not a verb of this role",
            cites,
            method_names(profile.bodies),
        )
    return body_rule


def _check_connection_fields(head: RequestHead) -> Deny | None:
    expectations = head.values(b"expect")
    if expectations and [e.lower() for e in expectations] != [b"100-continue"]:
        return Deny(Reason.EXPECTATION, rules.HEAD_EXPECT, "an expectation other than 100-continue")
    return None


def _check_connection_options(profile: RoleProfile, head: RequestHead) -> Deny | None:
    # RFC 9110 §7.6.1: an option names a field of this leg alone, which is taken out. What the role
    # is not sent is taken out anyway; what it is sent, a client cannot have removed.
    for option in b",".join(head.values(b"connection")).lower().split(b","):
        name = option.strip(b" \t")
        if name in _FRAMING or name in profile.headers:
            detail = f"{name.decode('ascii')[:64]} is not a field of this leg alone"
            return Deny(Reason.HEADER, rules.HEAD_CONNECTION, detail, "HTTP-1.1")
        if name and not TOKEN.fullmatch(name):
            return Deny(Reason.HEADER, rules.HEAD_CONNECTION, "not a list of names", "HTTP-1.1")
    return None


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
            rules.ROLE_HEADERS.of(role.profile.name),
            f"{dropped[0][:64]} is not listed",
            role.profile.headers_requirement,
        )
    return Authorized(
        role=role.profile,
        site_system=role.site_system,
        head=kept,
        body_rule=body_rule,
        target=target,
        rule=rules.ROLE_VERB.of(role.profile.name, head.method.decode("ascii")),
        dropped=dropped,
        user=role.profile.directories[target.directory].authenticates_users,
        # A row that a policy has added takes nothing away from what the role's own say.
        reply=next((row.reply for row in rows if row.reply is not None), None),
        packet=packet,
        # A field that is not sent on asks for nothing.
        ranges=ranges if kept.values(b"range") else None,
        acts=any(row.acts for row in rows),
    )
