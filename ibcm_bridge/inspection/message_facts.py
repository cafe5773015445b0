"""The facts of a message that later stages need, as serializable values.

Another process parses a large message and returns these facts. They are what `identity` needs to
check the client GUID and the signatures; they do not include the content.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from ibcm_bridge.decisions import rules
from ibcm_bridge.decisions.denial import Deny, Reason
from ibcm_bridge.messages.ccm import CcmRequest
from ibcm_bridge.messages.document import Document, Place
from ibcm_bridge.messages.limits import MAX_CLIENT_GUIDS
from ibcm_bridge.messages.registration import Registration, read_registration
from ibcm_bridge.policy.endpoints import Endpoint


@dataclass(frozen=True, slots=True)
class MessageFacts:
    """Facts of a CCM_POST. All texts are from the client."""

    endpoint: str
    roots: tuple[str, ...]
    anonymous: bool
    """Whether a message to this endpoint may have no client GUID and no signature."""
    encrypted: bool
    source_id: str
    client_guids: tuple[str, ...]
    """Client GUIDs in the payload, as written."""
    signature: tuple[tuple[str, str], ...]
    """Properties of the `clientauth` hook."""
    payload: tuple[int, int]
    """Begin and end of the payload in the body, in bytes."""
    registration: Registration | None = None


def message_facts(message: CcmRequest, endpoint: Endpoint) -> MessageFacts | Deny:
    """Collect the facts of `message`, for `endpoint`; refuse too many client GUIDs."""
    documents = message.documents
    found = [
        document.at(place) for document in documents for place in (Place.CLIENT_ID, Place.SMSID)
    ]
    client_guids = tuple(dict.fromkeys(text for texts in found for text in texts))
    if len(client_guids) > MAX_CLIENT_GUIDS:
        return Deny(Reason.XML, rules.CCM_LIMITS, f"more than {MAX_CLIENT_GUIDS} client GUIDs")
    begin = message.payload.offset
    return MessageFacts(
        endpoint=message.header.target_endpoint,
        roots=tuple(dict.fromkeys(document.root for document in documents)),
        anonymous=endpoint.anonymous,
        encrypted=message.encrypted,
        source_id=message.header.source_id,
        client_guids=client_guids,
        signature=tuple(message.header.signature.items()),
        payload=(begin, begin + len(message.payload.body)),
        registration=_registration(documents),
    )


def _registration(documents: Iterable[Document]) -> Registration | None:
    """The registration in the documents; unproven if there are several.

    A management point replies to one of them, and it is not known to which.
    """
    read = map(read_registration, documents)
    found = [registration for registration in read if registration is not None]
    return Registration(b"", proven=False) if len(found) > 1 else next(iter(found), None)
