"""Exchanges that several checks begin with."""

from __future__ import annotations

from ibcm_bridge.conformance.exchange import Exchange
from ibcm_bridge.conformance.kit import Client
from ibcm_bridge.conformance.subject import Subject
from ibcm_bridge.lab.cases import messages


def register(
    subject: Subject, client: Client = Client.COMPUTER, to: str = "management-point"
) -> Exchange:
    """Register a client: a proxy learns its client GUID from the reply."""
    return subject.send(messages.registration, to=to, client=client)
