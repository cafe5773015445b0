"""The outcomes, from exchanges that are values."""

from __future__ import annotations

import dataclasses
from datetime import UTC, datetime
from hashlib import sha256

import pytest
from cryptography import x509
from cryptography.x509.oid import NameOID

from ibcm_bridge.conformance.exchange import Exchange, Place
from ibcm_bridge.conformance.judgement import (
    Judgement,
    Outcome,
    Stop,
    all_of,
    ended,
    given_up,
    kept_back,
    names_one_of,
    passed,
    refused,
)
from ibcm_bridge.conformance.kit import Client
from ibcm_bridge.conformance.results import AuthorityNames, ClientResult, Hang, Unreachable
from ibcm_bridge.lab.comparison.outcomes import ClientRefused
from ibcm_bridge.lab.protocol.client import ConnectionEnded, HandshakeRefused, Request, Response
from ibcm_bridge.lab.site_systems.records import ReceivedRequest

SENT = Request("CCM_POST", "/ccm_system/request", (("User-Agent", "ccmhttp"),), b"body")
PLACE = Place("bridge.internet.example", ("127.0.0.1", 443))


def response(status: int, body: bytes = b"reply") -> Response:
    return Response(status, "", (("Server", "IIS"),), body)


def arrived(request: Request = SENT, **changes: object) -> ReceivedRequest:
    body = request.body or b""
    received = ReceivedRequest(
        time=datetime(2026, 11, 30, tzinfo=UTC),
        site_system="management-point",
        method=request.method,
        target=request.target,
        headers=(("Host", PLACE.name), *request.headers),
        body=body,
        size=len(body),
        sha256=sha256(body).hexdigest(),
        certificate_subject="CN=bridge",
        certificate_sha256="",
        user="",
        peer_port=1,
        status=200,
    )
    return dataclasses.replace(received, **changes)  # type: ignore[arg-type]


def exchange(result: ClientResult, *received: ReceivedRequest) -> Exchange:
    return Exchange(SENT, "management-point", PLACE, Client.COMPUTER, result, received)


def judged(judgement: Judgement) -> tuple[Outcome, Stop | None]:
    return judgement.outcome, judgement.stop


@pytest.mark.parametrize(
    "result",
    [
        response(400),
        response(403),
        response(404),
        response(405),
        response(421),
        response(501),
        response(505),
        HandshakeRefused("certificate revoked"),
        HandshakeRefused(None),
        ConnectionEnded("no response"),
    ],
)
def test_a_refusal_without_an_arrival_is_at_the_perimeter(result: ClientResult) -> None:
    assert judged(refused(exchange(result))) == (Outcome.PASS, Stop.AT_PERIMETER)


@pytest.mark.parametrize(
    "result",
    [
        response(200),
        response(302),
        response(500),
        response(502),
        response(503),
        Unreachable("Connection refused"),
        ClientRefused("Hostname mismatch"),
    ],
)
def test_an_outage_or_an_own_page_is_not_a_refusal(result: ClientResult) -> None:
    assert judged(refused(exchange(result))) == (Outcome.FAIL, Stop.AT_PERIMETER)


def test_a_check_can_name_a_status_that_is_a_refusal() -> None:
    assert refused(exchange(response(500)), statuses={500}).outcome is Outcome.PASS


def test_a_refusal_of_the_site_system_is_inside() -> None:
    found = refused(exchange(response(403), arrived()))
    assert judged(found) == (Outcome.FAIL, Stop.INSIDE)
    assert "too late" in found.difference


def test_an_empty_reply_to_a_message_is_a_refusal_of_the_site_system() -> None:
    found = refused(exchange(response(200, b""), arrived()))
    assert judged(found) == (Outcome.FAIL, Stop.INSIDE)


def test_a_request_that_the_site_system_accepts_is_not_stopped() -> None:
    found = refused(exchange(response(200), arrived()))
    assert judged(found) == (Outcome.FAIL, Stop.NOT_AT_ALL)
    assert "CCM_POST /ccm_system/request (management-point) arrived" in found.difference


