"""The stages of a request, from its head to its response, and the decision at each.

A layer calls the hooks with a stage and gets the next value: the addon methods named after the
stage's hook decide. Values are immutable, and a decision is stored nowhere else:

    HeadRead -> Authorized
        a client that must be judged again: ClientDue -> Client, before this and before sending
        a packet of an upload: PacketAnnounced -> Considered, PacketRead -> UploadPart
    BodyRead -> Inspected
    BodyInspected -> Identified, with Approved
        the packet's response: PacketResponseRead -> Acknowledgement
    ReplyCollected -> InspectedReply
    ReplyAllowed -> Learned
    ErrorCollected -> ErrorPage

Each decision can be a `Deny` instead.
"""

from __future__ import annotations

import types
from collections.abc import Awaitable, Generator, Iterable
from dataclasses import dataclass
from typing import Any, ClassVar, Protocol, get_args

from mitmproxy.proxy import commands, events

from ibcm_bridge.addons.connections import ConnectionRecord
from ibcm_bridge.authentication.client import Client
from ibcm_bridge.decisions.denial import Deny
from ibcm_bridge.decisions.observing import Observed
from ibcm_bridge.identity.approval import Approved, FoundBindings
from ibcm_bridge.inspection.error_page import ErrorPage
from ibcm_bridge.inspection.response import InspectedReply
from ibcm_bridge.inspection.verdict import Inspected
from ibcm_bridge.messages.ccm_reply import CcmReply
from ibcm_bridge.policy.bodies import ReplyReading
from ibcm_bridge.policy.publications import HttpPublication
from ibcm_bridge.request.authorization import Authorized
from ibcm_bridge.request.head import RequestHead
from ibcm_bridge.shares import Holder
from ibcm_bridge.uploads.acknowledgement import Acknowledgement
from ibcm_bridge.uploads.session import Session, UploadPart


class Stage[Next]:
    """The data of a stage. `Next` is the result of a decision on it, unless that is a Deny."""

    __slots__ = ()
    result: ClassVar[type]
    """`Next` at run time. A result of another type is not a decision."""
    hook: ClassVar[str]
    """The name of the methods that decide. If several addons have one, they are called in order,
    each with the result of the one before."""

    def __init_subclass__(cls) -> None:
        (base,) = types.get_original_bases(cls)
        (cls.result,) = get_args(base)


@dataclass(frozen=True, slots=True)
class ClientDue(Stage[Client]):
    """The client sent a request, and must be judged again first (`ConnectionRecord.due`)."""

    hook = "client_due"

    connection: ConnectionRecord


@dataclass(frozen=True, slots=True)
class HeadRead(Stage[Authorized]):
    """A head has been read."""

    hook = "head_read"

    client: Client
    publication: HttpPublication
    head: RequestHead


@dataclass(frozen=True, slots=True)
class Considered:
    """The decision on the head of an upload packet."""

    session: Session | None
    """The client's own session that the packet belongs to."""
    refusal: Deny | None
    """Why the packet is refused; None if it is allowed. It comes with the session, which a refused
    packet withdraws; a Deny instead of this value is a defect."""


@dataclass(frozen=True, slots=True)
class PacketAnnounced(Stage[Considered]):
    """The head of an upload packet is authorized. Decides whether its body must be read."""

    hook = "packet_announced"

    client: Client
    authorized: Authorized


@dataclass(frozen=True, slots=True)
class PacketRead(Stage[UploadPart]):
    """An upload packet was read completely. Its data is stored before it is forwarded."""

    hook = "packet_read"

    client: Client
    authorized: Authorized
    body: bytes


@dataclass(frozen=True, slots=True)
class BodyRead(Stage[Inspected]):
    """A body was read completely."""

    hook = "body_read"

    authorized: Authorized
    body: bytes
    part: UploadPart | None
    """The part of an upload that it carries."""
    holder: Holder
    """Who the inspection counts for."""


@dataclass(frozen=True, slots=True)
class Identified:
    """The decision on an inspected request, and what it is made from."""

    decision: Approved | Deny
    bindings: FoundBindings | Deny
    """The bindings before the request, or why they are unavailable."""


@dataclass(frozen=True, slots=True)
class BodyInspected(Stage[Identified]):
    """No malicious content was found. Decides whether this client may send the request."""

    hook = "body_inspected"

    client: Client
    inspected: Inspected


@dataclass(frozen=True, slots=True)
class PacketResponseRead(Stage[Acknowledgement]):
    """The head of the response to an upload packet was read, but not yet forwarded."""

    hook = "packet_response_read"

    client: Client
    authorized: Authorized
    part: UploadPart
    site_system: str
    """The site system that sent it."""
    status: int
    fields: Iterable[tuple[bytes, bytes]]
    """The header fields of the response, with names in lower case."""


@dataclass(frozen=True, slots=True)
class ReplyCollected(Stage[InspectedReply]):
    """A response that must be inspected was read; none of it has been forwarded."""

    hook = "reply_collected"

    reading: ReplyReading
    content_type: bytes
    body: bytes | Deny
    """The whole body, or why it is not available."""


@dataclass(frozen=True, slots=True)
class Learned:
    """The bindings of a reply were recorded."""

    observed: tuple[str, ...] = ()
    """The reasons to refuse it if the policy did not set `observe`."""
    would_refuse: tuple[Observed, ...] = ()
    """The refusals that only the publication's `observe` does not enforce."""


@dataclass(frozen=True, slots=True)
class ReplyAllowed(Stage[Learned]):
    """A reply to a CCM_POST may be forwarded, and was not yet. Learns the client's bindings."""

    hook = "reply_allowed"

    client: Client
    approved: Approved
    message: CcmReply


@dataclass(frozen=True, slots=True)
class ErrorCollected(Stage[ErrorPage]):
    """The body of an error or a redirect was read. Decides whether it is forwarded or replaced."""

    hook = "error_collected"

    content_type: bytes
    codings: tuple[bytes, ...]
    body: bytes | Deny
    """The whole body, or why it is not available."""


DECISIONS = frozenset(
    stage.hook
    for stage in (
        ClientDue,
        HeadRead,
        PacketAnnounced,
        PacketRead,
        BodyRead,
        BodyInspected,
        PacketResponseRead,
        ReplyCollected,
        ReplyAllowed,
        ErrorCollected,
    )
)


@dataclass(eq=False)
class WaitFor(commands.Command):
    """Wait for a hook or a decision that was called and has no result yet."""

    called: commands.StartHook | Stage[Any]
    result: Awaitable[Any] | None
    """None if there will be none, because the connection was aborted."""
    blocking = True


@dataclass(repr=False)
class Waited(events.CommandCompleted):
    """The result of a `WaitFor`."""

    command: WaitFor
    reply: Any


class GuardedHooks(Protocol):
    """The hooks of a connection, which never raise."""

    def has(self, name: str) -> bool:
        """Return whether anything is called for a hook."""

    def call(self, called: commands.StartHook | Stage[Any]) -> Any:
        """Return the result of a hook or a decision; a `WaitFor` if there is none yet.

        The result of a decision is the next value, or a Deny, also if an addon raises.
        """


def result_of(
    hooks: GuardedHooks, called: commands.StartHook | Stage[Any]
) -> Generator[Any, Any, Any]:
    """Call a hook or a decision in a layer, and wait for its result if necessary."""
    result = hooks.call(called)
    return (yield result) if isinstance(result, WaitFor) else result
