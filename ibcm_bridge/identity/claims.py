"""What a request says of who sends it, before anybody believes it.

A client GUID can stand in a message's header (SourceID), in its payload, and in header fields of
HTTP (protocol.md §3.2, §5). Wherever one stands it must have the form of one, and all that stand in
one request must be the same: a management point may go by any of them.
"""

from __future__ import annotations

import datetime
import re
from collections.abc import Iterator
from dataclasses import dataclass

from ibcm_bridge.decisions import rules
from ibcm_bridge.decisions.denial import Deny, Reason
from ibcm_bridge.inspection.body import Inspected
from ibcm_bridge.inspection.message_facts import MessageFacts
from ibcm_bridge.messages.client_guid import read_guid
from ibcm_bridge.messages.registration import Registration
from ibcm_bridge.messages.signatures import read_public_key_blob, terminated
from ibcm_bridge.request.head import RequestHead

_FIELDS = {
    b"ccmclientid": "CCMClientID",
    b"ccmclientidsignature": "CCMClientIDSignature",
    b"ccmclienttimestamp": "CCMClientTimestamp",
    b"ccmclienttimestampsignature": "CCMClientTimestampSignature",
    # As Microsoft's page has it; nobody sends it (§5).
    b"ccmclienttimestampssignature": "CCMClientTimestampSignature",
    b"clienttoken": "ClientToken",
    b"clienttokensignature": "ClientTokenSignature",
}
_SIGNED_FIELDS = ("CCMClientID", "CCMClientTimestamp", "ClientToken")

_TOKEN = re.compile(r"([^;]*);([^;]*)(?:;[0-9]{1,2})?")
"""§5: client GUID, timestamp, and a number that looks like the type of the field."""

_TIMESTAMP = re.compile(
    r"([0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2})(?:\.[0-9]{1,7})?(?:\+00:00)?Z?"
)
"""§5: senders differ in fractions and in how they write the zone, which is always UTC."""


@dataclass(frozen=True, slots=True)
class Signed:
    """A signature, and what it is of."""

    name: str
    signature: str
    """In hexadecimal; empty where there is none and should be."""
    data: bytes


@dataclass(frozen=True, slots=True)
class Claim:
    """Who a request says it is from, and what it offers as proof."""

    guid: str
    """As `client_guid` has it; empty where it names nobody."""
    needed: bool
    """Whether it must name somebody, and be signed."""
    signed: tuple[Signed, ...]
    own_key: bytes
    """SubjectPublicKeyInfo, DER, that a message says it is signed with; empty where it does not."""
    times: tuple[str, ...]
    """Signed timestamps, as they are written."""
    registration: Registration | None = None


def read_claim(inspected: Inspected) -> Claim | Deny:
    """What a request says of its sender. Refused where it does not say one thing."""
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
        needed=message is not None and not message.anonymous,
        signed=(*_signed_fields(fields), *_signed_message(inspected, guid, properties)),
        own_key=read_public_key_blob(properties.get("PublicKey", "")) or b"",
        times=tuple(times),
        registration=message.registration if message is not None else None,
    )


def read_timestamp(text: str) -> datetime.datetime | None:
    """A timestamp of ConfigMgr's, in UTC; None for anything else."""
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
    """Where a client GUID stands, and what stands there."""
    if "CCMClientID" in fields:
        yield "CCMClientID", fields["CCMClientID"]
    if token is not None:
        yield "ClientToken", token[1]
    if message is not None:
        # Empty before the client is registered (§1.4, §3.1).
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
    detail = f"{where} does not have the form of a client GUID"
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
