"""Large bodies on a running bridge: others are served meanwhile, and every failure refuses."""

from __future__ import annotations

import contextlib
import dataclasses
import socket
import ssl
import sys
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from ibcm_bridge.addons.engines import inspection_workers
from ibcm_bridge.inspection.verdict import SMALL
from ibcm_bridge.lab.protocol import ccm, documents
from ibcm_bridge.lab.protocol.client import ConnectionEnded, LabClient, Response, request_bytes
from tests.addons.stand_ins.lab import BRIDGED, GOOD, GUID, Lab
from tests.addons.stand_ins.running import Running, outcome_of, wait_for

FIELDS = {"Content-Type": ccm.CONTENT_TYPE}
POST = ("CCM_POST", "/ccm_system/request")
EICAR = "".join(("X5O!P%@AP[4\\PZX54(P^)7CC)7}$", "EICAR-STANDARD-", "ANTIVIRUS-TEST-FILE!$H+H*"))


def message(text: str = "") -> bytes:
    xml = documents.inventory_report(GUID, rows=600).replace("Publisher 1", f"Publisher 1{text}", 1)
    return ccm.ccm_post_body(endpoint="MP_HinvEndpoint", body_xml=xml, client_guid=GUID)


LARGE = message()


def post(running: Running, body: bytes = LARGE) -> Response | Exception:
    # Longer than the usual timeout: a worker takes time to start.
    with LabClient(
        running.address,
        BRIDGED,
        trust=running.lab.pki.root,
        credential=running.lab.computer,
        timeout=30,
    ) as client:
        return outcome_of(client, *POST, headers=FIELDS, body=body)


def status(reply: Response | Exception) -> int:
    assert isinstance(reply, Response), reply
    return reply.status


def command(running: Running, *words: str) -> None:
    """Start this program for every later worker."""
    running.bridge.generation.workers._command = words


HANGING = (sys.executable, "-c", "import sys, time; print(flush=True); time.sleep(1000)")


@pytest.fixture
def hanging(running: Running) -> Running:
    command(running, *HANGING)
    return running


def wait_until_inspected(running: Running, count: int = 1) -> None:
    assert wait_for(lambda: len(running.bridge.generation.workers._busy) == count), (
        "no worker inspects it"
    )


def test_a_large_message_passes_byte_for_byte(running: Running, lab: Lab) -> None:
    assert status(post(running)) == 200
    assert [request.body for request in lab.site.received()] == [LARGE]
    (record,) = wait_for(running.audit)
    assert record["verdict"] == "allow"
    assert any(int(view.partition(":")[2]) > SMALL for view in record["inspected"])
    assert record["message_endpoint"] == "MP_HinvEndpoint"


def test_malware_in_a_large_message_is_found(running: Running, lab: Lab) -> None:
    assert status(post(running, message(EICAR))) == 403
    assert not lab.site.received()
    record = running.wait_for_reason("malicious-content")
    assert (record["rule"], record["detail"]) == ("engines.yara-x", "eicar_test_file in text")


def test_others_are_served_while_a_large_body_is_inspected(hanging: Running) -> None:
    with ThreadPoolExecutor() as pool:
        reply = pool.submit(post, hanging)
        wait_until_inspected(hanging)
        hanging.assert_serves()
        with hanging.client() as client:
            small = ccm.ccm_post_body(
                endpoint="MP_HinvEndpoint", body_xml="<Report/>", client_guid=GUID
            )
            assert status(outcome_of(client, *POST, headers=FIELDS, body=small)) == 200
        assert not reply.done()
        hanging._loop.call_soon_threadsafe(kill_workers, hanging)
        assert status(reply.result(10)) == 503
    hanging.wait_for_reason("engine-unavailable")


def kill_workers(running: Running) -> None:
    for worker in running.bridge.generation.workers._busy:
        worker.kill()


@pytest.mark.parametrize(
    "words",
    [
        ("/nonexistent/python",),
        (sys.executable, "-c", ""),
        (sys.executable, "-c", "print(flush=True); import sys; sys.stdin.buffer.read(100)"),
        (
            sys.executable,
            "-c",
            'print(flush=True); print(\'{"digest":"0","views":["sent:1"],"message":null,'
            '"engines":["yara-x"],"missed":[]}\', flush=True); import time; time.sleep(1000)',
        ),
    ],
)
def test_a_body_without_a_report_is_refused_and_the_next_one_inspected(
    running: Running, lab: Lab, words: tuple[str, ...]
) -> None:
    command(running, *words)
    assert status(post(running)) == 503
    assert running.wait_for_reason("engine-unavailable")["rule"] == "inspection.workers"
    assert not lab.site.received()
    running.assert_serves()
    kill = threading.Event()
    running._loop.call_soon_threadsafe(lambda: (retire(running), kill.set()))
    kill.wait(5)
    assert wait_for(
        lambda: not any(worker.alive for worker in running.bridge.generation.workers._idle)
    )
    command(running, *inspection_workers.COMMAND)
    assert status(post(running)) == 200


def retire(running: Running) -> None:
    """Kill the idle workers, which run another program."""
    for worker in running.bridge.generation.workers._idle:
        worker.kill()


