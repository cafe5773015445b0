"""A certificate that is revoked while the proxy runs.

The kit issues a new certificate for each of these checks, and revokes it in new lists.
"""

from __future__ import annotations

import time

from ibcm_bridge.conformance.exchange import Exchange
from ibcm_bridge.conformance.judgement import Judgement, all_of, holds, passed, refused
from ibcm_bridge.conformance.kit import Client
from ibcm_bridge.conformance.order import Order
from ibcm_bridge.conformance.subject import Subject
from ibcm_bridge.lab.cases.requests import plain

ORDER = Order.LAST
"""A proxy may have to be reloaded for new lists."""

_GET = plain("GET", "/SMS_MP/.sms_aut?MPCERT")
_CLIENT = Client.REVOKED_LATER


def new_list(subject: Subject) -> Judgement:
    """A certificate on a new revocation list MUST be refused when the list is in use.

    Requirement: BRIDGE-AUTH-COMPUTER. Source: RFC 5280 6.3.
    """
    revocation = subject.revocation()
    credential = revocation.new_client()
    subject.present(_CLIENT, credential)
    accepted = passed(subject.send(_GET, client=_CLIENT))
    problem = revocation.revoke(credential)
    return all_of(accepted, _done(problem), refused(_until_refused(subject, revocation.seconds)))


def after_resumption(subject: Subject) -> Judgement:
    """A client whose certificate was revoked MUST be refused when it resumes its TLS session.

    Requirement: BRIDGE-AUTH-COMPUTER. Source: RFC 8446 2.2, RFC 5280 6.3.
    """
    revocation = subject.revocation()
    credential = revocation.new_client()
    subject.present(_CLIENT, credential)
    found: list[Judgement] = []

    def revoke() -> None:
        found.append(_done(revocation.revoke(credential)))
        # In a full handshake: the list is in use.
        found.append(refused(_until_refused(subject, revocation.seconds)))

    resumed = subject.send_resumed(
        _GET, after=_GET, at="management-point", client=_CLIENT, meanwhile=revoke
    )
    first = subject.exchanges[0]
    return all_of(passed(first), *found, refused(resumed))


def connected_client(subject: Subject) -> Judgement:
    """A client whose certificate was revoked SHOULD be refused on its open connection.

    Requirement: BRIDGE-AUTH-COMPUTER. Source: RFC 5280 6.3.
    """
    revocation = subject.revocation()
    credential = revocation.new_client()
    subject.present(_CLIENT, credential)
    with subject.connection(client=_CLIENT) as send:
        accepted = passed(send(_GET))
        done = _done(revocation.revoke(credential))
        until = time.monotonic() + revocation.seconds
        # Requests without a pause of the length of an idle time.
        while (again := send(_GET)).received and time.monotonic() < until:
            subject.exchanges.pop()
            time.sleep(1)
    return all_of(accepted, done, refused(again))


def _done(problem: str) -> Judgement:
    return holds("the proxy gets the new revocation lists", problem)


def _until_refused(subject: Subject, seconds: float) -> Exchange:
    """Return the first exchange on a new connection that is refused, or the last one in time."""
    until = time.monotonic() + seconds
    while (exchange := subject.send(_GET, client=_CLIENT)).received and time.monotonic() < until:
        subject.exchanges.pop()
        time.sleep(1)
    return exchange
