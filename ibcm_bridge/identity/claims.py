"""Parse the client GUIDs and signatures of a request, without verifying them.

A client GUID can be in a message's header (SourceID, Token), at the places in its payload that
`config/endpoints.yaml` lists, and in HTTP header fields (protocol.md §1.5, §3, §5). Each must be
well-formed, and all of a request must be equal, because a management point may use any of them.
Unequal ones at the places that identify the sender (`_IDENTIFYING`) are always refused.
"""

from __future__ import annotations

import datetime
import re
from collections.abc import Iterator
from dataclasses import dataclass, field

from ibcm_bridge.decisions import rules
from ibcm_bridge.decisions.denial import Deny, Reason
from ibcm_bridge.inspection.message_facts import MessageFacts
from ibcm_bridge.inspection.verdict import Inspected
from ibcm_bridge.messages.client_guid import find_guids, read_guid
from ibcm_bridge.messages.limits import MAX_VALUES
from ibcm_bridge.messages.registration import Registration
from ibcm_bridge.messages.signatures import read_public_key_blob, terminated
from ibcm_bridge.request.head import RequestHead

_FIELDS = {
    b"ccmclientid": "CCMClientID",
    b"ccmclientidsignature": "CCMClientIDSignature",
    b"ccmclienttimestamp": "CCMClientTimestamp",
    b"ccmclienttimestampsignature": "CCMClientTimestampSignature",
    # The spelling in Microsoft's documentation. No client is known to send it (§5).
    b"ccmclienttimestampssignature": "CCMClientTimestampSignature",
    b"clienttoken": "ClientToken",
    b"clienttokensignature": "ClientTokenSignature",
}
_SIGNED_FIELDS = ("CCMClientID", "CCMClientTimestamp", "ClientToken")

_IDENTIFYING = frozenset(
    ("CCMClientID", "ClientToken", "SourceID", "Machine/ClientID", "Data/SMSID")
)
"""§3.1, §3.2, §3.5, §5: a client writes its own client GUID at each of these places."""

_TOKEN = re.compile(r"([^;]*);([^;]*)(?:;[0-9]{1,2})?")
"""§5: client GUID, timestamp, and a number, probably the type of the field."""

_TIMESTAMP = re.compile(
    r"([0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2})(?:\.[0-9]{1,7})?(?:\+00:00)?Z?"
)
"""§5: the fraction and the notation of the zone vary; the zone is always UTC."""


@dataclass(frozen=True, slots=True)
class Signed:
    """A signature and the signed data."""

    name: str
    signature: str
    """In hexadecimal; empty if a required signature is missing."""
    data: bytes
    repeated: bool
    """Whether a client sends the same signature with each message."""


@dataclass(frozen=True, slots=True)
class Claim:
    """The sender that a request claims, and its signatures. Made by `read_claim` only."""

    inspected: Inspected = field(repr=False, compare=False)
    """The request."""
    guid: str
    """In the form of `client_guid.read_guid`; the first, if they differ; empty without one."""
    contradiction: Deny | None
    """The refusal of unequal client GUIDs, at least one of them at another place."""
    required: bool
    """Whether a client GUID is required."""
    signed: tuple[Signed, ...]
    key_in_message: bytes
    """SubjectPublicKeyInfo, DER, of the PublicKey property of a message; empty without one."""
    times: tuple[str, ...]
    """Signed timestamps, as sent."""
    registration: Registration | None = None

    @property
    def mentioned(self) -> tuple[str, ...]:
        """The client GUIDs that the message only mentions."""
        message = self.inspected.message
        return () if message is None else message.mentioned


def read_claim(inspected: Inspected) -> Claim | Deny:
    """Parse the client GUIDs and signatures of a request.

    Refuse malformed and repeated ones, and unequal ones at the places that identify the sender.
    """
    fields = _fields(inspected.authorized.head)
    if isinstance(fields, Deny):
        return fields
    message = inspected.message
    token = _TOKEN.fullmatch(fields["ClientToken"]) if "ClientToken" in fields else None
    if token is None and "ClientToken" in fields:
        return _malformed("ClientToken", "ClientToken")
    properties = dict(message.signature) if message is not None else {}
    stated = _stated(fields, token, message, properties)
    if isinstance(stated, Deny):
        return stated
    unequal = _contradiction([place for place in stated if place[1] in _IDENTIFYING])
    if unequal is not None:
        return unequal
    guid = stated[0][2] if stated else ""
    times = [fields["CCMClientTimestamp"]] if "CCMClientTimestamp" in fields else []
    times += [token[2]] if token is not None else []
    return Claim(
        inspected=inspected,
        guid=guid,
        contradiction=_contradiction(stated),
        required=message is not None and not message.anonymous,
        signed=(*_signed_fields(fields), *_signed_message(inspected, guid, properties)),
        key_in_message=read_public_key_blob(properties.get("PublicKey", "")) or b"",
        times=tuple(times),
        registration=message.registration if message is not None else None,
    )


