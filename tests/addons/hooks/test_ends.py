"""Each end is told once, to all who look on, and the audit is the first of them."""

from __future__ import annotations

from typing import Any

import pytest
from mitmproxy.connection import Client

from ibcm_bridge.addons.connections import ConnectionRecord, Connections
from ibcm_bridge.addons.events import Defect, Ended, EndedTunnel, RefusedConnection
from ibcm_bridge.addons.hooks import ends as module
from ibcm_bridge.addons.hooks.ends import Ends
from ibcm_bridge.decisions import rules
from ibcm_bridge.decisions.denial import Deny, Reason
from ibcm_bridge.request.memory_budget import Budget
from tests.addons.conftest import TUNNELED, Clock, Lab

REFUSED = Deny(Reason.NOT_TLS, rules.LISTENER, "not a TLS record")


class Watching:
    """Looks on, or fails at it."""

    def __init__(self, error: Exception | None = None) -> None:
        self.seen: list[Any] = []
        self.error = error

    def ended(self, ended: Ended) -> None:
        if self.error is not None:
            raise self.error
        self.seen.append(ended)

    def denials(self) -> list[Deny]:
        return [one.denial for one in self.seen]


class Told:
    """The ends of a bridge, with an audit and a page in name only."""

    def __init__(self, lab: Lab) -> None:
        self.audit, self.page = Watching(), Watching()
        self.connections = Connections(100, Budget(1_000))
        self.ends = Ends(self.connections, [self.audit, self.page])
        self._listener = lab.policy.listeners[0]

    def connection(self) -> ConnectionRecord:
        client = Client(peername=("192.0.2.1", 5), sockname=("192.0.2.2", 443), timestamp_start=1.0)
        return self.connections.open(client, self._listener)


@pytest.fixture
def told(lab: Lab) -> Told:
    return Told(lab)


def test_a_refused_connection_is_told_once_to_everybody(told: Told) -> None:
    refused = RefusedConnection(told.connection(), REFUSED)
    told.ends.connection_refused(refused)
    told.ends.connection_refused(RefusedConnection(refused.connection, REFUSED))
    assert told.audit.seen == told.page.seen == [refused]


def test_what_the_audit_does_not_take_is_told_to_nobody_else(told: Told) -> None:
    told.audit.error = OSError("full")
    refused = RefusedConnection(told.connection(), REFUSED)
    with pytest.raises(OSError, match="full"):
        told.ends.connection_refused(refused)
    told.audit.error = None
    told.ends.defect(Defect(refused.connection.client, "connection_refused", "OSError"))
    assert told.audit.seen == told.page.seen == [], "it had ended: nothing is told twice"


def test_a_defect_ends_a_connection_that_had_not_ended(told: Told) -> None:
    told.ends.defect(Defect(told.connection().client, "layer", "RuntimeError"))
    (denial,) = told.page.denials()
    assert (denial.reason, denial.rule) == (Reason.BRIDGE_DEFECT, "layer")
    assert denial.detail == "RuntimeError"
    assert told.audit.seen == told.page.seen


def test_a_defect_after_a_tunnel_has_ended_is_no_other_end(told: Told, lab: Lab) -> None:
    connection = told.connection()
    connection.publication = lab.policy.listeners[0].publications[TUNNELED]
    ended = EndedTunnel(connection, True, 1, 2, None)
    told.ends.tunnel_ended(ended)
    told.ends.defect(Defect(connection.client, "tunnel_ended", "RuntimeError"))
    assert told.audit.seen == told.page.seen == [ended]


def test_connections_turned_away_are_counted_and_told_once_a_second(
    told: Told, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = Clock()
    monkeypatch.setattr(module, "time", clock)
    for seconds in (0, 0.1, 0.1, 0.9, 0.1):
        clock.now += seconds
        told.ends.turned_away(told.connection())
    details = [one.detail for one in told.audit.denials()]
    assert [int(one.split()[0]) for one in details] == [1, 3]
    assert {one.reason for one in told.page.denials()} == {Reason.TOO_MANY_CONNECTIONS}
    clock.now += 5
    told.ends.turned_away(told.connection())
    assert told.audit.denials()[-1].detail.startswith("2 "), "the one before counts with it"
