"""Several site systems behind a running bridge, over TLS: one fails, both fail, one is another."""

from __future__ import annotations

import contextlib
import dataclasses
import datetime
import socket
import threading
import time
from collections.abc import Callable, Hashable, Iterator
from pathlib import Path

import pytest

from ibcm_bridge.addons.operations import metrics
from ibcm_bridge.addons.operations.health import degraded
from ibcm_bridge.addons.operations.readings import readings
from ibcm_bridge.lab.protocol.client import Response
from ibcm_bridge.lab.site_systems.site_systems import SiteSystems as StandIns
from ibcm_bridge.policy.addresses import Address
from ibcm_bridge.policy.policy import Policy
from ibcm_bridge.policy.site_systems import Order, PerSiteSystem, SiteSystem, SiteSystems
from tests.addons.stand_ins.lab import (
    BRIDGED,
    GOOD,
    TUNNELED,
    Lab,
    bridged_publication,
    changed,
    tunnel_publication,
)
from tests.addons.stand_ins.running import SOON, Running, outcome_of, wait_for
from tests.addons.upload_samples import GOOD_DATA, Sender, Senders, records, senders

FIRST, SECOND = "mp01.corp.example", "mp02.corp.example"
FAILURES = PerSiteSystem().failures


@dataclasses.dataclass
class Dying:
    """A management point, and how a test stops it."""

    site: StandIns
    end: Callable[[], None]


@pytest.fixture(scope="module")
def another(running_lab: Lab) -> Iterator[StandIns]:
    """Another management point, with the same certificate."""
    with StandIns(running_lab.pki) as stand_ins:
        yield stand_ins


@pytest.fixture
def dying(running_lab: Lab) -> Iterator[Dying]:
    """A management point that a test may stop."""
    with contextlib.ExitStack() as stack:
        stand_ins = stack.enter_context(StandIns(running_lab.pki))
        yield Dying(stand_ins, stack.close)


