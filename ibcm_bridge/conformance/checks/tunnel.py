"""The tunnel: TLS from the client to the site system."""

from __future__ import annotations

from ibcm_bridge.conformance.judgement import Judgement, all_of, holds, passed
from ibcm_bridge.conformance.kit import Client
from ibcm_bridge.conformance.subject import Subject
from ibcm_bridge.lab.cases import requests
from ibcm_bridge.lab.cases.requests import plain

_TO = "management-point-tunnel"


def client_certificate(subject: Subject) -> Judgement:
    """The site system MUST see the certificate of the client through a tunnel.

    Requirement: TUNNEL-PASS. Source: requirements.md, Tunneling.
    """
    exchange = subject.send(plain("GET", "/SMS_MP/.sms_aut?MPCERT"), to=_TO)
    own = subject.senders(Client.COMPUTER).me.certificate.subject.rfc4514_string()
    presented = [request.certificate_subject for request in exchange.received]
    other = "" if presented == [own] else f"it saw {presented}"
    return all_of(passed(exchange), holds("the site system sees the client's certificate", other))


def uninspected(subject: Subject) -> Judgement:
    """A message MUST arrive unchanged through a tunnel.

    Requirement: TUNNEL-PASS. Source: requirements.md, Tunneling.
    """
    return passed(subject.send(requests.inventory, to=_TO))
