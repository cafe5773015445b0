"""2,000 authenticated clients that send nothing: their memory is bounded, and others are served."""

from __future__ import annotations

import contextlib
import socket
import ssl
import sys
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.serialization import Encoding
from prometheus_client.parser import text_string_to_metric_families

from ibcm_bridge.lab.pki.authorities import LabPki
from ibcm_bridge.lab.pki.certificates import LabCredential
from ibcm_bridge.lab.protocol.client import load_credential
from ibcm_bridge.lab.site_systems.published import BRIDGED
from ibcm_bridge.lab.site_systems.site_systems import SiteSystems
from ibcm_bridge.storage.open_files import raise_open_file_limit
from tests.integration.credentials import Credentials
from tests.integration.faults import SOON, FaultyBridge
from tests.integration.reading import until
from tests.soak.processes import Sample, measure

if sys.platform != "linux":
    pytest.skip("the measurements are of Linux", allow_module_level=True)

CLIENTS = 2_000
COMPUTERS = 50
AT_ONCE = 8
BYTES_OF_A_CLIENT = 80_000
"""The most resident memory of an idle client; measured: 57,000. Messages need more: see
docs/benchmarks.md."""
SECONDS_OF_A_NEW_CLIENT = 5.0
"""The most for a connection and a request while the others are idle; usually some milliseconds."""


@pytest.fixture
def bridge(tmp_path: Path, pki: LabPki, site_systems: SiteSystems) -> Iterator[FaultyBridge]:
    limits = {"connections": 2 * CLIENTS, "idle_seconds": 600, "drain_seconds": 5}
    with FaultyBridge(tmp_path, pki, site_systems, workers=2, limits=limits) as bridge:
        yield bridge
        assert bridge.stop() == 0
    said = "".join(bridge.lines)
    assert "Traceback" not in said, said


def context(pki: LabPki, credential: LabCredential) -> ssl.SSLContext:
    made = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    made.load_verify_locations(cadata=pki.root.public_bytes(Encoding.DER))
    load_credential(made, credential)
    return made


def connected(bridge: FaultyBridge, contexts: Sequence[ssl.SSLContext]) -> list[ssl.SSLSocket]:
    """Connect all clients. Each has finished its handshake, and sent nothing since."""

    def connect(number: int) -> ssl.SSLSocket:
        plain = socket.create_connection(bridge.address, SOON)
        return contexts[number % len(contexts)].wrap_socket(plain, server_hostname=BRIDGED)

    with ThreadPoolExecutor(AT_ONCE) as pool:
        return [*pool.map(connect, range(CLIENTS))]


def states(bridge: FaultyBridge) -> dict[str, float]:
    """State -> the number of client connections, by the metrics."""
    families = text_string_to_metric_families(bridge.get("/metrics")[1])
    return {
        sample.labels["state"]: sample.value
        for family in families
        for sample in family.samples
        if sample.name == "ibcm_connections"
    }


def new_client(bridge: FaultyBridge, credential: LabCredential) -> float:
    """Return the seconds of a connection and a request."""
    began = time.monotonic()
    assert bridge.serves(credential)
    return time.monotonic() - began


def test_two_thousand_idle_clients_cost_little_and_delay_nobody(
    bridge: FaultyBridge, pki: LabPki, credentials: Credentials, request: pytest.FixtureRequest
) -> None:
    raise_open_file_limit()

    def sample(latency: float = 0.0) -> Sample:
        return measure(0.0, bridge.pid, [bridge.directory], latency, 1.0)

    computers = [pki.computer(f"idle{number}.corp.example") for number in range(COMPUTERS)]
    contexts = [context(pki, computer) for computer in computers]
    # Each worker needs some memory only once, for modules and its first handshakes.
    for _ in range(20):
        new_client(bridge, credentials.computer)
    until(lambda: sum(states(bridge).values()) == 0, "the end of the first clients", SOON)
    before = sample(new_client(bridge, credentials.computer))
    with contextlib.ExitStack() as stack:
        for client in connected(bridge, contexts):
            stack.enter_context(client)
        until(lambda: states(bridge)["idle"] == CLIENTS, "the idle clients", SOON)
        latency = max(new_client(bridge, credentials.computer) for _ in range(20))
        during = sample(latency)
        status, _ = bridge.get("/ready")
        assert states(bridge)["idle"] == CLIENTS, "a client was closed"
    assert status == 200
    until(lambda: sum(states(bridge).values()) == 0, "the end of all connections", SOON)
    until(lambda: sample().descriptors <= before.descriptors + 4, "the return of descriptors", SOON)
    of_a_client = (during.rss - before.rss) / CLIENTS
    request.config.get_terminal_writer().line(
        f"\n{CLIENTS} idle clients: {of_a_client / 1e3:.0f} KB each, {during.descriptors} file "
        f"descriptors; a new client: {before.latency * 1e3:.0f} ms before, {latency * 1e3:.0f} ms "
        "at most during"
    )
    assert during.descriptors >= before.descriptors + CLIENTS
    assert of_a_client < BYTES_OF_A_CLIENT
    assert latency < SECONDS_OF_A_NEW_CLIENT
    # The memory of ended clients serves the next ones.
    with contextlib.ExitStack() as stack:
        for client in connected(bridge, contexts):
            stack.enter_context(client)
        until(lambda: states(bridge)["idle"] == CLIENTS, "the idle clients", SOON)
        again = sample()
    assert again.rss < during.rss + CLIENTS * BYTES_OF_A_CLIENT / 5
