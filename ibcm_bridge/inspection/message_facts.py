"""What a message says of itself, in values that fit through a pipe.

A large message is read by another process. This is what comes back of it: all that `identity` needs
to tell whose message it is, and nothing of what is in it.
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
    """Of a CCM_POST. All texts are the client's own."""

    endpoint: str
    roots: tuple[str, ...]
    anonymous: bool
    """Whether such a message needs no client GUID and no signature."""
    encrypted: bool
    source_id: str
    client_guids: tuple[str, ...]
    """Client GUIDs in the payload, as they are written there."""
    signature: tuple[tuple[str, str], ...]
    """Properties of the `clientauth` hook."""
    payload: tuple[int, int]
    """Where the payload begins and ends in the body, in bytes."""
    registration: Registration | None = None


def message_facts(message: CcmRequest, endpoint: Endpoint) -> MessageFacts | Deny:
    """What `message`, for `endpoint`, says of itself; refused where it names too many clients."""
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
    """The registration among documents; of several none is believed.

    A management point answers to one of them, and which only it knows.
    """
    read = map(read_registration, documents)
    found = [registration for registration in read if registration is not None]
    return Registration(b"", proven=False) if len(found) > 1 else next(iter(found), None)