def nowhere() -> Address:
    """Return an address at which nothing listens."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        address: Address = server.getsockname()
        return address


def with_two(lab: Lab, audit: Path, *addresses: Address, order: Order = Order.AS_LISTED) -> Policy:
    """Return the policy with site systems at these addresses for each role."""
    names = (FIRST, SECOND)
    listed = tuple(
        SiteSystem(tuple(address), name, FIRST)
        for name, address in zip(names, addresses, strict=False)
    )
    directories = {
        name: dataclasses.replace(role, site_systems=SiteSystems(listed, order))
        for name, role in bridged_publication(lab.policy).directories.items()
    }
    return changed(lab.policy, audit / "audit.jsonl", directories=directories)


def gauge(running: Running, name: str) -> float:
    generation = running.bridge.generation
    found = dict(readings(running.bridge.shared, generation))
    series = metrics.SITE_SYSTEM_AVAILABLE.name, (BRIDGED, "management-point", name)
    return found[series]


def test_a_site_system_that_ends_under_load_is_replaced(
    lab: Lab, another: StandIns, dying: Dying, tmp_path: Path
) -> None:
    clients, statuses, enough = 3, [], threading.Event()
    policy = with_two(lab, tmp_path, dying.site.management_point, another.management_point)
    with Running(lab, policy) as running:

        def ask() -> None:
            while not enough.is_set():
                reply = running.ask(*GOOD)
                statuses.append(reply.status if isinstance(reply, Response) else repr(reply))

        threads = [threading.Thread(target=ask) for _ in range(clients)]
        for thread in threads:
            thread.start()
        try:
            assert wait_for(lambda: len(statuses) > 10)
            assert not another.received()
            dying.end()
            at_end = len(statuses)
            assert wait_for(lambda: len(statuses) > at_end + 20, 3 * SOON)
        finally:
            enough.set()
            for thread in threads:
                thread.join(SOON)
        found = running.audit()
        assert wait_for(lambda: gauge(running, FIRST) == 0.0)
        assert gauge(running, SECOND) == 1.0
        assert not list(degraded(running.bridge.shared, running.bridge.generation))
    # A request that was sent to the one that ended could have been processed: it is not sent again.
    cut = [record for record in found if record["verdict"] != "allow"]
    assert len(cut) <= clients
    assert {record["reason"] for record in cut} <= {"site-system-response"}
    assert statuses.count(200) >= len(statuses) - clients
    assert {record["site_system"] for record in found} == {FIRST, SECOND}
    assert found[-1]["site_system"] == SECOND
    failed_over = [record for record in found if "another site system" in record.get("note", "")]
    assert failed_over
    assert f"{FIRST}: " in failed_over[0]["note"]


def test_if_none_can_be_connected_to_requests_are_refused(lab: Lab, tmp_path: Path) -> None:
    policy = with_two(lab, tmp_path, nowhere(), nowhere())
    with Running(lab, policy) as running:
        for _ in range(FAILURES + 1):
            reply = running.ask(*GOOD)
            assert isinstance(reply, Response)
            assert reply.status == 502
        record = running.wait_for_reason("site-system-unreachable")
        assert (record["site_system"], record["forwarded"]) == (SECOND, False)
        assert list(degraded(running.bridge.shared, running.bridge.generation)) == [
            f"{BRIDGED}: management-point: no site system can be connected to"
        ]


def test_the_policy_says_after_how_many_failures_a_site_system_is_tried_last(
    lab: Lab, another: StandIns, tmp_path: Path
) -> None:
    policy = with_two(lab, tmp_path, nowhere(), another.management_point)
    limits = PerSiteSystem(failures=1, probe_seconds=0.05)
    with Running(lab, dataclasses.replace(policy, per_site_system=limits)) as running:
        running.assert_serves()
        assert gauge(running, FIRST) == 0.0
        state = running.bridge.generation.site_systems.of(BRIDGED, "management-point", FIRST)
        probe = state.breaker.next_probe
        assert wait_for(lambda: state.breaker.is_due(time.monotonic()))
        running.assert_serves()
        assert state.breaker.next_probe != probe, "it was probed"


def test_a_site_system_with_another_certificate_is_never_used(
    lab: Lab, another: StandIns, tmp_path: Path
) -> None:
    another.clear()
    impostor = lab.site.distribution_point
    with Running(lab, with_two(lab, tmp_path, impostor, another.management_point)) as running:
        running.assert_serves()
        (record,) = records(running, 1)
        assert record["site_system"] == SECOND
        assert f"{FIRST}: cannot be verified as {FIRST}: " in record["note"]
    assert len(another.received()) == 1
    assert not lab.site.received()


def test_if_no_certificate_is_right_requests_are_refused(lab: Lab, tmp_path: Path) -> None:
    impostor = lab.site.distribution_point
    with Running(lab, with_two(lab, tmp_path, nowhere(), impostor)) as running:
        reply = running.ask(*GOOD)
        assert isinstance(reply, Response)
        assert reply.status == 502
        assert "cannot be verified" in running.wait_for_reason("site-system-unverified")["detail"]
    assert not lab.site.received()


@pytest.fixture
def uploading(
    lab: Lab, another: StandIns, dying: Dying, tmp_path: Path
) -> Iterator[tuple[Running, Senders]]:
    policy = with_two(lab, tmp_path, dying.site.management_point, another.management_point)
    with Running(lab, policy) as running, senders(running) as made:
        yield running, made


def test_an_upload_stays_with_the_site_system_that_has_its_session(
    uploading: tuple[Running, Senders], another: StandIns, dying: Dying
) -> None:
    running, made = uploading
    another.clear()
    sender = made(GOOD_DATA)
    state = running.bridge.generation.site_systems.of(BRIDGED, "management-point", FIRST)
    for now in range(FAILURES):
        # The session begins at the second one, because the first is not available then.
        state.failed("refused", now + 1e12)
    sender.begin()
    state.connected()
    running.assert_serves()
    reply = sender.end()
    assert reply is not None
    assert reply.status == 200
    closed = sender.send(sender.upload.close())
    assert closed is not None
    assert closed.status == 200
    served = [record["site_system"] for record in records(running, 5)]
    assert served == [SECOND, SECOND, FIRST, SECOND, SECOND]
    assert len(dying.site.received()) == 1
    assert len(another.received()) == 4


def test_an_upload_is_not_continued_at_another_site_system(
    uploading: tuple[Running, Senders], another: StandIns, dying: Dying
) -> None:
    running, made = uploading
    another.clear()
    sender = made(GOOD_DATA)
    sender.begin()
    dying.end()
    with running.client() as client:
        # A new connection, as after the end of the first one.
        continued = Sender(running, client, GOOD_DATA)
        continued.session = sender.session
        reply = continued.end()
    assert reply is not None
    assert reply.status == 502
    assert running.wait_for_reason("site-system-unreachable")["site_system"] == FIRST
    running.assert_serves()
    assert len(another.received()) == 1, "the packet was not sent to it"


def test_a_tunnel_is_opened_to_the_next_one(lab: Lab, tmp_path: Path) -> None:
    policy = dataclasses.replace(lab.policy, audit_file=tmp_path / "audit.jsonl")
    listener = policy.listeners[0]
    dead, place = nowhere(), tuple(lab.site.management_point)
    tunnel = dataclasses.replace(tunnel_publication(lab), site_systems=(dead, place))
    publications = {**listener.publications, TUNNELED: tunnel}
    policy = dataclasses.replace(
        policy,
        listeners=(dataclasses.replace(listener, publications=publications),),
    )
    with Running(lab, policy) as running:
        reply = running.ask(*GOOD, name=TUNNELED)
        assert isinstance(reply, Response)
        assert reply.status == 200
        assert wait_for(running.audit)
        (record,) = running.audit()
        assert record["site_system"] == "{}:{}".format(*place)
        assert (
            "another site system was tried: connection refused by {}:{}".format(*dead)
            in (record["note"])
        )


def test_nothing_is_allowed_with_the_expired_certificate_of_the_bridge(
    running: Running, lab: Lab
) -> None:
    running.assert_serves()
    begins, _ = running.bridge.generation.publication_tls[0].own_dates
    lab.site.clear()
    with running.client() as client:
        assert isinstance(outcome_of(client, *GOOD), Response)
        lab.site.clear()
        for tls in running.bridge.generation.publication_tls:
            tls.own_dates = begins, begins + datetime.timedelta(microseconds=1)
        # Also on a kept leg.
        reply = outcome_of(client, *GOOD)
    assert isinstance(reply, Response)
    assert reply.status == 502
    record = running.wait_for_reason("site-system-unreachable")
    assert (record["rule"], record["forwarded"]) == ("site_systems.certificate", False)
    assert not lab.site.received()


def test_a_site_system_that_refuses_all_clients_is_a_problem(
    lab: Lab, running: Running, monkeypatch: pytest.MonkeyPatch
) -> None:
    state = running.bridge.generation.site_systems.of(BRIDGED, "management-point", FIRST)
    count = state.responded

    def refused(_status: int, client: Hashable, now: float) -> None:
        for other in range(3):
            count(403, (client, other), now)

    monkeypatch.setattr(state, "responded", refused)
    for _ in range(4):
        running.assert_serves()
    assert state.refuses_bridge
    gauges = dict(readings(running.bridge.shared, running.bridge.generation))
    key = BRIDGED, "management-point", FIRST
    assert gauges[metrics.SITE_SYSTEM_REFUSES.name, key] == 1
    assert list(degraded(running.bridge.shared, running.bridge.generation)) == [
        f"{BRIDGED}: management-point: {FIRST} responds with 403 to nearly every client"
    ]
