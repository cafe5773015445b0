"""Windows authentication: a sign-in belongs to one client's connection."""

from __future__ import annotations

from ibcm_bridge.conformance.judgement import Judgement, all_of, holds, passed, refused
from ibcm_bridge.conformance.kit import Client
from ibcm_bridge.conformance.subject import Subject
from ibcm_bridge.lab.cases.requests import TICKET, plain
from ibcm_bridge.lab.protocol.client import Response

_TO = "application-catalog-website-point"
_PAGE = "/CMApplicationCatalog/"


def challenge(subject: Subject) -> Judgement:
    """The challenge of the site system MUST reach the client.

    Requirement: USER-WINDOWS-AUTH. Source: RFC 4559 4.1.
    """
    subject.needs("windows-authentication")
    exchange = subject.send(plain("GET", _PAGE), to=_TO, client=Client.NONE)
    field = None
    if isinstance(exchange.result, Response):
        field = exchange.result.header("WWW-Authenticate")
    missing = "" if field else "the response has no WWW-Authenticate"
    return all_of(passed(exchange, statuses=(401,)), holds("a challenge", missing))


def sign_in(subject: Subject) -> Judgement:
    """The ticket of a user MUST arrive.

    Requirement: USER-WINDOWS-AUTH. Source: RFC 4559 4.2.
    """
    subject.needs("windows-authentication")
    return passed(subject.send(plain("GET", _PAGE, TICKET), to=_TO, client=Client.NONE))


def sign_in_of_another_client(subject: Subject) -> Judgement:
    """The sign-in of one client MUST NOT serve another client.

    Requirement: USER-WINDOWS-AUTH. Source: RFC 4559 6.
    """
    subject.needs("windows-authentication")
    with subject.connection(_TO, Client.NONE) as send:
        signed_in = passed(send(plain("GET", _PAGE, TICKET)))
        again = send(plain("GET", _PAGE))
        # The first connection is still open and signed in.
        other = subject.send(plain("GET", _PAGE), to=_TO, client=Client.NONE)
    user = next((request.user for request in other.received), "")
    served = f"the other client was signed in as {user}" if user else ""
    return all_of(
        signed_in, passed(again, statuses=(200, 401)), holds("no user is signed in", served)
    )


def password(subject: Subject) -> Judgement:
    """A password (Basic) SHOULD be refused: no client sends one.

    Requirement: USER-WINDOWS-AUTH. Source: RFC 7617 4.
    """
    subject.needs("windows-authentication")
    field = ("Authorization", "Basic bGFiOmxhYg==")
    return refused(subject.send(plain("GET", _PAGE, field), to=_TO, client=Client.NONE))
