"""What a reply to a registration says: the client GUID, its status and its approval."""

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
"""As a number or as a name: which of them is sent is not known (protocol.md §12)."""

_APPROVAL = {"unknown": -1, "pending": 0, "approved": 1, "notapplicable": 2}
"""The same; 3 has been seen too, without a name (protocol.md §3.1)."""

_NUMBERED = {str(number): number for number in range(-1, 10)}


@dataclass(frozen=True, slots=True)
class RegistrationReply:
    """A management point's reply to a registration."""

    status: RegistrationStatus
    guid: str
    """As `client_guid.read_guid` has it."""
    approval: int | None
    """ApprovalStatus (protocol.md §3.1); None where it is left out or unknown."""


def read_registration_reply(reply: CcmReply) -> RegistrationReply | None:
    """The reply to a registration; None for any other, and for one in which anything is in doubt.

    `registration_problem` has the reason.
    """
    read = _read_registration(reply)
    return read if isinstance(read, RegistrationReply) else None


def registration_problem(reply: CcmReply) -> str:
    """Why `read_registration_reply` makes nothing of a reply; empty where nothing is in doubt."""
    read = _read_registration(reply)
    return read if isinstance(read, str) else ""


def gives_policy(reply: CcmReply) -> bool:
    """Whether the reply holds policy (protocol.md §3.2)."""
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
        return "another element with a client GUID"
    # A reader without regard to case would have to choose.
    if len({name.rpartition(":")[2].lower() for name in attributes}) != len(attributes):
        return "an attribute twice"
    guid = read_guid(attributes.get("SMSID", ""))
    status = _STATUS.get(attributes.get("Status", "").lower())
    if guid is None:
        return "SMSID is not a client GUID"
    if status is None:
        return "no known Status"
    approval = attributes.get("ApprovalStatus", "").lower()
    return RegistrationReply(status, guid, {**_APPROVAL, **_NUMBERED}.get(approval))