def test_the_cancellation_of_an_upload_is_not_the_request() -> None:
    cancelled = arrived(
        method="BITS_POST", headers=(("BITS-Packet-Type", "Cancel-Session"),), size=0
    )
    assert judged(refused(exchange(response(403), cancelled))) == (Outcome.PASS, Stop.AT_PERIMETER)
    fragment = arrived(method="BITS_POST", headers=(("BITS-Packet-Type", "Fragment"),))
    assert judged(refused(exchange(response(403), fragment))) == (Outcome.FAIL, Stop.INSIDE)


def test_no_response_is_a_hang() -> None:
    assert refused(exchange(Hang(30))).outcome is Outcome.HANG
    assert passed(exchange(Hang(30), arrived())).outcome is Outcome.HANG
    assert kept_back(exchange(Hang(30), arrived()), b"x").outcome is Outcome.HANG


def test_a_hang_says_what_arrived() -> None:
    hang = exchange(Hang(30.0), arrived())
    for judgement in (refused(hang), passed(hang), ended(hang, "head"), given_up(hang, "head")):
        assert judged(judgement) == (Outcome.HANG, None)
        assert "within 30 s; CCM_POST /ccm_system/request (management-point) arrived" in (
            judgement.difference
        )
    assert "arrived" not in refused(exchange(Hang(30.0))).difference


def test_a_judgement_has_the_exchange_that_differs() -> None:
    good, late = exchange(response(403)), exchange(response(200), arrived())
    assert refused(good, late, good).exchange is late
    assert all_of(passed(late), refused(late), passed(late)).exchange is late


@pytest.mark.parametrize(
    ("names", "outcome", "text"),
    [
        (("Issuing",), Outcome.PASS, ""),
        (("Other", "Issuing"), Outcome.PASS, ""),
        ((), Outcome.FAIL, "a handshake without names of authorities"),
        (("Other",), Outcome.FAIL, "a handshake with these names of authorities: CN=Other"),
    ],
)
def test_the_names_of_authorities_have_one_of_the_client(
    names: tuple[str, ...], outcome: Outcome, text: str
) -> None:
    def named(name: str) -> x509.Name:
        return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])

    result = AuthorityNames(tuple((f"CN={name}", named(name).public_bytes()) for name in names))
    judgement = names_one_of(exchange(result), [named("Issuing"), named("Root")])
    assert judgement.outcome is outcome
    assert judgement.difference.endswith(text)


def test_something_slow_that_the_proxy_ends_is_refused() -> None:
    assert judged(ended(exchange(response(408)), "head")) == (Outcome.PASS, Stop.AT_PERIMETER)
    idle = dataclasses.replace(exchange(ConnectionEnded("end")), sent=b"")
    assert judged(ended(idle, "idle")) == (Outcome.PASS, None)
    assert ended(exchange(ConnectionEnded("closed")), "idle").outcome is Outcome.PASS
    assert ended(exchange(response(504)), "head").outcome is Outcome.FAIL
    assert ended(exchange(response(408), arrived()), "body").outcome is Outcome.FAIL
    hang = ended(exchange(Hang(8)), "idle")
    assert hang.outcome is Outcome.HANG
    assert "time_limits.idle" in hang.difference


def test_a_silent_site_system_is_given_up_with_an_error() -> None:
    assert given_up(exchange(response(504), arrived()), "response").outcome is Outcome.PASS
    assert given_up(exchange(ConnectionEnded("cut"), arrived()), "response").outcome is Outcome.PASS
    assert given_up(exchange(response(200), arrived()), "response").outcome is Outcome.FAIL
    assert given_up(exchange(response(504)), "response").outcome is Outcome.FAIL
    hang = given_up(exchange(Hang(8), arrived()), "response")
    assert hang.outcome is Outcome.HANG
    assert "time_limits.response" in hang.difference


def test_a_request_that_arrives_unchanged_has_passed() -> None:
    assert passed(exchange(response(200), arrived())).outcome is Outcome.PASS
    assert passed(exchange(response(200), arrived()), body=b"reply").outcome is Outcome.PASS


