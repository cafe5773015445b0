"""Replies to registrations: the client GUID, its status and its approval."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import IntEnum

from ibcm_bridge.messages.ccm_reply import CcmReply
from ibcm_bridge.messages.client_guid import read_guid
from ibcm_bridge.messages.xml import check_xml


class RegistrationStatus(IntEnum):
    """protocol.md §3.1."""

    REGISTERED = 0
    PENDING = 1
    RESET = 2
    ERROR = 3
    CERTIFICATE_RESET = 4


_STATUS = {
    text: status
    for status in RegistrationStatus
    for text in (str(status.value), status.name.replace("_", "").lower())
}
"""As a number or as a name, because it is not known which is sent (protocol.md §12)."""

_APPROVAL = {"unknown": -1, "pending": 0, "approved": 1, "notapplicable": 2}
"""The same; 3 has been observed, too, and its name is unknown (protocol.md §3.1)."""

_NUMBERED = {str(number): number for number in range(-1, 10)}


@dataclass(frozen=True, slots=True)
class RegistrationReply:
    """A management point's reply to a registration."""

    status: RegistrationStatus
    guid: str
    """In the form of `client_guid.read_guid`."""
    approval: int | None
    """ApprovalStatus (protocol.md §3.1); None if it is missing or unknown."""


def read_registration_reply(reply: CcmReply) -> RegistrationReply | None:
    """Parse the reply to a registration; None for another reply, and for an ambiguous one.

    `registration_problem` returns the problem of an ambiguous one.
    """
    read = _read_registration(reply)
    return read if isinstance(read, RegistrationReply) else None


def registration_problem(reply: CcmReply) -> str:
    """The problem of an ambiguous reply to a registration; empty without one."""
    read = _read_registration(reply)
    return read if isinstance(read, str) else ""


def gives_policy(reply: CcmReply) -> bool:
    """Return whether the reply contains policy (protocol.md §3.2)."""
    return reply.roots == ("ReplyAssignments",) and not reply.unread_parts


_REGISTRATION = "ClientRegistrationResponse"


def _read_registration(reply: CcmReply) -> RegistrationReply | str | None:
    if _REGISTRATION not in reply.roots:
        return None
    if len(reply.documents) != 1 or reply.unread_parts:
        return "more than one document"
    elements: list[tuple[str, Mapping[str, str]]] = []

    def start(name: str, attributes: Mapping[str, str]) -> None:
        if not elements or any(
            attribute.rpartition(":")[2].lower() == "smsid" for attribute in attributes
        ):
            elements.append((name, attributes))

    if check_xml(reply.documents[0].encode(), "replies", start) is not None:
        return "not XML"
    (root, attributes), *others = elements
    if root != _REGISTRATION or others:
        return "more than one element with a client GUID"
    # A parser that ignores case and prefixes would have to choose one.
    if len({name.rpartition(":")[2].lower() for name in attributes}) != len(attributes):
        return "an attribute occurs twice"
    guid = read_guid(attributes.get("SMSID", ""))
    status = _STATUS.get(attributes.get("Status", "").lower())
    if guid is None:
        return "SMSID is not a client GUID"
    if status is None:
        return "Status is missing or unknown"
    approval = attributes.get("ApprovalStatus", "").lower()
    return RegistrationReply(status, guid, {**_APPROVAL, **_NUMBERED}.get(approval))
