"""The choice between several site systems, without sockets: failover, breakers and bound requests.

Legs have no TLS here (`PlainLeg`). A dial is completed by the test.
"""

from __future__ import annotations

import dataclasses
import datetime
import logging

import pytest

from ibcm_bridge.addons.layers.exchange_layer import ExchangeLayer
from ibcm_bridge.addons.layers.site_system_states import SiteSystemState
from ibcm_bridge.decisions import rules
from ibcm_bridge.identity.approval import Approved
from ibcm_bridge.policy.publications import BridgePublication
from ibcm_bridge.policy.site_systems import Order, PerSiteSystem, SiteSystem, SiteSystems
from ibcm_bridge.site_system_leg.origination import own_certificate
from tests.addons.layers.samples import GET, OK, SECOND, post, status
from tests.addons.stand_ins.driver import LIMITS
from tests.addons.stand_ins.exchange_driver import ExchangeDriver

A, B, C = (
    SiteSystem((f"10.0.0.{number}", 443), f"mp0{number}.corp.example", "mp.corp.example")
    for number in (1, 2, 3)
)
REFUSED = "[Errno 111] Connect call failed"
FAILURES, PROBE_SECONDS = PerSiteSystem().failures, PerSiteSystem().probe_seconds


@pytest.fixture
def several(exchange: ExchangeDriver) -> ExchangeDriver:
    """An exchange with two site systems. None is connected to yet."""
    use(exchange, A, B)
    exchange.hold_dial = True
    return exchange


def use(exchange: ExchangeDriver, *listed: SiteSystem, order: Order = Order.AS_LISTED) -> None:
    publication = exchange.record.publication
    assert isinstance(publication, BridgePublication)
    exchange.record.publication = dataclasses.replace(
        publication,
        directories={
            name: dataclasses.replace(role, site_systems=SiteSystems(listed, order))
            for name, role in publication.directories.items()
        },
    )


def dialling(exchange: ExchangeDriver) -> tuple[str, int]:
    """Return the only address that is being connected to."""
    (command,) = exchange.dialling
    assert exchange.record.may_dial == command.connection.address
    address: tuple[str, int] = command.connection.address
    return address


def state(exchange: ExchangeDriver, site_system: SiteSystem) -> SiteSystemState:
    return exchange.states.of("bridge.internet.example", "management-point", site_system.name)


def fail(exchange: ExchangeDriver, site_system: SiteSystem, times: int = FAILURES) -> None:
    """Note failed attempts of other clients."""
    for _ in range(times):
        state(exchange, site_system).failed("refused", exchange.clock.now)


def legs(exchange: ExchangeDriver) -> list[str]:
    assert isinstance(exchange.layer, ExchangeLayer)
    return [leg.terms.server_name for leg in exchange.layer.legs.kept.values()]


def test_the_first_one_of_the_list_is_used_while_it_can_be_connected_to(
    several: ExchangeDriver,
) -> None:
    several.receive(GET)
    assert dialling(several) == A.address
    several.complete_dial()
    several.receive(OK, several.server)
    assert several.to_client() == OK
    assert several.ended[0].site_system == A.name
    assert several.ended[0].note == ""


@pytest.mark.parametrize("request_", [GET, b"".join(post())])
def test_a_request_that_was_not_sent_is_sent_to_the_next_one(
    several: ExchangeDriver, request_: bytes
) -> None:
    several.receive(request_)
    several.complete_dial(REFUSED)
    assert dialling(several) == B.address
    several.complete_dial()
    assert several.server.sni == B.name
    assert several.to(several.server).count(b"HTTP/1.1\r\n") == 1
    several.receive(OK if request_ is GET else OK.replace(b"200 OK", b"404 No"), several.server)
    assert status(several.to_client()) in (200, 404)
    (ended,) = several.ended
    assert isinstance(ended.decision, Approved)
    assert ended.site_system == B.name
    assert ended.note.startswith(
        "another site system was tried: mp01.corp.example: connection refused by 10.0.0.1:443"
    )
    assert legs(several) == [B.name]


def test_if_none_can_be_connected_to_the_request_is_refused_as_with_one(
    several: ExchangeDriver,
) -> None:
    several.receive(GET)
    several.complete_dial(REFUSED)
    several.complete_dial(REFUSED)
    assert several.reason() == "site-system-unreachable"
    assert status(several.to_client()) == 502
    (ended,) = several.ended
    assert (ended.site_system, ended.forwarded) == (B.name, False)
    assert "mp02" in ended.decision.detail  # type: ignore[union-attr]
    assert "mp01" in ended.note


def test_one_that_does_not_respond_leaves_time_for_the_next(several: ExchangeDriver) -> None:
    several.receive(GET)
    several.advance(LIMITS.connect_seconds / 2 - 0.1)
    assert dialling(several) == A.address
    several.advance(0.2)
    given_up = several.dialling.pop(0).connection
    assert given_up in several.closed
    assert dialling(several) == B.address
    several.advance(LIMITS.connect_seconds / 2)
    assert several.reason() == "site-system-unreachable"


def test_a_dial_that_was_given_up_has_no_effect_if_it_ends_later(several: ExchangeDriver) -> None:
    several.receive(GET)
    several.advance(LIMITS.connect_seconds / 2)
    given_up = several.dialling.pop(0)
    several.complete_dial()
    server = several.server
    several.dialling.append(given_up)
    several.complete_dial("connection cancelled")
    several.receive(OK, server)
    assert several.to_client() == OK
    assert server.address == B.address


def test_a_request_that_was_sent_is_not_sent_to_another_one(several: ExchangeDriver) -> None:
    several.receive(b"".join(post()))
    several.complete_dial()
    several.close(several.server)
    assert several.reason() == "site-system-response"
    assert not several.dialling
    assert len(several.dialled) == 1


