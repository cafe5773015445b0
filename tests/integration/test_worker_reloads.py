"""A reload is one act of all worker processes, or none."""

from __future__ import annotations

import hashlib
import os
import signal
import socket
import sys
from collections.abc import Callable

import pytest
import yaml

from ibcm_bridge.addons.run.reload import DRAINING
from ibcm_bridge.lab.bridge.process import free_port
from ibcm_bridge.lab.site_systems.published import TLS_PORT, TUNNELED
from tests.integration.credentials import Credentials
from tests.integration.reading import said, until
from tests.integration.worker_bridges import MANY, MP_LIST, SOON, Workers

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="several workers require Linux")


def outcomes(bridge: Workers) -> list[str]:
    return [text for text in said(bridge.lines) if text.startswith("reload ")]


def listens(address: tuple[str, int]) -> bool:
    try:
        socket.create_connection(address, SOON).close()
    except ConnectionRefusedError:
        return False
    except ConnectionResetError:
        # It was accepted by a listener that is being closed.
        return True
    return True


def reloaded(bridge: Workers, text: str) -> str:
    """Reload another text of the policy. Return the outcome."""
    count = len(outcomes(bridge))
    bridge.policy_file.write_text(text, "utf-8")
    os.kill(bridge.pid, signal.SIGHUP)
    until(lambda: len(outcomes(bridge)) > count, "the outcome", SOON)
    return outcomes(bridge)[-1]


@pytest.mark.parametrize("workers", [1, 2])
def test_a_reload_during_a_drain_is_refused(
    own: Callable[..., Workers], credentials: Credentials, workers: int
) -> None:
    bridge = own(workers=workers)
    digest = hashlib.sha256(bridge.policy_file.read_bytes()).hexdigest()[:16]
    with bridge.client(credentials.computer, TUNNELED["management-point"]) as client:
        assert client.request("GET", MP_LIST).status == 200
        os.kill(bridge.pid, signal.SIGTERM)
        until(lambda: not listens(bridge.address), "the end of listening", SOON)
        refused = reloaded(bridge, bridge.policy_file.read_text("utf-8") + "# changed\n")
        assert client.request("GET", MP_LIST).status == 200
    assert refused == f"reload refused; the policy in use stays {digest}"
    assert f"reload: {DRAINING}" in said(bridge.lines)
    assert bridge.stop() == 0


def test_all_workers_reload_or_none_does(
    own: Callable[..., Workers], credentials: Credentials
) -> None:
    bridge = own()
    first = bridge.policy_file.read_text("utf-8")
    port, old = free_port(), bridge.address
    listener = yaml.safe_load(first)["publications"][0]["listen"]
    second = first.replace(listener, f"127.0.0.1:{port}") + "# second\n"

    def digests() -> set[str]:
        """The policies of new connections, so many that each worker gets some."""
        before = len(bridge.audit())
        for _ in range(MANY):
            with bridge.client(credentials.computer) as client:
                assert client.request("GET", MP_LIST).status == 200
        records = bridge.wait_for_records(before + MANY, SOON)
        return {record["policy"] for record in records[before:]}

    one, two = (hashlib.sha256(text.encode()).hexdigest()[:16] for text in (first, second))
    # A bridged connection would be refused: the new policy does not publish its name there.
    with bridge.client(credentials.computer, TUNNELED["management-point"]) as kept:
        assert kept.request("GET", MP_LIST).status == 200
        assert digests() == {one}
        assert reloaded(bridge, second) == f"reload done; the policy in use is {two}"
        until(lambda: not listens(old), "the end of the first listener", SOON)
        assert kept.request("GET", MP_LIST).status == 200
    # The record of a tunnel is written at its end.
    records = bridge.wait_for_records(MANY + 1, SOON)
    assert {record["policy"] for record in records} == {one}
    bridge.addresses[TLS_PORT] = ("127.0.0.1", port)
    assert digests() == {two}
    bridge.kill_a_worker()
    assert digests() == {two}, "a successor has the policy in use"
    refused = f"reload refused; the policy in use stays {two}"
    assert reloaded(bridge, second.replace("workers: 2", "workers: 3")) == refused
    assert reloaded(bridge, second + "unknown: 1\n") == refused
    assert any(f"{bridge.policy_file}:" in line and "unknown" in line for line in bridge.lines)
    # One worker cannot answer.
    stopped = bridge.workers[0]
    os.kill(stopped, signal.SIGSTOP)
    bridge.policy_file.write_text(first, "utf-8")
    count = len(outcomes(bridge))
    os.kill(bridge.pid, signal.SIGHUP)
    # The parent listens again at the port that only the first policy has.
    until(lambda: listens(old), "the reload", SOON)
    os.kill(stopped, signal.SIGKILL)
    until(lambda: len(outcomes(bridge)) > count, "the outcome", SOON)
    assert outcomes(bridge)[-1].strip() == refused
    until(lambda: stopped not in bridge.workers and len(bridge.workers) == 2, "a successor", SOON)
    assert digests() == {two}
    assert bridge.stop() == 0
    assert "Traceback" not in "".join(bridge.lines)
