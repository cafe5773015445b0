"""Bridges whose database fails: known clients go on, nobody else is believed, and they recover."""

from __future__ import annotations

import json
from contextlib import ExitStack
from pathlib import Path

import pytest

from ibcm_bridge.lab.pki.authorities import LabPki
from ibcm_bridge.lab.site_systems.site_systems import SiteSystems
from ibcm_bridge.policy.message_policy import Enforcement
from tests.integration.database.computers import Computer
from tests.integration.database.places import FAULTS, Place
from tests.integration.faults import SOON, FaultyBridge
from tests.integration.reading import until

pytestmark = pytest.mark.needs("postgresql")

UNKNOWN = "GUID:5E2B7C1A-94D0-4B6E-8F3A-0C1D2E3F4A5B"


class Machine:
    """A bridge and its clients."""

    def __init__(
        self, bridge: FaultyBridge, pki: LabPki, identity: Enforcement, site: SiteSystems
    ) -> None:
        self.bridge = bridge
        self._enforced = identity is Enforcement.ENFORCE
        self._site = site
        self.known, self.new, self._other = (
            Computer(bridge, pki.computer(f"{name}.corp.example"), f"{name}.corp.example")
            for name in (f"known-{identity}", f"new-{identity}", f"other-{identity}")
        )
        self._first, *self._rest = self.known.upload.fragments(4)

    def before(self) -> None:
        """A client registers, is kept in the cache, and begins an upload."""
        assert self.known.register() == self.known.report() == 200
        packets = (self.known.upload.create(), self._first)
        assert [self.known.send(packet) for packet in packets] == [200, 200]

    def meanwhile(self, *, can_be_read: bool) -> None:
        """Other clients are refused with `enforce`, and pass with `observe`."""
        assert self.new.register() == (503 if self._enforced else 200)
        refused = self._enforced and not can_be_read
        assert self._other.report(UNKNOWN) == (503 if refused else 200)
        assert self.known.send(self._rest[0]) == 503
        until(self._degraded, "degraded", SOON)
        assert self.bridge.get("/ready")[0] == 200, "other machines have the same database"

    def afterwards(self, place: Place) -> None:
        """The new client is bound when it registers again, and the upload continues."""
        # With `observe`, it also gets 200 while its binding cannot be stored yet.
        until(lambda: self.new.register() == 200 and self._is_bound(place), "a new client", SOON)
        until(lambda: self.known.send(self._rest[0]) == 200, "the upload", SOON)
        assert self.known.report() == self.new.report() == 200
        for packet in (*self._rest[1:], self.known.upload.close()):
            assert self.known.send(packet) == 200
        assert self.known.upload.data in self._site.uploads.files.values()
        until(lambda: not self._degraded(), "as before", SOON)

    def end(self) -> None:
        """The audit has the cause of each refusal, and of each request without its binding."""
        assert self.bridge.stop() == 0
        said = "".join(self.bridge.lines)
        assert "Traceback" not in said, said
        records = self.bridge.audit()
        refused = {record["reason"] for record in records if record["verdict"] == "deny"}
        observed = {
            text.partition(":")[0] for record in records for text in record.get("observed", ())
        }
        unavailable = "identity-unavailable"
        assert refused == {"upload-unavailable", *([unavailable] if self._enforced else [])}
        assert (unavailable in observed) == (not self._enforced)

    def _is_bound(self, place: Place) -> bool:
        return self.new.device.guid in place.guids()

    def _degraded(self) -> list[str]:
        problems = json.loads(self.bridge.get("/ready")[1])["degraded"]
        return [text for text in problems if "postgresql" in text]


def start(
    stack: ExitStack, place: Place, folder: Path, pki: LabPki, site: SiteSystems
) -> list[Machine]:
    """Two machines with the same database."""
    machines = []
    # As `identity init` does.
    place.server.new_database()
    for identity in Enforcement:
        bridge = FaultyBridge(
            folder / identity,
            pki,
            site,
            prefix=place.prefix,
            state=place.address,
            messages={"identity": str(identity)},
        )
        machines.append(Machine(stack.enter_context(bridge), pki, identity, site))
        until(lambda: place.listening() == len(machines), "the notifications", SOON)
    return machines


@pytest.mark.parametrize("name", FAULTS)
def test_nothing_is_lost_and_nothing_is_recorded_twice(
    tmp_path: Path, pki: LabPki, name: str
) -> None:
    fault = FAULTS[name]
    with ExitStack() as stack:
        place = stack.enter_context(fault.place(tmp_path, pki))
        site = stack.enter_context(SiteSystems(pki))
        machines = start(stack, place, tmp_path, pki, site)
        for machine in machines:
            machine.before()
        for machine in machines:
            # On a busy machine, the connection for notifications can break and drop all bindings.
            assert machine.known.report() == 200
        with fault.meanwhile(place):
            for machine in machines:
                assert machine.known.report() == 200, "its binding was read less than a minute ago"
            for machine in machines:
                machine.meanwhile(can_be_read=fault.can_be_read)
        for machine in machines:
            machine.afterwards(place)
        clients = [client for machine in machines for client in (machine.known, machine.new)]
        assert place.guids() == sorted(client.device.guid for client in clients)
        for machine in machines:
            machine.end()
