"""Two bridges on PostgreSQL behind HAProxy, under load: kill each part, and replace each bridge."""

from __future__ import annotations

import sys
from datetime import UTC, datetime
from pathlib import Path

import pytest

from ibcm_bridge.lab.pki.authorities import LabPki
from tests.newer_schema import COMPATIBLE, newer
from tests.repository.explanations import HAPROXY, POSTGRESQL, Outage, unexplained
from tests.repository.retrying_clients import Failure
from tests.repository.system_under_load import running_with_postgresql
from tests.repository.two_bridges import NAMES

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="HAProxy has loopback addresses")


@pytest.mark.needs("haproxy", "postgresql")
def test_each_part_is_killed_under_load_and_nothing_is_lost(tmp_path: Path) -> None:
    pki = LabPki.make(now=datetime.now(UTC))
    with running_with_postgresql(tmp_path, pki) as system:
        with system.clients.running():
            system.kill_each_in_turn()
        system.check()


@pytest.mark.needs("haproxy", "postgresql")
def test_a_rolling_upgrade_refuses_nobody_and_cuts_no_connection(tmp_path: Path) -> None:
    pki = LabPki.make(now=datetime.now(UTC))
    with running_with_postgresql(tmp_path, pki) as system:
        with system.clients.running():
            # As by the first bridge of a newer version.
            system.migrate(newer(COMPATIBLE))
            for name in NAMES:
                system.replace_bridge(name)
        assert system.clients.failures == []
        system.check()


BRIDGE_KILLED = Outage("bridge-1", 10.0, 11.0)
RECORDS = {
    "aa": {"reason": "upload-unavailable"},
    "bb": {"reason": "bridge-defect"},
}


@pytest.mark.parametrize(
    "failure",
    [
        Failure(9.0, 9.0, 10.5, "cut"),
        Failure(11.0, 11.0, 11.1, "cut"),
        # on a connection that HAProxy is about to end
        Failure(9.0, 11.1, 11.2, "cut"),
        Failure(30.0, 30.0, 30.1, reference="aa"),
    ],
)
def test_a_cut_by_the_kill_and_an_audited_refusal_are_explained(failure: Failure) -> None:
    assert unexplained([failure], [BRIDGE_KILLED], RECORDS) == []


@pytest.mark.parametrize(
    ("failure", "outage"),
    [
        # before, and after
        (Failure(9.0, 9.0, 9.9, "cut"), BRIDGE_KILLED),
        (Failure(11.1, 11.1, 11.2, "cut"), BRIDGE_KILLED),
        (Failure(9.0, 20.0, 20.1, "cut"), BRIDGE_KILLED),
        # A client has no connection to the database.
        (Failure(10.0, 10.0, 10.5, "cut"), Outage(POSTGRESQL, 10.0, 11.0)),
        # no record, and another reason
        (Failure(10.0, 10.0, 10.5, reference="cc"), BRIDGE_KILLED),
        (Failure(10.0, 10.0, 10.5, reference="bb"), Outage(HAPROXY, 10.0, 11.0)),
    ],
)
def test_other_failures_are_not_explained(failure: Failure, outage: Outage) -> None:
    assert unexplained([failure], [outage], RECORDS) == [failure]
