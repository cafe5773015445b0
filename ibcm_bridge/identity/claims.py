"""Parse the client GUIDs and signatures of a request, without verifying them.

A client GUID can be in a message's header (SourceID), in its payload, and in HTTP header fields
(protocol.md §3.2, §5). Each must be well-formed, and all of a request must be equal, because a
management point may use any of them.
"""

from __future__ import annotations

import datetime
import re
from collections.abc import Iterator
from dataclasses import dataclass

from ibcm_bridge.decisions import rules
from ibcm_bridge.decisions.denial import Deny, Reason
from ibcm_bridge.inspection.message_facts import MessageFacts
from ibcm_bridge.inspection.verdict import Inspected
from ibcm_bridge.messages.client_guid import read_guid
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


@dataclass(frozen=True, slots=True)
class Claim:
    """The sender that a request claims, and its signatures."""

    guid: str
    """In the form of `client_guid.read_guid`; empty if the request has none."""
    required: bool
    """Whether a client GUID is required."""
    signed: tuple[Signed, ...]
    key_in_message: bytes
    """SubjectPublicKeyInfo, DER, of the PublicKey property of a message; empty without one."""
    times: tuple[str, ...]
    """Signed timestamps, as sent."""
    registration: Registration | None = None


def read_claim(inspected: Inspected) -> Claim | Deny:
    """Parse the client GUIDs and signatures of a request; refuse unequal client GUIDs."""
    fields = _fields(inspected.authorized.head)
    if isinstance(fields, Deny):
        return fields
    message = inspected.message
    token = _TOKEN.fullmatch(fields["ClientToken"]) if "ClientToken" in fields else None
    if token is None and "ClientToken" in fields:
        return _malformed("ClientToken")
    guid = _single_guid(_guids(fields, token, message))
    if isinstance(guid, Deny):
        return guid
    times = [fields["CCMClientTimestamp"]] if "CCMClientTimestamp" in fields else []
    times += [token[2]] if token is not None else []
    properties = dict(message.signature) if message is not None else {}
    return Claim(
        guid=guid,
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


def _guids(
    fields: dict[str, str], token: re.Match[str] | None, message: MessageFacts | None
) -> Iterator[tuple[str, str]]:
    """Each location of a client GUID, and the text at it."""
    if "CCMClientID" in fields:
        yield "CCMClientID", fields["CCMClientID"]
    if token is not None:
        yield "ClientToken", token[1]
    if message is not None:
        # Empty until the client is registered (§1.4, §3.1).
        for where, texts in (("SourceID", (message.source_id,)), ("payload", message.client_guids)):
            for text in texts:
                if text:
                    yield where, text


def _single_guid(stated: Iterator[tuple[str, str]]) -> str | Deny:
    first = where_first = ""
    for where, text in stated:
        guid = read_guid(text)
        if guid is None:
            return _malformed(where)
        if first and guid != first:
            detail = f"{guid} in {where}, {first} in {where_first}"
            return Deny(Reason.IDENTITY_AMBIGUOUS, rules.IDENTITY.of(where), detail)
        first, where_first = guid, where_first or where
    return first


def _malformed(where: str) -> Deny:
    detail = f"{where} is not a client GUID"
    return Deny(Reason.IDENTITY_MALFORMED, rules.IDENTITY.of(where), detail)


def _signed_fields(fields: dict[str, str]) -> Iterator[Signed]:
    for name in _SIGNED_FIELDS:
        if name in fields:
            signature = f"{name}Signature"
            yield Signed(signature, fields.get(signature, ""), terminated(fields[name]))


def _signed_message(
    inspected: Inspected, guid: str, properties: dict[str, str]
) -> Iterator[Signed]:
    message = inspected.message
    if message is None or (message.anonymous and not properties):
        return
    begin, end = message.payload
    of = {"ClientIDSignature": terminated(guid), "PayloadSignature": inspected.body[begin:end]}
    for name, data in of.items():
        yield Signed(name, properties.get(name, ""), data)