@pytest.mark.parametrize(
    ("result", "received", "difference"),
    [
        (response(403), (), "nothing arrived; the client received 403"),
        (response(200), (), "nothing arrived; the client received 200"),
        (response(502), (arrived(),), "the client received 502"),
        (ConnectionEnded("cut"), (arrived(),), "the client received cut"),
        (response(200), (arrived(), arrived()), "2 arrived"),
        (response(200), (arrived(body=b"bodY"),), "the body changed"),
        (response(200), (arrived(target="/other"),), "/other"),
        (response(200), (arrived(method="POST"),), "POST"),
        (response(200), (arrived(headers=()),), "the header fields user-agent"),
        (response(200), (arrived(headers=(("User-Agent", "x"),)),), "the header fields user-agent"),
    ],
)
def test_a_request_that_changed_has_not_passed(
    result: ClientResult, received: tuple[ReceivedRequest, ...], difference: str
) -> None:
    found = passed(exchange(result, *received))
    assert found.outcome is Outcome.FAIL
    assert difference in found.difference


def test_a_changed_response_has_not_passed() -> None:
    assert passed(exchange(response(200), arrived()), body=b"other").outcome is Outcome.FAIL
    assert passed(exchange(response(206), arrived())).outcome is Outcome.FAIL
    assert passed(exchange(response(206), arrived()), statuses={206}).outcome is Outcome.PASS


def test_a_dropped_field_must_not_arrive() -> None:
    kept = exchange(response(200), arrived())
    assert passed(kept, dropped=("User-Agent",)).outcome is Outcome.FAIL
    removed = exchange(response(200), arrived(headers=()))
    assert passed(removed, dropped=("User-Agent",)).outcome is Outcome.PASS


def test_a_secret_is_kept_back_if_the_client_does_not_receive_it() -> None:
    leaked = exchange(response(200, b"at DP01.corp.example"), arrived())
    assert judged(kept_back(leaked, b"dp01.corp")) == (Outcome.FAIL, Stop.NOT_AT_ALL)
    assert kept_back(exchange(response(200), arrived()), b"server: iis").outcome is Outcome.FAIL
    assert kept_back(exchange(response(502), arrived()), b"dp01").outcome is Outcome.PASS
    assert kept_back(exchange(response(403)), b"dp01").outcome is Outcome.FAIL


def test_the_first_judgement_that_is_not_a_pass_decides() -> None:
    good, bad = Judgement(Outcome.PASS, "a"), Judgement(Outcome.FAIL, "b", "first")
    worse = Judgement(Outcome.FAIL, "c", "second")
    assert all_of(good, bad, worse) is bad
    assert all_of(good, good) == good


def broken(status: int) -> ReceivedRequest:
    return arrived(complete=False, status=status, headers=(), body=b"CCM_POST / HTTP/1.1")


@pytest.mark.parametrize("result", [response(400), response(200), ConnectionEnded("no response")])
def test_malformed_bytes_that_arrive_are_too_late(result: ClientResult) -> None:
    found = refused(exchange(result, broken(400)))
    assert judged(found) == (Outcome.FAIL, Stop.INSIDE)
    assert found.difference == (
        "too late: a malformed or unfinished request, CCM_POST /ccm_system/request "
        "(management-point), arrived, and the site system refused it itself"
    )


def test_half_a_request_that_arrives_is_too_late() -> None:
    found = ended(exchange(response(408), broken(0)), "body")
    assert judged(found) == (Outcome.FAIL, Stop.INSIDE)
    assert found.difference.endswith("(management-point), arrived")


def test_half_a_request_is_not_forwarded() -> None:
    for judgement in (
        passed(exchange(response(200), broken(0))),
        passed(exchange(response(200), arrived(), broken(0))),
        given_up(exchange(response(504), broken(0)), "response"),
        kept_back(exchange(response(200), broken(0)), b"corp.example"),
    ):
        assert judgement.outcome is Outcome.FAIL


def test_an_accepted_request_beside_malformed_bytes_is_not_stopped() -> None:
    found = refused(exchange(response(200), arrived(), broken(400)))
    assert judged(found) == (Outcome.FAIL, Stop.NOT_AT_ALL)
