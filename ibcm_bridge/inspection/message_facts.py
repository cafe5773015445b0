"""The facts of a message that later stages need, as serializable values.

Another process parses a large message and returns these facts. They are what `identity` needs to
check the client GUID and the signatures; they do not include the content.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import islice

from ibcm_bridge.decisions import rules
from ibcm_bridge.decisions.denial import Deny, Reason
from ibcm_bridge.messages.ccm import CcmRequest
from ibcm_bridge.messages.client_guid import find_guids, read_guid
from ibcm_bridge.messages.document import Document
from ibcm_bridge.messages.guid_places import GuidUse
from ibcm_bridge.messages.limits import MAX_CLIENT_GUIDS
from ibcm_bridge.messages.registration import Registration, read_registration
from ibcm_bridge.policy.endpoints import Endpoint

MAX_MENTIONED = 16
"""Client GUIDs at unexpected places. Each of them costs a look-up of its binding."""


@dataclass(frozen=True, slots=True)
class MessageFacts:
    """Facts of a CCM_POST. All texts are from the client."""

    endpoint: str
    roots: tuple[str, ...]
    anonymous: bool
    """Whether a message to this endpoint may have no client GUID and no signature."""
    encrypted: bool
    source_id: str
    client_guids: tuple[tuple[str, str], ...]
    """The sender's client GUIDs in the payload: place and text, as written."""
    mentioned: tuple[str, ...]
    """Other client GUIDs anywhere in the message, in the form of `client_guid.read_guid`.

    Not those at a place where another client GUID is expected; at most `MAX_MENTIONED`.
    """
    signature: tuple[tuple[str, str], ...]
    """Properties of the `clientauth` hook."""
    payload: tuple[int, int]
    """Begin and end of the payload in the body, in bytes."""
    registration: Registration | None = None


def message_facts(message: CcmRequest, endpoint: Endpoint) -> MessageFacts | Deny:
    """Collect the facts of `message`, for `endpoint`; refuse too many client GUIDs."""
    documents = message.documents
    client_guids = tuple(dict.fromkeys(_at_places(documents, own=True)))
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
        mentioned=_mentioned(message, client_guids),
        signature=tuple(message.header.signature.items()),
        payload=(begin, begin + len(message.payload.body)),
        registration=_registration(documents),
    )


def _at_places(documents: Iterable[Document], *, own: bool) -> Iterator[tuple[str, str]]:
    """Place and text of each client GUID at a known place."""
    for document in documents:
        for place, texts in document.guids.items():
            if (place.use is not GuidUse.OTHER) == own:
                yield from ((place.label, text) for text in texts)


def _mentioned(message: CcmRequest, own: Iterable[tuple[str, str]]) -> tuple[str, ...]:
    """The client GUIDs that are at no known place."""
    texts = [*_searched(message.header.text, message.header.parsed_text)]
    for document in message.documents:
        texts += _searched(document.text, document.parsed_text)
    most = MAX_MENTIONED + MAX_CLIENT_GUIDS
    found = dict.fromkeys(guid for text in texts for guid in find_guids(text, most))
    for _, text in (("SourceID", message.header.source_id), *own):
        found.pop(text if text in found else read_guid(text) or "", None)
    if found:
        for _, text in _at_places(message.documents, own=False):
            found.pop(text, None)
    return tuple(islice(found, MAX_MENTIONED))


def _searched(text: str, parsed_text: str) -> tuple[str, ...]:
    """The text as written, and as parsed if a reference, a comment or the like may split a GUID."""
    begin = text.find("?>") + 2 if text.startswith("<?xml") else 0
    if "&" in text or "!" in text or "?" in text[begin:]:
        return text, parsed_text
    return (text,)


def _registration(documents: Iterable[Document]) -> Registration | None:
    """The registration in the documents; unproven if there are several.

    A management point replies to one of them, and it is not known to which.
    """
    read = map(read_registration, documents)
    found = [registration for registration in read if registration is not None]
    return Registration(b"", proven=False) if len(found) > 1 else next(iter(found), None)
