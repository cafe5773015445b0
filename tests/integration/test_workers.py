"""The processes that look into large bodies: gone with the bridge, however it goes."""

from __future__ import annotations

import array
import contextlib
import fcntl
import os
import signal
import sys
import termios
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from ibcm_bridge.decisions.denial import Reason
from ibcm_bridge.lab.bridge.process import RunningBridge
from ibcm_bridge.lab.pki.authorities import LabPki
from ibcm_bridge.lab.protocol import ccm, documents
from ibcm_bridge.lab.protocol.client import LabClient, Response
from ibcm_bridge.lab.site_systems.published import BRIDGED
from ibcm_bridge.lab.site_systems.site_systems import SiteSystems
from tests.integration.credentials import Credentials
from tests.integration.lab import Lab

pytestmark = pytest.mark.skipif(
    not sys.platform.startswith("linux"), reason="processes are found in /proc"
)
GUID = "0a1b2c3d-0000-4000-8000-00000000000f"
FIELDS = {"Content-Type": ccm.CONTENT_TYPE}


def message(rows: int) -> bytes:
    report = documents.inventory_report(GUID, rows)
    return ccm.ccm_post_body(endpoint="MP_HinvEndpoint", body_xml=report, client_guid=GUID)


LARGE = message(600)
LARGER = message(3_000)


def children(pid: int) -> list[int]:
    found = Path(f"/proc/{pid}/task/{pid}/children").read_text("ascii")
    return [int(number) for number in found.split()]


def runs(pid: int) -> bool:
    """Whether it does; a zombie that nobody of ours has to collect does not."""
    try:
        return Path(f"/proc/{pid}/stat").read_text("ascii").rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


@pytest.fixture
def bridge(tmp_path: Path, pki: LabPki, site_systems: SiteSystems) -> Iterator[RunningBridge]:
    with RunningBridge(tmp_path, pki, site_systems) as one:
        yield one


def post(bridge: RunningBridge, pki: LabPki, credentials: Credentials, body: bytes) -> Response:
    with LabClient(
        bridge.address, BRIDGED, trust=pki.root, credential=credentials.computer, timeout=30
    ) as client:
        return client.request("CCM_POST", "/ccm_system/request", FIELDS, body)


def test_the_first_large_body_starts_a_worker_that_is_kept(
    bridge: RunningBridge, pki: LabPki, credentials: Credentials
) -> None:
    assert post(bridge, pki, credentials, message(10)).status == 200
    assert children(bridge.pid) == []
    assert post(bridge, pki, credentials, LARGE).status == 200
    (worker,) = children(bridge.pid)
    assert post(bridge, pki, credentials, LARGE).status == 200
    assert children(bridge.pid) == [worker]


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGKILL])
@pytest.mark.parametrize("busy", [False, True], ids=["idle", "busy"])
def test_workers_end_with_the_bridge(
    bridge: RunningBridge,
    lab: Lab,
    pki: LabPki,
    credentials: Credentials,
    number: signal.Signals,
    busy: bool,
) -> None:
    assert post(bridge, pki, credentials, LARGE).status == 200
    (worker,) = children(bridge.pid)
    with ThreadPoolExecutor() as pool:
        asked: Future[Any] | None = None
        if busy:
            os.kill(worker, signal.SIGSTOP)
            asked = pool.submit(post, bridge, pki, credentials, LARGER)
            lab.until(lambda: has_been_given(worker), "the worker at work")
        os.kill(bridge.pid, number)
        with contextlib.suppress(ProcessLookupError):
            os.kill(worker, signal.SIGCONT)
        bridge.stop()
        lab.until(lambda: not runs(worker), "the end of the worker")
        if asked is not None:
            with contextlib.suppress(Exception):
                asked.result()


def has_been_given(pid: int) -> bool:
    """Whether something waits in the standard input of a worker that is halted."""
    waiting = array.array("i", [0])
    descriptor = os.open(f"/proc/{pid}/fd/0", os.O_RDONLY | os.O_NONBLOCK)
    try:
        fcntl.ioctl(descriptor, termios.FIONREAD, waiting)
    finally:
        os.close(descriptor)
    return waiting[0] > 0


def test_an_inspection_finishes_after_a_signal_to_all_processes(
    bridge: RunningBridge, lab: Lab, pki: LabPki, credentials: Credentials
) -> None:
    assert post(bridge, pki, credentials, LARGE).status == 200
    (worker,) = children(bridge.pid)
    os.kill(worker, signal.SIGSTOP)
    with ThreadPoolExecutor() as pool:
        asked = pool.submit(post, bridge, pki, credentials, LARGER)
        lab.until(lambda: has_been_given(worker), "the worker at work")
        for pid in (worker, bridge.pid):
            os.kill(pid, signal.SIGTERM)
        os.kill(worker, signal.SIGCONT)
        assert asked.result(20).status == 200
    assert bridge.stop() == 0


def test_a_worker_that_is_killed_is_replaced(
    bridge: RunningBridge, lab: Lab, pki: LabPki, credentials: Credentials
) -> None:
    assert post(bridge, pki, credentials, LARGE).status == 200
    (worker,) = children(bridge.pid)
    os.kill(worker, signal.SIGSTOP)
    with ThreadPoolExecutor() as pool:
        asked = pool.submit(post, bridge, pki, credentials, LARGER)
        lab.until(lambda: has_been_given(worker), "the worker at work")
        os.kill(worker, signal.SIGKILL)
        assert asked.result(20).status == 503
    refused = Reason.ENGINE_UNAVAILABLE.value
    lab.until(lambda: bridge.audit()[-1].get("reason") == refused, "the record")
    lab.until(lambda: worker not in children(bridge.pid), "the collection of the worker")
    assert post(bridge, pki, credentials, LARGER).status == 200
