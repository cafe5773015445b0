"""Windows authentication: a sign-in belongs to one client's connection."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from ibcm_bridge.conformance.exchange import Exchange
from ibcm_bridge.conformance.judgement import Judgement, all_of, holds, passed, refused
from ibcm_bridge.conformance.kit import Client
from ibcm_bridge.conformance.subject import Subject
from ibcm_bridge.lab.cases.requests import TICKET, MakeRequest, plain
from ibcm_bridge.lab.protocol import ntlm
from ibcm_bridge.lab.protocol.client import Response

_TO = "application-catalog-website-point"
_PAGE = "/CMApplicationCatalog/"
_OTHERS = 3
"""Other clients, and the requests of each: a proxy with threads may have a pool for each one."""

type Send = Callable[[MakeRequest], Exchange]
"""Sends a request on one connection."""


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


def ntlm_sign_in(subject: Subject) -> Judgement:
    """The three messages of a sign-in with NTLM MUST arrive on one connection to the site system.

    Requirement: USER-WINDOWS-AUTH. Source: [MS-NLMP] 1.3.1.1, [MS-NTHT] 1.3.
    """
    subject.needs("windows-authentication")
    with subject.connection(_TO, Client.NONE) as send:
        return _with_ntlm(send)


def signed_in_connection(subject: Subject) -> Judgement:
    """A user who has signed in MUST stay signed in for the next requests on the connection.

    Requirement: USER-WINDOWS-AUTH. Source: [MS-NTHT] 1.3.
    """
    subject.needs("windows-authentication")
    with subject.connection(_TO, Client.NONE) as send:
        return all_of(_with_ntlm(send), *(passed(send(plain("GET", _PAGE))) for _ in range(3)))


def sign_in_of_another_client(subject: Subject) -> Judgement:
    """The ticket of one client MUST NOT sign in another client.

    Requirement: USER-WINDOWS-AUTH. Source: RFC 4559 6.
    """
    subject.needs("windows-authentication")
    return _of_another(subject, lambda send: passed(send(plain("GET", _PAGE, TICKET))))


def ntlm_sign_in_of_another_client(subject: Subject) -> Judgement:
    """The sign-in of one client with NTLM MUST NOT sign in another client.

    Requirement: USER-WINDOWS-AUTH. Source: RFC 4559 6, [MS-NTHT] 1.3.
    """
    subject.needs("windows-authentication")
    return _of_another(subject, _with_ntlm)


def password(subject: Subject) -> Judgement:
    """A password (Basic) SHOULD be refused: no client sends one.

    Requirement: USER-WINDOWS-AUTH. Source: RFC 7617 4.
    """
    subject.needs("windows-authentication")
    field = ("Authorization", "Basic bGFiOmxhYg==")
    return refused(subject.send(plain("GET", _PAGE, field), to=_TO, client=Client.NONE))


def _with_ntlm(send: Send) -> Judgement:
    """Sign in with three messages."""
    first = send(plain("GET", _PAGE, ("Authorization", ntlm.negotiate())))
    second = first.result.header("WWW-Authenticate") if isinstance(first.result, Response) else None
    began = passed(first, statuses=(401,))
    try:
        third = ntlm.authenticate(second or "")
    except ValueError:
        return all_of(began, holds("the second message", f"the client received {second}"))
    return all_of(began, passed(send(plain("GET", _PAGE, ("Authorization", third)))))


def _of_another(subject: Subject, sign_in_by: Callable[[Send], Judgement]) -> Judgement:
    """Sign in, and send the requests of other clients during and after this connection."""
    with subject.connection(_TO, Client.NONE) as send:
        signed_in = sign_in_by(send)
        others = _without_sign_in(subject)
    # Now a proxy could lend the leg that the first client has left.
    others += _without_sign_in(subject)
    return all_of(signed_in, *map(_not_signed_in, others))


def _without_sign_in(subject: Subject) -> list[Exchange]:
    """Send requests of clients that have not signed in."""
    exchanges = []
    for _ in range(_OTHERS):
        with subject.connection(_TO, Client.NONE) as send:
            # A proxy can begin with a leg of its own, and lend another one later.
            exchanges += [send(plain("GET", _PAGE)) for _ in range(_OTHERS)]
    return exchanges


def _not_signed_in(exchange: Exchange) -> Judgement:
    """Require that another client is not signed in."""
    user = next((request.user for request in exchange.received if request.user), "")
    served = f"another client was signed in as {user}" if user else ""
    return replace(holds("no other client is signed in", served), exchange=exchange)
