"""Leaks in responses: names and software of the intranet."""

from __future__ import annotations

from ibcm_bridge.conformance.judgement import Judgement, Stop, all_of, holds, kept_back
from ibcm_bridge.conformance.subject import Subject
from ibcm_bridge.lab.cases import messages, requests
from ibcm_bridge.lab.cases.requests import plain
from ibcm_bridge.lab.clients.life_cycle import document
from ibcm_bridge.lab.protocol.client import Response

_DP = "distribution-point"


def server_software(subject: Subject) -> Judgement:
    """The Server field of the site system SHOULD NOT reach the client.

    Requirement: BRIDGE-INSPECT. Source: RFC 9110 10.2.4.
    """
    return kept_back(subject.send(plain("GET", "/SMS_MP/.sms_aut?MPCERT")), b"microsoft-iis")


def name_of_a_distribution_point(subject: Subject) -> Judgement:
    """Intranet names in a package listing SHOULD NOT reach the client.

    Requirement: BRIDGE-INSPECT. Source: protocol.md 7.
    """
    return kept_back(subject.send(requests.leaky_listing, to=_DP), b"dp01.corp.example")


def location_reply(subject: Subject) -> Judgement:
    """A location reply with intranet names SHOULD NOT reach the client.

    Requirement: BRIDGE-INSPECT. Source: protocol.md 3.4.
    """
    exchange = subject.send(messages.leaky_site)
    text = ""
    if isinstance(exchange.result, Response) and exchange.result.status == 200:
        # The reply is compressed.
        text = document(exchange.result)
    leaked = "the client received a name of corp.example" if "corp.example" in text else ""
    return all_of(
        holds("the reply has no intranet name", leaked, Stop.NOT_AT_ALL), kept_back(exchange)
    )
