"""Decides whether a client may send a request head to a publication.

General checks of the request run before the checks of the requested resource, so that the reason of
a refusal is the most plausible one. Each check cites the requirement that it enforces.
"""

from __future__ import annotations

from dataclasses import dataclass

from ibcm_bridge.authentication.client import AnonymousClient, Client, may_be_anonymous
from ibcm_bridge.decisions import rules
from ibcm_bridge.decisions.denial import Deny, NotATruthValue, Reason
from ibcm_bridge.decisions.observing import Observation, Observed
from ibcm_bridge.policy.bodies import BodyRule, Inspection, ReplyReading
from ibcm_bridge.policy.publications import HttpPublication
from ibcm_bridge.policy.roles import NeverPublished, RoleProfile
from ibcm_bridge.policy.site_systems import SiteSystems
from ibcm_bridge.request.bits_packet import Packet, read_packet
from ibcm_bridge.request.body_announcement import check_body
from ibcm_bridge.request.byte_ranges import ByteRanges, read_byte_ranges
from ibcm_bridge.request.fields import check_connection_options, listed_fields, select_fields
from ibcm_bridge.request.head import RequestHead
from ibcm_bridge.request.host import check_host
from ibcm_bridge.request.resources import method_names, published_role, requested_resources
from ibcm_bridge.request.target import RequestTarget


@dataclass(frozen=True, slots=True)
class Authorized(NotATruthValue):
    """This head may be sent to one of these site systems if its body passes `body_rule`.

    Only `authorization.authorize` makes one. `head` is the head to send, without unlisted fields.
    """

    role: RoleProfile
    site_systems: SiteSystems
    head: RequestHead
    body_rule: BodyRule
    target: RequestTarget
    rule: rules.Rule
    dropped: tuple[str, ...]
    user: bool = False
    """True if the site system authenticates a Windows user (USER-WINDOWS-AUTH)."""
    reply: ReplyReading | None = None
    """How the response is inspected; None if it is forwarded without inspection."""
    packet: Packet | None = None
    """The packet of a BITS_POST."""
    ranges: ByteRanges | None = None
    """The requested ranges of a file; None for the whole file."""
    acts: bool = False
    """True if the request changes state, even if its method is safe."""
    observing: bool = False
    """True if later checks only observe, too (`decisions.observing`)."""
    would_refuse: tuple[Observed, ...] = ()
    """The refusals that are not enforced."""


def authorize(
    client: Client,
    publication: HttpPublication,
    never: NeverPublished,
    head: RequestHead,
) -> Authorized | Deny:
    """Authorize or refuse a head.

    `client` is the proof that the certificate was verified and accepted, or that the publication
    does not require one. In a publication with `observe`, some refusals are only kept.
    """
    observation = Observation(publication.observe_because is not None)
    if (refusal := _check_client(client, publication)) is not None:
        return refusal
    if (refusal := check_host(publication, head)) is not None:
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
    directory = role.profile.directories[target.directory]
    listed = listed_fields(role.profile, directory, head.method)
    if (refusal := check_connection_options(listed, head)) is not None:
        return refusal

    body_rule = _body_rule(role.profile, head, observation)
    if isinstance(body_rule, Deny):
        return body_rule
    rows = requested_resources(role.profile, target, head, observation)
    if isinstance(rows, Deny):
        return rows
    refusal = check_body(role.profile, body_rule, target, head, observation)
    if refusal is not None:
        return refusal
    # The head as the client sent it: a field that is removed later can still be malformed.
    is_upload = body_rule.inspection is Inspection.BITS_UPLOAD
    packet = read_packet(head) if is_upload else None
    if isinstance(packet, Deny):
        return packet
    selected = select_fields(role.profile, listed, publication.unlisted_headers, head, observation)
    if isinstance(selected, Deny):
        return selected
    kept, dropped = selected
    return Authorized(
        role=role.profile,
        site_systems=role.site_systems,
        head=kept if packet is None else _with_length(kept),
        body_rule=body_rule,
        target=target,
        rule=rules.ROLE_VERB.of(role.profile.name, head.method.decode("ascii")),
        dropped=dropped,
        user=directory.authenticates_users,
        # A row that the policy adds cannot disable the inspection that the role's row requires.
        reply=next((row.reply for row in rows if row.reply is not None), None),
        packet=packet,
        # A Range that is not forwarded has no effect.
        ranges=ranges if kept.values(b"range") else None,
        # It is unknown whether a request with an unlisted verb does.
        acts=any(row.acts for row in rows) or head.method not in role.profile.bodies,
        observing=publication.observe_because is not None,
        would_refuse=observation.found,
    )


def _check_client(client: Client, publication: HttpPublication) -> Deny | None:
    # A client authenticated for one publication has not been authenticated for another.
    if client.publication != publication.name:
        return Deny(
            Reason.BRIDGE_DEFECT, rules.CLIENT_PUBLICATION, "authenticated for another publication"
        )
    if isinstance(client, AnonymousClient) and not may_be_anonymous(publication):
        return Deny(Reason.BRIDGE_DEFECT, rules.CLIENT_CERTIFICATE, "not authenticated")
    return None


def _body_rule(
    profile: RoleProfile, head: RequestHead, observation: Observation
) -> BodyRule | Deny:
    # VERB-MP, VERB-DP. Methods are case-sensitive: "ccm_post" is another verb.
    body_rule = profile.bodies.get(head.method)
    if body_rule is not None:
        return body_rule
    verb = head.method.decode("ascii")
    refusal = Deny(
        Reason.VERB,
        rules.ROLE_VERBS.of(profile.name),
        f"{verb[:32]} is not allowed for this role",
        profile.verbs_requirement,
        method_names(profile.bodies),
        names=(verb,),
    )
    if not profile.may_add_verb(head.method):
        return refusal
    enforced = observation.enforce(refusal)
    return profile.unlisted_body if enforced is None else enforced


def _check_connection_fields(head: RequestHead) -> Deny | None:
    expectations = head.values(b"expect")
    if expectations and [e.lower() for e in expectations] != [b"100-continue"]:
        return Deny(Reason.EXPECTATION, rules.HEAD_EXPECT, "an expectation other than 100-continue")
    return None


def _with_length(head: RequestHead) -> RequestHead:
    # [MC-BUP] §2.2.1.1 requires it in every packet; some clients omit it (protocol.md §6).
    return head.with_zero_length() if head.length is None else head
