"""Each end is reported once to every observer, first to the audit."""

from __future__ import annotations

from typing import Any

import pytest
from mitmproxy.connection import Client

from ibcm_bridge.addons.connections import Capacity, ConnectionRecord, Connections
from ibcm_bridge.addons.events import Defect, Ended, EndedTunnel, RefusedConnection
from ibcm_bridge.addons.hooks import end_reporting as module
from ibcm_bridge.addons.hooks.end_reporting import EndReporting
from ibcm_bridge.decisions import rules
from ibcm_bridge.decisions.denial import Deny, Reason
from tests.addons.stand_ins.driver import Clock
from tests.addons.stand_ins.lab import TUNNELED, Lab

REFUSED = Deny(Reason.NOT_TLS, rules.LISTENER, "not a TLS record")


class FakeWatcher:
    """An observer that stores the ends, or raises."""

    def __init__(self, error: Exception | None = None) -> None:
        self.seen: list[Any] = []
        self.error = error

    def ended(self, ended: Ended) -> None:
        if self.error is not None:
            raise self.error
        self.seen.append(ended)

    def denials(self) -> list[Deny]:
        return [ended.denial for ended in self.seen]


class Reporting:
    """The ends of a bridge, with a fake audit and a fake page."""

    def __init__(self, lab: Lab) -> None:
        self.audit, self.page = FakeWatcher(), FakeWatcher()
        self.connections = Connections(Capacity(100, 1_000))
        self.ends = EndReporting(self.connections, [self.audit, self.page])
        self._listener = lab.policy.listeners[0]

    def connection(self) -> ConnectionRecord:
        client = Client(peername=("192.0.2.1", 5), sockname=("192.0.2.2", 443), timestamp_start=1.0)
        return self.connections.open(client, self._listener)


@pytest.fixture
def reporting(lab: Lab) -> Reporting:
    return Reporting(lab)


def test_a_refused_connection_is_reported_once_to_every_watcher(reporting: Reporting) -> None:
    refused = RefusedConnection(reporting.connection(), REFUSED)
    reporting.ends.connection_refused(refused)
    reporting.ends.connection_refused(RefusedConnection(refused.connection, REFUSED))
    assert reporting.audit.seen == reporting.page.seen == [refused]


def test_an_end_that_the_audit_cannot_record_is_reported_nowhere_else(reporting: Reporting) -> None:
    reporting.audit.error = OSError("full")
    refused = RefusedConnection(reporting.connection(), REFUSED)
    with pytest.raises(OSError, match="full"):
        reporting.ends.connection_refused(refused)
    reporting.audit.error = None
    reporting.ends.defect(Defect(refused.connection.client, "connection_refused", "OSError"))
    assert reporting.audit.seen == reporting.page.seen == [], (
        "it had ended: nothing is reported twice"
    )


def test_a_defect_ends_a_connection_that_had_not_ended(reporting: Reporting) -> None:
    reporting.ends.defect(Defect(reporting.connection().client, "layer", "RuntimeError"))
    (denial,) = reporting.page.denials()
    assert (denial.reason, denial.rule) == (Reason.BRIDGE_DEFECT, "layer")
    assert denial.detail == "RuntimeError"
    assert reporting.audit.seen == reporting.page.seen


def test_a_defect_after_the_end_of_a_tunnel_is_not_another_end(
    reporting: Reporting, lab: Lab
) -> None:
    connection = reporting.connection()
    connection.publication = lab.policy.listeners[0].publications[TUNNELED]
    ended = EndedTunnel(connection, None, 1, 2, None, ("192.0.2.1", 443))
    reporting.ends.tunnel_ended(ended)
    reporting.ends.defect(Defect(connection.client, "tunnel_ended", "RuntimeError"))
    assert reporting.audit.seen == reporting.page.seen == [ended]


def test_connections_over_the_limit_are_counted_and_reported_once_per_second(
    reporting: Reporting, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = Clock()
    monkeypatch.setattr(module, "time", clock)
    for seconds in (0, 0.1, 0.1, 0.9, 0.1):
        clock.now += seconds
        reporting.ends.turned_away(reporting.connection())
    details = [denial.detail for denial in reporting.audit.denials()]
    assert [int(detail.split()[0]) for detail in details] == [1, 3]
    assert {denial.reason for denial in reporting.page.denials()} == {Reason.TOO_MANY_CONNECTIONS}
    clock.now += 5
    reporting.ends.turned_away(reporting.connection())
    assert reporting.audit.denials()[-1].detail.startswith("2 "), "the previous one is counted too"


def test_connections_over_two_limits_are_counted_and_reported_apart(
    reporting: Reporting, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "time", Clock())
    for _ in range(2):
        reporting.ends.turned_away(reporting.connection())
        connection = reporting.connection()
        connection.over = Deny(Reason.TOO_MANY_CONNECTIONS, rules.LIMITS_PER_SOURCE_HANDSHAKES)
        reporting.ends.turned_away(connection)
    expected = [rules.LIMITS_CONNECTIONS, rules.LIMITS_PER_SOURCE_HANDSHAKES]
    assert [denial.rule for denial in reporting.audit.denials()] == expected
