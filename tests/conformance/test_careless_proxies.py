"""Checks notice what a broken twin of the bridge cannot do."""

from __future__ import annotations

import socket
from contextlib import ExitStack, suppress

from ibcm_bridge.conformance.collection import all_checks
from ibcm_bridge.conformance.exchange import Place
from ibcm_bridge.conformance.judgement import Outcome, Stop, refused
from ibcm_bridge.conformance.runner import Result, run_checks
from ibcm_bridge.conformance.subject import Subject

from .careless_proxies import Connect, copied_bytes, proxy, shared_legs
from .conftest import SuiteLab

CATALOG = "application-catalog-website-point"


def run_with(suite_lab: SuiteLab, places: dict[str, Place], *checks: str) -> dict[str, Result]:
    """Run checks; the bridge publishes the other roles."""
    subject = Subject(
        suite_lab.places | places,
        suite_lab.kit,
        suite_lab.site,
        seconds=5,
        features=frozenset(("windows-authentication",)),
    )
    results = run_checks([all_checks()[check] for check in checks], subject, {})
    return {result.check.id: result for result in results}


def test_a_proxy_that_shares_legs_lends_the_sign_in(suite_lab: SuiteLab) -> None:
    name = suite_lab.places[CATALOG].name
    site_system = suite_lab.site.addresses[CATALOG]
    pki = suite_lab.kit.folder / "pki"
    with shared_legs() as serve, proxy(pki, name, site_system, serve) as address:
        results = run_with(
            suite_lab,
            {CATALOG: Place(name, address)},
            *("users::sign_in_of_another_client", "users::ntlm_sign_in_of_another_client"),
            # These pass: apart from this, it works.
            *("users::sign_in", "users::ntlm_sign_in", "users::signed_in_connection"),
        )
    failed = {check for check, result in results.items() if result.judgement.outcome != "pass"}
    assert failed == {
        "users::sign_in_of_another_client",
        "users::ntlm_sign_in_of_another_client",
    }
    for check in failed:
        judgement = results[check].judgement
        assert judgement.outcome is Outcome.FAIL
        assert judgement.difference == "another client was signed in as somebody"


ACCEPTED = {
    # The simulated site system is as tolerant as some servers are.
    *("smuggling::absolute_target_of_another_host", "smuggling::bare_line_feed"),
    *("smuggling::connect", "smuggling::folded_field"),
}
SECOND = "smuggling::second_of_two_requests"
SLOW = {"limits::stalled_head", "limits::stalled_body"}
VALID = {"limits::slow_head", "limits::slow_body", "versions::several_requests"}


def test_a_proxy_that_copies_bytes_does_not_stop_them(suite_lab: SuiteLab) -> None:
    pki = suite_lab.kit.folder / "pki"
    roles = ("management-point", "distribution-point")
    malformed = {check for check in all_checks() if check.startswith("smuggling::")} - {SECOND}
    malformed |= {"versions::no_version", "limits::body_of_a_terabyte"}
    with ExitStack() as stack:
        places = {}
        for role in roles:
            site_system = suite_lab.site.addresses[role]
            copying = proxy(pki, "bridge-server", site_system, copied_bytes(seconds=1.5))
            address = stack.enter_context(copying)
            places[role] = Place(suite_lab.places[role].name, address)
        results = run_with(suite_lab, places, *sorted(malformed | SLOW | VALID | {SECOND}))
    found = {check: result.judgement for check, result in results.items()}
    assert {check for check in found if found[check].outcome is Outcome.PASS} == VALID
    assert found[SECOND].outcome is Outcome.FAIL
    stops = {check: found[check].stop for check in malformed | SLOW}
    assert {check for check, stop in stops.items() if stop is Stop.NOT_AT_ALL} == ACCEPTED
    for check in (malformed | SLOW) - ACCEPTED:
        late, itself = "too late: a malformed or unfinished request, ", "the site system refused it"
        assert stops[check] is Stop.INSIDE, (check, found[check])
        assert found[check].difference.startswith(late)
        assert (itself in found[check].difference) == (check in malformed)
        (arrived,) = results[check].exchanges[-1].received
        assert arrived.certificate_subject is not None
        assert not arrived.complete
        sent = results[check].exchanges[-1].sent
        assert isinstance(sent, bytes)
        assert arrived.body
        assert sent.startswith(arrived.body)


def test_a_proxy_that_connects_and_sends_nothing_has_forwarded_nothing(suite_lab: SuiteLab) -> None:
    place = suite_lab.places["management-point"]
    site_system = suite_lab.site.addresses["management-point"]

    def serve(client: socket.socket, connect: Connect) -> None:
        with connect() as leg:
            # A session ticket arrives after the handshake.
            leg.settimeout(0.1)
            with suppress(TimeoutError):
                leg.recv(1)
        client.recv(65_536)
        client.sendall(b"HTTP/1.1 403 Forbidden\r\nContent-Length: 0\r\n\r\n")

    pki = suite_lab.kit.folder / "pki"
    with proxy(pki, "bridge-server", site_system, serve) as address:
        subject = Subject(
            {"management-point": Place(place.name, address)}, suite_lab.kit, suite_lab.site
        )
        exchange = subject.send_bytes(b"GET / HTTP/1.1\r\nHost : x\r\n\r\n")
    assert exchange.received == ()
    assert refused(exchange).stop is Stop.AT_PERIMETER
