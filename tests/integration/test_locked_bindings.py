"""A file of bindings that another process locks while a client registers."""

from __future__ import annotations

import contextlib
import sqlite3
from collections.abc import Iterator
from pathlib import Path

import pytest

from ibcm_bridge.lab.clients.device import Device
from ibcm_bridge.lab.clients.life_cycle import REGISTRATION, StepResult, run_steps
from ibcm_bridge.lab.pki.authorities import LabPki
from ibcm_bridge.lab.site_systems.site_systems import SiteSystems
from ibcm_bridge.messages.client_guid import read_guid
from ibcm_bridge.storage.binding_registry import Registry
from tests.integration.credentials import Credentials
from tests.integration.faults import FaultyBridge

BINDINGS = "bindings.sqlite"


@contextlib.contextmanager
def locked(path: Path) -> Iterator[None]:
    """Keep a transaction open meanwhile, as a copy of the file does that hangs."""
    with contextlib.closing(sqlite3.connect(path, isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        yield
        other.execute("ROLLBACK")


def register(bridge: FaultyBridge, credentials: Credentials) -> StepResult:
    device = Device.of(credentials.computer, "pc1.corp.example")
    with bridge.client(credentials.computer) as client:
        *_, last = run_steps(client.send, device, (REGISTRATION,))
    return last


def guids(bridge: FaultyBridge) -> set[str]:
    with Registry(bridge.directory / BINDINGS) as registry:
        return {binding.guid for binding in registry.all()}


@pytest.mark.parametrize("identity", ["enforce", "observe"])
def test_a_client_registers_again_if_its_binding_cannot_be_stored(
    tmp_path: Path,
    pki: LabPki,
    site_systems: SiteSystems,
    credentials: Credentials,
    identity: str,
) -> None:
    messages = {"identity": identity, "bindings": BINDINGS}
    with FaultyBridge(tmp_path, pki, site_systems, messages=messages) as bridge:
        with locked(bridge.directory / BINDINGS):
            first = register(bridge, credentials)
            record = bridge.wait_for_records(1)[-1]
            assert bridge.serves(credentials.computer), "the bridge waits in a thread"
        assert guids(bridge) == set()
        if identity == "enforce":
            assert (first.good, first.response.status) == (False, 503)
            assert (record["verdict"], record["reason"]) == ("deny", "identity-unavailable")
            assert record["forwarded"] is True
            second = register(bridge, credentials)
            assert second.good
            assert guids(bridge) == {read_guid(second.device.guid)}
        else:
            assert first.good
            assert record["verdict"] == "allow"
            assert any(text.startswith("identity-unavailable: ") for text in record["observed"])
        assert bridge.stop() == 0
    said = "".join(bridge.lines)
    assert "cannot record a client GUID binding" in said
    assert "Traceback" not in said
