"""Two bridges on PostgreSQL, behind HAProxy, with clients; each part can be killed or replaced."""

from __future__ import annotations

import signal
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from ibcm_bridge.lab.pki.authorities import LabPki
from ibcm_bridge.lab.site_systems.site_systems import SiteSystems
from ibcm_bridge.storage.postgresql_schema import Schema
from tests.postgresql_server import DATABASE, USER, PostgresqlServer, postgresql_server
from tests.repository.explanations import HAPROXY, POSTGRESQL, Outage, check
from tests.repository.retrying_clients import RetryingClients
from tests.repository.two_bridges import NAMES, TwoBridges

UPLOAD, MESSAGE = "BITS_POST", "CCM_POST"


class SystemUnderLoad:
    """The parts and the clients. `clients.running` must be entered first."""

    def __init__(self, two: TwoBridges, server: PostgresqlServer) -> None:
        self.two, self.server = two, server
        self.clients = RetryingClients(two)
        self.outages: list[Outage] = []

    def kill_each_in_turn(self) -> None:
        """Kill each part once, while computers are in the middle of their uploads."""
        self.clients.go_on()
        for name in NAMES:
            self.kill_bridge(name)
        self.kill_haproxy()
        self.kill_postgresql()

    def kill_bridge(self, name: str) -> None:
        """Kill a bridge. The other one goes on alone, until it is started again."""
        bridge = self.two.bridges[name]
        began = self._in_uploads()
        bridge.end(signal.SIGKILL)
        self._end(name, began)
        self.clients.go_on()
        bridge.start()
        self.two.wait_for(name, "UP")
        self.clients.go_on()

    def kill_haproxy(self) -> None:
        """Kill HAProxy. Nobody can connect, until it is started again."""
        began, failures = self._in_uploads(), len(self.clients.failures)
        self.two.kill_haproxy()
        self.clients.wait_for(lambda: len(self.clients.failures) > failures, "a cut")
        self.two.start_haproxy()
        self._end(HAPROXY, began)
        self.clients.go_on()

    def kill_postgresql(self) -> None:
        """Kill the database. What needs no binding goes on, until it is started again."""
        began = self._in_uploads()
        self.server.kill()
        kept = self.clients.kept
        for method in (UPLOAD, MESSAGE):
            self.clients.wait_for(lambda m=method: self._are_refused(m, began), f"503 of {method}")
        self.clients.wait_for(lambda: self.clients.kept > kept + 1, "others")
        self.server.start()
        self._end(POSTGRESQL, began)
        self.clients.go_on()

    def replace_bridge(self, name: str) -> None:
        """Replace a bridge by another process as docs/scale.md shows: drain, end, start, ready."""
        bridge = self.two.bridges[name]
        self._in_uploads()
        self.two.set_state(name, "drain")
        self.two.wait_for(name, "DRAIN")
        self.clients.go_on()
        assert bridge.end(signal.SIGTERM) == 0
        bridge.start()
        self.two.set_state(name, "ready")
        self.two.wait_for(name, "UP")
        self.clients.go_on()

    def migrate(self, schema: Schema) -> None:
        """Migrate the database while both bridges use it."""
        self._in_uploads()
        with self.server.connect(DATABASE) as connection:
            schema.migrate(connection)
        self.clients.go_on()

    def check(self) -> None:
        """See `explanations`."""
        check(self.clients, self.outages, self.two, self.server)

    def _in_uploads(self) -> float:
        self.clients.wait_for(self.clients.are_uploading, "uploads at the same time")
        return time.monotonic()

    def _end(self, part: str, began: float) -> None:
        self.outages.append(Outage(part, began, time.monotonic()))

    def _are_refused(self, method: str, began: float) -> bool:
        failures = self.clients.failures
        return any(each.method == method and each.began > began for each in failures)


@contextmanager
def running_with_postgresql(folder: Path, pki: LabPki) -> Iterator[SystemUnderLoad]:
    """All parts as processes."""
    with postgresql_server() as server, SiteSystems(pki) as site:
        state = f"postgresql://{USER}@/{DATABASE}?host={server.socket}"
        with running(enforcing(TwoBridges(folder, pki, site, state)), server) as system:
            yield system


def enforcing(two: TwoBridges) -> TwoBridges:
    """Let both policies enforce client GUIDs and signatures."""
    for bridge in two.bridges.values():
        text = bridge.policy.read_text("utf-8")
        bridge.policy.write_text(text.replace(": observe", ": enforce"), "utf-8")
    return two


@contextmanager
def running(two: TwoBridges, server: PostgresqlServer) -> Iterator[SystemUnderLoad]:
    """Create the tables that both bridges enforce, and start the bridges and HAProxy."""
    bridge = two.bridges[NAMES[0]]
    command = [*bridge.program, "identity", "init", "--config", str(bridge.policy)]
    subprocess.run(command, check=True, timeout=120)
    with two:
        yield SystemUnderLoad(two, server)
    said = "".join(bridge.said() for bridge in two.bridges.values())
    assert "Traceback" not in said, said