def test_a_request_that_may_be_sent_again_goes_to_one_that_can_be_connected_to(
    several: ExchangeDriver,
) -> None:
    several.receive(GET)
    several.complete_dial()
    several.receive(OK, several.server)
    several.receive(SECOND)
    several.close(several.server)
    assert dialling(several) == A.address
    several.complete_dial(REFUSED)
    several.complete_dial()
    several.receive(OK, several.server)
    assert several.to_client() == OK + OK
    assert (several.ended[1].site_system, several.ended[1].resent) == (B.name, True)


def test_after_failures_in_a_row_the_others_come_first_until_a_probe_succeeds(
    several: ExchangeDriver, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.WARNING):
        fail(several, A)
    name = "bridge.internet.example: management-point: mp01.corp.example"
    assert caplog.messages == [f"{name} is not available: refused"]
    assert not state(several, A).is_available
    several.receive(GET)
    assert dialling(several) == B.address
    several.complete_dial()
    several.receive(OK, several.server)
    several.advance(PROBE_SECONDS)
    several.receive(GET)
    assert dialling(several) == A.address
    several.complete_dial()
    assert not state(several, A).is_available, "the response shows that it accepts the bridge"
    several.receive(OK, several.server)
    assert state(several, A).is_available
    assert caplog.messages[1:] == [f"{name} is available again"]
    assert several.to_client() == OK + OK


def test_while_one_request_probes_the_others_do_not(several: ExchangeDriver) -> None:
    fail(several, A)
    several.advance(PROBE_SECONDS)
    state(several, A).probed(several.clock.now)
    several.receive(GET)
    assert dialling(several) == B.address


def test_if_none_is_available_all_are_tried(several: ExchangeDriver) -> None:
    fail(several, A)
    fail(several, B)
    assert (
        list(several.states.problems())
        == ["bridge.internet.example: management-point: no site system can be connected to"]
        or len(list(several.states.problems())) == 0
    )
    several.receive(GET)
    assert dialling(several) == A.address
    several.complete_dial(REFUSED)
    several.complete_dial()
    several.receive(OK, several.server)
    assert several.to_client() == OK


def test_only_one_site_system_is_always_tried(exchange: ExchangeDriver) -> None:
    use(exchange, A)
    fail(exchange, A, 10)
    exchange.receive(GET)
    assert exchange.server.address == A.address
    exchange.receive(OK, exchange.server)
    assert state(exchange, A).is_available


def test_by_client_another_client_begins_with_another_one(several: ExchangeDriver) -> None:
    use(several, A, B, C, order=Order.BY_CLIENT)
    several.receive(GET)
    first = dialling(several)
    several.complete_dial(REFUSED)
    second = dialling(several)
    several.complete_dial(REFUSED)
    third = dialling(several)
    assert {first, second, third} == {A.address, B.address, C.address}
    several.complete_dial()
    several.receive(OK, several.server)
    several.receive(SECOND)
    assert dialling(several) == first, "it has failed only once"


def test_windows_authentication_stays_on_its_leg(several: ExchangeDriver) -> None:
    several.receive(GET)
    several.complete_dial(REFUSED)
    several.complete_dial()
    assert isinstance(several.layer, ExchangeLayer)
    (leg,) = several.layer.legs.kept.values()
    leg.authenticates = True
    several.receive(OK, several.server)
    several.receive(SECOND)
    assert not several.dialling, "the first one of the list is not tried again"
    assert several.to(leg.server) == GET + SECOND
    several.receive(OK, leg.server)
    several.close(leg.server)
    assert several.gone, "and no other leg replaces it"


def test_an_authenticated_leg_that_was_lost_is_not_replaced_by_another_site_system(
    several: ExchangeDriver,
) -> None:
    several.receive(GET)
    several.complete_dial()
    assert isinstance(several.layer, ExchangeLayer)
    (leg,) = several.layer.legs.kept.values()
    several.receive(OK, several.server)
    leg.authenticates, leg._idle_since = True, None
    several.receive(SECOND)
    assert several.ended[1].decision.rule == rules.SITE_SYSTEM_WINDOWS_AUTHENTICATION
    assert not several.dialling


def test_a_location_may_name_any_of_them(several: ExchangeDriver) -> None:
    moved = b"HTTP/1.1 302 Found\r\nLocation: https://%b/x\r\nContent-Length: 0\r\n\r\n"
    for name, expected in ((B.name, 302), ("mp09.corp.example", 502)):
        several.receive(GET)
        if several.dialling:
            several.complete_dial()
        several.receive(moved % name.encode(), several.server)
        received = several.to_client()
        assert status(received) == expected
        assert (b"Location: https://bridge.internet.example/x\r\n" in received) is (expected == 302)


NOW = datetime.datetime(2026, 12, 1, tzinfo=datetime.UTC)
DAY = datetime.timedelta(days=1)


@pytest.mark.parametrize(
    ("begins", "ends", "detail"),
    [
        (-DAY, DAY, None),
        (-2 * DAY, -DAY, "expired on 2026-11-30"),
        (-DAY, 0 * DAY, "expired on 2026-12-01"),
        (DAY, 2 * DAY, "is not valid before 2026-12-02"),
    ],
)
def test_nothing_is_allowed_by_an_expired_certificate_of_the_bridge(
    begins: datetime.timedelta, ends: datetime.timedelta, detail: str | None
) -> None:
    denial = own_certificate(NOW + begins, NOW + ends, NOW)
    if detail is None:
        assert denial is None
        return
    assert denial is not None
    assert (denial.reason.value, denial.rule) == (
        "site-system-unreachable",
        "site_systems.certificate",
    )
    assert denial.detail == f"the bridge's client certificate for site systems {detail}"
