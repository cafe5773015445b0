"""Client certificates: who may send anything at all."""

from __future__ import annotations

from ibcm_bridge.conformance.judgement import (
    Judgement,
    all_of,
    holds,
    names_one_of,
    passed,
    refused,
)
from ibcm_bridge.conformance.kit import Client
from ibcm_bridge.conformance.subject import Subject
from ibcm_bridge.lab.cases import messages
from ibcm_bridge.lab.cases.requests import plain

_GET = plain("GET", "/SMS_MP/.sms_aut?MPCERT")


def computer(subject: Subject) -> Judgement:
    """A client with a valid computer certificate MUST be accepted.

    Requirement: BRIDGE-AUTH-COMPUTER. Source: protocol.md 9.
    """
    return passed(subject.send(_GET))


def another_computer(subject: Subject) -> Judgement:
    """Every valid computer certificate of the trusted authority MUST be accepted.

    Requirement: BRIDGE-AUTH-COMPUTER. Source: protocol.md 9.
    """
    return passed(subject.send(_GET, client=Client.OTHER))


def none(subject: Subject) -> Judgement:
    """A client without a certificate MUST be refused.

    Requirement: BRIDGE-AUTH-COMPUTER. Source: RFC 8446 4.4.2.4.
    """
    return refused(subject.send(_GET, client=Client.NONE))


def revoked(subject: Subject) -> Judgement:
    """A client with a revoked certificate MUST be refused.

    Requirement: BRIDGE-AUTH-COMPUTER. Source: RFC 5280 6.3.
    """
    return refused(subject.send(_GET, client=Client.REVOKED))


def expired(subject: Subject) -> Judgement:
    """A client with an expired certificate MUST be refused.

    Requirement: BRIDGE-AUTH-COMPUTER. Source: RFC 5280 6.1.3.
    """
    return refused(subject.send(_GET, client=Client.EXPIRED))


def foreign(subject: Subject) -> Judgement:
    """A client with a certificate from an untrusted authority MUST be refused.

    Requirement: BRIDGE-AUTH-COMPUTER. Source: RFC 5280 6.1.
    """
    return refused(subject.send(_GET, client=Client.FOREIGN))


def self_signed(subject: Subject) -> Judgement:
    """A client with a self-signed certificate MUST be refused.

    Requirement: BRIDGE-AUTH-COMPUTER. Source: RFC 5280 6.1.
    """
    return refused(subject.send(_GET, client=Client.SELF_SIGNED))


def server_purpose(subject: Subject) -> Judgement:
    """A client with a certificate for server authentication only MUST be refused.

    Requirement: PKI-BOTH-ENDS. Source: RFC 5280 4.2.1.12.
    """
    return refused(subject.send(_GET, client=Client.WRONG_PURPOSE))


def no_purpose(subject: Subject) -> Judgement:
    """A client with a certificate without extended key usage MUST be refused.

    Requirement: PKI-BOTH-ENDS. Source: protocol.md 9.
    """
    return refused(subject.send(_GET, client=Client.NO_PURPOSE))


def user_on_a_computer_publication(subject: Subject) -> Judgement:
    """A user certificate SHOULD be refused where computers are authenticated.

    Requirement: BRIDGE-AUTH-COMPUTER. Source: requirements.md, Bridging.
    """
    return refused(subject.send(_GET, client=Client.USER))


def user_on_a_user_publication(subject: Subject) -> Judgement:
    """A user certificate MUST be accepted where users are authenticated.

    Requirement: BRIDGE-AUTH-USER. Source: requirements.md, Bridging.
    """
    to = "management-point-users"
    registration = subject.send(messages.registration, to=to, client=Client.USER)
    return all_of(passed(registration), passed(subject.send(_GET, to=to, client=Client.USER)))


def authority_names(subject: Subject) -> Judgement:
    """The handshake MUST name an authority of the clients: some select a certificate by it.

    Requirement: BRIDGE-AUTH-COMPUTER. Source: RFC 8446 4.2.4, RFC 5246 7.4.4.
    """
    subject.needs("ca_names")
    return names_one_of(subject.authority_names(), subject.authorities())


def own_certificate_of_the_proxy(subject: Subject) -> Judgement:
    """The site system MUST see the certificate of the proxy, on a new TLS connection.

    Requirement: BRIDGE-TERMINATE. Source: requirements.md, Bridging.
    """
    exchange = subject.send(_GET)
    presented = {request.certificate_subject for request in exchange.received}
    difference = "" if presented and None not in presented else "it presented no certificate"
    own = subject.senders(Client.COMPUTER).me.certificate.subject.rfc4514_string()
    if own in presented:
        difference = "it presented the certificate of the client"
    return all_of(passed(exchange), holds("the proxy presents its own certificate", difference))
