"""BITS uploads: the whole file is inspected, and a session belongs to one client."""

from __future__ import annotations

import uuid
import zlib
from collections.abc import Sequence

from ibcm_bridge.conformance.exchange import Exchange
from ibcm_bridge.conformance.judgement import Judgement, all_of, passed, refused
from ibcm_bridge.conformance.kit import Client
from ibcm_bridge.conformance.subject import Subject
from ibcm_bridge.lab.cases.requests import eicar
from ibcm_bridge.lab.protocol import documents
from ibcm_bridge.lab.protocol.client import Request, Response
from ibcm_bridge.lab.protocol.uploads import Upload

_FRAGMENTS = 3


def upload(subject: Subject) -> Judgement:
    """An upload in three fragments MUST be forwarded.

    Requirement: VERB-MP. Source: MC-BUP 3.1.
    """
    sent, packets = _begin(subject, _report(subject), _FRAGMENTS)
    last = _send(subject, packets.fragments(_FRAGMENTS)[-1])
    return all_of(*map(passed, (*sent, last, _send(subject, packets.close()))))


def malware_across_fragments(subject: Subject) -> Judgement:
    """Malware that no single fragment contains MUST be refused.

    Requirement: BRIDGE-INSPECT. Source: protocol.md 6.
    """
    xml = documents.inventory_report(subject.senders(Client.COMPUTER).me.guid)
    xml = xml.replace("</Report>", f"<!-- {eicar()} --></Report>")
    sent, packets = _begin(subject, zlib.compress(xml.encode("utf-16-le")), _FRAGMENTS)
    last = _send(subject, packets.fragments(_FRAGMENTS)[-1])
    return all_of(*map(passed, sent), refused(last))


def closed_early(subject: Subject) -> Judgement:
    """Close-Session before the last fragment SHOULD be refused: a server stores what it has.

    Requirement: BRIDGE-INSPECT. Source: MC-BUP 3.2.5.1.2.
    """
    sent, packets = _begin(subject, _report(subject), _FRAGMENTS)
    return all_of(*map(passed, sent), refused(_send(subject, packets.close())))


def session_of_another_client(subject: Subject) -> Judgement:
    """A fragment for the session of another client SHOULD be refused.

    Requirement: BRIDGE-IDENTITY. Source: protocol.md 6.
    """
    sent, packets = _begin(subject, _report(subject), _FRAGMENTS)
    last = _send(subject, packets.fragments(_FRAGMENTS)[-1], Client.OTHER)
    # A server has this status for an unknown session ([MC-BUP] 2.2.3).
    return all_of(*map(passed, sent), refused(last, statuses={500}))


def _begin(subject: Subject, data: bytes, count: int) -> tuple[Sequence[Exchange], Upload]:
    """Begin a session, and send all fragments except the last one."""
    path = f"/CCM_Incoming/{uuid.uuid4()}.msg"
    created = _send(subject, Upload(path, data).create())
    session = ""
    if isinstance(created.result, Response):
        session = created.result.header("BITS-Session-Id") or ""
    packets = Upload(path, data, session)
    return [created, *(_send(subject, each) for each in packets.fragments(count)[:-1])], packets


def _send(subject: Subject, packet: Request, client: Client = Client.COMPUTER) -> Exchange:
    return subject.send(lambda _who: packet, client=client)


def _report(subject: Subject) -> bytes:
    guid = subject.senders(Client.COMPUTER).me.guid
    return documents.inventory_report(guid).encode("utf-16-le")
