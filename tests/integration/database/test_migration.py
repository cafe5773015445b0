"""Bridges that run while a newer one migrates their database."""

from __future__ import annotations

import json
import os
import random
import signal
import sys
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from ibcm_bridge.lab.pki.authorities import LabPki
from ibcm_bridge.lab.site_systems.site_systems import SiteSystems
from tests.integration.database.computers import Computer
from tests.integration.database.places import Place, at_a_socket
from tests.integration.faults import SOON, FaultyBridge
from tests.integration.reading import until
from tests.integration.worker_bridges import children
from tests.newer_schema import BREAKING, COMPATIBLE, newer
from tests.postgresql_server import DATABASE

pytestmark = [
    pytest.mark.needs("postgresql"),
    pytest.mark.skipif(sys.platform != "linux", reason="several workers require Linux"),
]

WORKERS = 2


class Older:
    """A bridge with two workers, and the place of its database."""

    def __init__(self, bridge: FaultyBridge, place: Place, site: SiteSystems) -> None:
        self.bridge, self._place, self._site = bridge, place, site

    def computer(self, name: str) -> Computer:
        name = f"{name}.corp.example"
        return Computer(self.bridge, self.bridge.pki.computer(name), name)

    def begin(self, computer: Computer) -> None:
        """A client registers and begins an upload."""
        assert computer.register() == computer.report() == 200
        assert computer.device.guid in self._place.guids()
        for packet in (computer.upload.create(), computer.upload.fragments(4)[0]):
            assert computer.send(packet) == 200

    def end(self, computer: Computer) -> None:
        """The client sends another message, and the rest of its upload."""
        assert computer.report() == 200
        for packet in (*computer.upload.fragments(4)[1:], computer.upload.close()):
            assert computer.send(packet) == 200
        assert computer.upload.data in self._site.uploads.files.values()

    def kill_a_worker(self) -> None:
        """Its successor does not start at once."""
        killed = random.choice(children(self.bridge.pid))
        os.kill(killed, signal.SIGKILL)
        until(lambda: killed not in children(self.bridge.pid), "its end", SOON)

    def has_all_workers(self) -> bool:
        """Whether each worker has opened the database, and listens to its notifications."""
        return self._place.listening() == WORKERS

    def refusals(self) -> list[str]:
        records = self.bridge.audit()
        return [record["reason"] for record in records if record["verdict"] == "deny"]


@pytest.fixture
def place(tmp_path: Path, pki: LabPki) -> Iterator[Place]:
    with at_a_socket(tmp_path, pki) as place:
        yield place


@pytest.fixture
def older(tmp_path: Path, pki: LabPki, place: Place) -> Iterator[Older]:
    with ExitStack() as stack:
        site = stack.enter_context(SiteSystems(pki))
        bridge = stack.enter_context(
            FaultyBridge(tmp_path, pki, site, workers=WORKERS, state=place.address)
        )
        found = Older(bridge, place, site)
        until(found.has_all_workers, "the workers", SOON)
        yield found


def test_after_a_compatible_migration_nothing_is_refused_and_workers_are_replaced(
    older: Older, place: Place
) -> None:
    before, after = older.computer("before"), older.computer("after")
    older.begin(before)
    with place.server.connect(DATABASE) as admin:
        newer(COMPATIBLE).migrate(admin)
    older.end(before)
    older.kill_a_worker()
    until(older.has_all_workers, "a successor", SOON)
    older.begin(after)
    older.end(after)
    assert older.refusals() == []
    assert json.loads(older.bridge.get("/ready")[1])["degraded"] == []
    assert older.bridge.stop() == 0


def test_after_another_migration_a_worker_is_not_replaced(older: Older, place: Place) -> None:
    with place.server.connect(DATABASE) as admin:
        newer(COMPATIBLE, BREAKING).migrate(admin)
    older.kill_a_worker()
    refused = "was migrated by a newer ibcm-bridge: upgrade this one, or restore the backup"
    until(lambda: refused in "".join(older.bridge.lines), "the refusal", SOON)
    assert not older.has_all_workers()