def read_timestamp(text: str) -> datetime.datetime | None:
    """Parse a ConfigMgr timestamp to UTC; None if it is malformed."""
    found = _TIMESTAMP.fullmatch(text)
    if found is None:
        return None
    try:
        return datetime.datetime.fromisoformat(found[1]).replace(tzinfo=datetime.UTC)
    except ValueError:
        return None


def _fields(head: RequestHead) -> dict[str, str] | Deny:
    found: dict[str, str] = {}
    for name, value in head.fields:
        known = _FIELDS.get(name.lower())
        if known is None:
            continue
        if known in found:
            return Deny(
                Reason.IDENTITY_AMBIGUOUS, rules.IDENTITY.of(known), f"{known} more than once"
            )
        found[known] = value.decode("latin-1")
    return found


_Stated = tuple[str, str, str]
"""A place in rules (`rules.IDENTITY`), the exact place, and the client GUID at it."""


def _stated(
    fields: dict[str, str],
    token: re.Match[str] | None,
    message: MessageFacts | None,
    properties: dict[str, str],
) -> list[_Stated] | Deny:
    """The client GUIDs of a request, in the form of `read_guid`; refuse a malformed one."""
    found = []
    for where, place, text in _texts(fields, token, message, properties):
        guid = read_guid(text)
        if guid is None:
            return _malformed(where, place)
        found.append((where, place, guid))
    return found


def _texts(
    fields: dict[str, str],
    token: re.Match[str] | None,
    message: MessageFacts | None,
    properties: dict[str, str],
) -> Iterator[_Stated]:
    """The client GUIDs of a request, as written."""
    if "CCMClientID" in fields:
        yield "CCMClientID", "CCMClientID", fields["CCMClientID"]
    if token is not None:
        yield "ClientToken", "ClientToken", token[1]
    # Empty until the client is registered (§1.4, §3.1).
    if message is not None and message.source_id:
        yield "SourceID", "SourceID", message.source_id
    if "Token" in properties:
        # §1.5: lines of text, such as `ClientToken: GUID:...;time;2`.
        for guid in find_guids(properties["Token"], MAX_VALUES):
            yield "Token", "Token", guid
    for place, text in message.client_guids if message is not None else ():
        yield "payload", place, text


def _contradiction(stated: list[_Stated]) -> Deny | None:
    for where, place, guid in stated[1:]:
        _, first_place, first = stated[0]
        if guid != first:
            detail = f"{guid} in {place}, {first} in {first_place}"
            return Deny(Reason.IDENTITY_AMBIGUOUS, rules.IDENTITY.of(where), detail)
    return None


def _malformed(where: str, place: str) -> Deny:
    detail = f"{place} is not a client GUID"
    return Deny(Reason.IDENTITY_MALFORMED, rules.IDENTITY.of(where), detail)


def _signed_fields(fields: dict[str, str]) -> Iterator[Signed]:
    for name in _SIGNED_FIELDS:
        if name in fields:
            signature = f"{name}Signature"
            data = terminated(fields[name])
            yield Signed(signature, fields.get(signature, ""), data, name == "CCMClientID")


def _signed_message(
    inspected: Inspected, guid: str, properties: dict[str, str]
) -> Iterator[Signed]:
    message = inspected.message
    if message is None or (message.anonymous and not properties):
        return
    begin, end = message.payload
    signature = properties.get("ClientIDSignature", "")
    yield Signed("ClientIDSignature", signature, terminated(guid), repeated=True)
    signature = properties.get("PayloadSignature", "")
    yield Signed("PayloadSignature", signature, inspected.body[begin:end], repeated=False)
