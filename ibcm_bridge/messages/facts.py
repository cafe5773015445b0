"""What a message says of itself, in values that fit through a pipe.

A large message is read by another process. This is what comes back of it: all that `speaker` needs
to tell whose message it is, and nothing of what is in it.
"""

from __future__ import annotations

from dataclasses import dataclass

from ibcm_bridge.endpoints import Endpoint
from ibcm_bridge.messages.ccm import CcmRequest
from ibcm_bridge.messages.document import Place
from ibcm_bridge.messages.registration import Registration, read_registration


@dataclass(frozen=True, slots=True)
class MessageFacts:
    """Of a CCM_POST. All texts are the client's own."""

    endpoint: str
    roots: tuple[str, ...]
    anonymous: bool
    """Whether such a message needs no client GUID and no signature."""
    encrypted: bool
    source_id: str
    named: tuple[str, ...]
    """Client GUIDs in the payload, as they are written there."""
    signature: tuple[tuple[str, str], ...]
    """Properties of the `clientauth` hook."""
    payload: tuple[int, int]
    """Where the payload begins and ends in the body, in bytes."""
    registration: Registration | None = None


def message_facts(message: CcmRequest, endpoint: Endpoint) -> MessageFacts:
    """What `message`, for `endpoint`, says of itself."""
    documents = message.documents
    named = [one.at(place) for one in documents for place in (Place.CLIENT_ID, Place.SMSID)]
    registrations = [read_registration(one) for one in documents]
    begin = message.payload.offset
    return MessageFacts(
        endpoint=message.header.target_endpoint,
        roots=tuple(dict.fromkeys(one.root for one in documents)),
        anonymous=endpoint.anonymous,
        encrypted=message.encrypted,
        source_id=message.header.source_id,
        named=tuple(dict.fromkeys(text for texts in named for text in texts)),
        signature=tuple(message.header.signature.items()),
        payload=(begin, begin + len(message.payload.body)),
        registration=next((one for one in registrations if one is not None), None),
    )
