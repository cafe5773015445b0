"""The stages of a request, from its head to its response, and who decides at each.

A layer yields `Decide` with what is known at one stage, and is given the next one: an addon's
method with the name of the stage's hook has decided. Each value is immutable, and nothing of a
decision is kept anywhere else:

    HeadRead -> Authorized
        a packet of an upload: PacketAnnounced -> Considered, PacketRead -> UploadPart
    BodyRead -> Inspected
    BodyInspected -> Approved
        the packet's response: PacketResponseRead -> Acknowledgement
    ReplyCollected -> JudgedReply
    ReplyJudged -> Learned

In place of each there may be a `Deny`.
"""

from __future__ import annotations

import functools
import types
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, ClassVar, get_args

from mitmproxy.proxy import commands, events

from ibcm_bridge.authentication.client import Client
from ibcm_bridge.decisions.denial import Deny
from ibcm_bridge.identity.approval import Approved
from ibcm_bridge.inspection.body import Inspected
from ibcm_bridge.inspection.response import InspectedReply
from ibcm_bridge.messages.ccm_reply import CcmReply
from ibcm_bridge.policy.bodies import ReplyReading
from ibcm_bridge.policy.publications import HttpPublication
from ibcm_bridge.request.authorization import Authorized
from ibcm_bridge.request.head import RequestHead
from ibcm_bridge.uploads.acknowledgement import Acknowledgement
from ibcm_bridge.uploads.session import Session, UploadPart


class Stage[Next]:
    """What is known at a stage, and what a decision on it comes to, unless that is a Deny."""

    __slots__ = ()
    hook: ClassVar[str]
    """The method that decides. What several addons have is called in their order, each with what
    the one before has returned."""


@functools.cache
def next_of(stage: type[Stage[Any]]) -> type:
    """`Next`, at run time. A decision that comes to anything else was not made."""
    (base,) = types.get_original_bases(stage)
    (kind,) = get_args(base)
    assert isinstance(kind, type)
    return kind


@dataclass(frozen=True, slots=True)
class HeadRead(Stage[Authorized]):
    """A head has been read."""

    hook = "head_read"

    client: Client
    publication: HttpPublication
    head: RequestHead


@dataclass(frozen=True, slots=True)
class Considered:
    """What the head of an upload's packet says."""

    session: Session | None
    """The client's own session that the packet is of."""
    refusal: Deny | None
    """Why it may not go on; None where it may."""


@dataclass(frozen=True, slots=True)
class PacketAnnounced(Stage[Considered]):
    """The head of an upload's packet is authorized: need the rest of it be read?"""

    hook = "packet_announced"

    client: Client
    authorized: Authorized


@dataclass(frozen=True, slots=True)
class PacketRead(Stage[UploadPart]):
    """A packet of an upload is whole: what it brings is kept before it may be sent on."""

    hook = "packet_read"

    client: Client
    authorized: Authorized
    body: bytes


@dataclass(frozen=True, slots=True)
class BodyRead(Stage[Inspected]):
    """A body is whole."""

    hook = "body_read"

    authorized: Authorized
    body: bytes
    part: UploadPart | None
    """What it carries of an upload."""


@dataclass(frozen=True, slots=True)
class BodyInspected(Stage[Approved]):
    """Nothing malicious is in a request: may this client send it?"""

    hook = "body_inspected"

    client: Client
    inspected: Inspected


@dataclass(frozen=True, slots=True)
class PacketResponseRead(Stage[Acknowledgement]):
    """The head of the response to an upload's packet has been read, and not passed on."""

    hook = "packet_response_read"

    client: Client
    authorized: Authorized
    part: UploadPart
    status: int
    fields: Iterable[tuple[bytes, bytes]]
    """Of the response, with names in lower case."""


@dataclass(frozen=True, slots=True)
class JudgedReply:
    """A reply may be passed on."""

    inspected: InspectedReply
    message: CcmReply | None
    """What it says, where it is the reply to a CCM_POST and could be read."""


@dataclass(frozen=True, slots=True)
class ReplyCollected(Stage[JudgedReply]):
    """A reply is there that has to be read, and none of it has been passed on."""

    hook = "reply_collected"

    reading: ReplyReading
    content_type: bytes
    body: bytes | Deny
    """All of it, or why it cannot be had."""


@dataclass(frozen=True, slots=True)
class Learned:
    """A reply was learned from."""

    observed: tuple[str, ...] = ()
    """What it would be refused for, if the policy did not say to observe."""


@dataclass(frozen=True, slots=True)
class ReplyJudged(Stage[Learned]):
    """A reply to a CCM_POST may be passed on, and has not been: what does it say of the client?"""

    hook = "reply_judged"

    client: Client
    approved: Approved
    message: CcmReply


DECISIONS = frozenset(
    stage.hook
    for stage in (
        HeadRead,
        PacketAnnounced,
        PacketRead,
        BodyRead,
        BodyInspected,
        PacketResponseRead,
        ReplyCollected,
        ReplyJudged,
    )
)


@dataclass(eq=False)
class Decide(commands.Command):
    """Decide on a stage. The reply is the next one, or a Deny, as where a decider raises."""

    stage: Stage[Any]
    blocking = True


@dataclass(repr=False)
class Decided(events.CommandCompleted):
    """What was decided."""

    command: Decide
    reply: Any