def test_a_worker_that_does_not_report_in_time_is_replaced(
    hanging: Running, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(inspection_workers, "INSPECTION_SECONDS", 0.3)
    assert status(post(hanging)) == 503
    monkeypatch.setattr(inspection_workers, "INSPECTION_SECONDS", 30)
    command(hanging, *inspection_workers.COMMAND)
    assert status(post(hanging)) == 200


def test_bodies_over_the_queue_limit_are_refused(hanging: Running) -> None:
    hanging.bridge.generation.workers._turns._waiting.limit = 0
    size = hanging.policy.limits.inspection_workers
    with ThreadPoolExecutor() as pool:
        waiting = [pool.submit(post, hanging) for _ in range(size)]
        wait_until_inspected(hanging, size)
        assert status(post(hanging)) == 503
        assert hanging.wait_for_reason("overloaded")["rule"] == "limits.inspection_workers"
        hanging._loop.call_soon_threadsafe(kill_workers, hanging)
        assert [status(reply.result(10)) for reply in waiting] == [503] * size


def test_nothing_more_is_read_from_a_client_whose_body_is_inspected(hanging: Running) -> None:
    client = hanging.client()
    with client:
        connection = client.connect()
        connection.sendall(request_bytes(*POST, FIELDS, LARGE, BRIDGED))
        wait_until_inspected(hanging)
        connection.settimeout(1)
        sent = 0
        with contextlib.suppress(TimeoutError, ssl.SSLWantWriteError):
            while sent < 64_000_000:
                connection.sendall(b"x" * 65_536)
                sent += 65_536
        assert sent < 32_000_000


def test_a_client_that_disconnects_during_inspection_leaves_nothing_behind(
    hanging: Running, lab: Lab
) -> None:
    client = hanging.client()
    with client:
        client.connect().sendall(request_bytes(*POST, FIELDS, LARGE, BRIDGED))
        wait_until_inspected(hanging)
        assert hanging.bridge.connections.capacity.memory.held >= len(LARGE)
    hanging._loop.call_soon_threadsafe(kill_workers, hanging)
    hanging.wait_for_reason("engine-unavailable")
    assert wait_for(lambda: not hanging.bridge.connections._records)
    assert hanging.bridge.connections.capacity.memory.held == 0
    assert not lab.site.received()


def test_a_stopping_bridge_responds_to_waiting_clients(lab: Lab, tmp_path: Path) -> None:
    policy = dataclasses.replace(lab.policy, audit_file=tmp_path / "audit.jsonl")
    with ThreadPoolExecutor() as pool:
        with Running(lab, policy) as running:
            command(running, *HANGING)
            reply = pool.submit(post, running)
            wait_until_inspected(running)
        assert status(reply.result(1)) == 503
    assert running.reasons() == ["engine-unavailable"]


# limits.connections


@pytest.fixture
def narrow(lab: Lab, tmp_path: Path) -> Iterator[Running]:
    limits = dataclasses.replace(lab.policy.limits, connections=2)
    audit_file = tmp_path / "audit.jsonl"
    policy = dataclasses.replace(lab.policy, audit_file=audit_file, limits=limits)
    with Running(lab, policy) as running:
        yield running


def test_a_connection_over_the_limit_is_closed_and_the_next_one_served(narrow: Running) -> None:
    another = narrow.lab.pki.computer("pc2.corp.example")
    with narrow.client() as one, narrow.client(credential=another) as two:
        for client in (one, two):
            assert status(outcome_of(client, *GOOD)) == 200
        for _ in range(20):
            with socket.create_connection(narrow.address, 5) as third:
                assert third.recv(100) == bytes.fromhex("15030300020250")
                assert third.recv(100) == b""
        assert status(outcome_of(one, *GOOD)) == 200
    assert wait_for(lambda: not narrow.bridge.connections._records)
    narrow.assert_serves()
    turned_away = [
        record for record in narrow.audit() if record.get("reason") == "too-many-connections"
    ]
    assert 1 <= len(turned_away) < 20, "one record per second"
    assert turned_away[0]["event"] == "connection-refused"
    assert turned_away[0]["rule"] == "limits.connections"


def test_a_client_with_several_connections_gives_way_to_another(narrow: Running) -> None:
    another = narrow.lab.pki.computer("pc2.corp.example")
    with narrow.client() as one, narrow.client() as two:
        for client in (one, two):
            assert status(outcome_of(client, *GOOD)) == 200
        with narrow.client(credential=another) as third:
            assert status(outcome_of(third, *GOOD)) == 200
            with pytest.raises(ConnectionEnded):
                one.request(*GOOD)
            assert status(outcome_of(two, *GOOD)) == 200


def test_a_connection_that_sends_nothing_counts_toward_the_limit(narrow: Running) -> None:
    with socket.create_connection(narrow.address):
        assert wait_for(lambda: narrow.bridge.connections.capacity.handshakes.held == 1)
        assert not isinstance(narrow.ask(*GOOD), Response)
    assert wait_for(lambda: not narrow.bridge.connections._records)
    narrow.assert_serves()
