"""Several worker processes on one port: they serve, are replaced, share state and stop together."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
import threading
import zlib
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from ibcm_bridge.authentication.certificate import certificate_facts
from ibcm_bridge.decisions.denial import Reason
from ibcm_bridge.lab.clients.device import Device
from ibcm_bridge.lab.clients.life_cycle import LIFE, REGISTRATION, run_steps
from ibcm_bridge.lab.pki.authorities import LabPki
from ibcm_bridge.lab.pki.certificates import LabCredential
from ibcm_bridge.lab.protocol import ccm, documents
from ibcm_bridge.lab.protocol.client import ConnectionEnded, HandshakeRefused, LabClient, Response
from ibcm_bridge.lab.protocol.uploads import SESSION, Upload
from ibcm_bridge.lab.site_systems.published import TUNNELED
from ibcm_bridge.lab.site_systems.registrations import client_guid
from ibcm_bridge.lab.site_systems.site_systems import SiteSystems
from ibcm_bridge.messages.client_guid import read_guid
from ibcm_bridge.storage.audit_files import read_lines
from ibcm_bridge.storage.binding_registry import Registry
from tests.audit.chains import problems, verified
from tests.integration.credentials import Credentials
from tests.integration.reading import said, until, writer_ends
from tests.integration.worker_bridges import MANY, MP_LIST, SOON, Workers, children, runs, sockets

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="several workers require Linux")


@pytest.fixture(scope="module")
def bridge(
    tmp_path_factory: pytest.TempPathFactory, pki: LabPki, site_systems: SiteSystems
) -> Iterator[Workers]:
    """A bridge without named files for bindings and uploads."""
    directory = tmp_path_factory.mktemp("workers")
    with Workers(directory, pki, site_systems) as bridge:
        yield bridge
        assert bridge.stop() == 0
    assert "Traceback" not in "".join(bridge.lines)


def report(guid: str = "0a1b2c3d-0000-4000-8000-00000000000f") -> bytes:
    xml = documents.inventory_report(guid)
    return ccm.ccm_post_body(endpoint="MP_HinvEndpoint", body_xml=xml, client_guid=guid)


def post(client: LabClient, body: bytes) -> Response:
    fields = {"Content-Type": ccm.CONTENT_TYPE}
    return client.request("CCM_POST", "/ccm_system/request", fields, body)


# Serving


def test_the_parent_has_two_workers_and_reports_once(bridge: Workers) -> None:
    assert len(bridge.workers) == 2
    # The last of the lines at the start.
    number = "workers: 2 processes serve all clients"
    until(lambda: number in said(bridge.lines), "the number", SOON)
    listening = [
        line for line in bridge.lines if f"listening on 127.0.0.1:{bridge.address[1]}" in line
    ]
    assert len(listening) == 1


def test_both_workers_get_connections(bridge: Workers) -> None:
    before = {pid: sockets(pid) for pid in bridge.workers}
    with contextlib.ExitStack() as opened:
        for _ in range(MANY):
            opened.enter_context(socket.create_connection(bridge.address, SOON))

        def more() -> list[int]:
            return [sockets(pid) - count for pid, count in before.items()]

        until(lambda: sum(more()) == MANY, "all connections", SOON)
        assert min(more()) > 0


def test_a_client_guid_learned_by_one_worker_is_bound_at_both(
    bridge: Workers, credentials: Credentials
) -> None:
    device = Device.of(credentials.computer, "pc1.corp.example")
    with bridge.client(credentials.computer) as client:
        *_, last = run_steps(client.send, device, LIFE)
        assert last.good, last.response
    guid = client_guid(device.certificate).removeprefix("GUID:")
    for _ in range(MANY):
        with bridge.client(credentials.other) as client:
            post(client, report(guid))

    def records() -> list[dict[str, Any]]:
        # Other records can be written late.
        return [r for r in bridge.audit() if r.get("client_name") == "pc9.corp.example"]

    until(lambda: len(records()) == MANY, "all records", SOON)
    # The policy does not enforce it: that requires a named file.
    of_another = Reason.IDENTITY_OF_ANOTHER.value
    assert all(of_another in str(record["observed"]) for record in records())


# A worker that ends


def test_the_successor_of_a_killed_worker_serves(bridge: Workers, credentials: Credentials) -> None:
    killed = bridge.kill_a_worker()
    for _ in range(MANY):
        with bridge.client(credentials.computer) as client:
            assert client.request("GET", MP_LIST).status == 200
    assert any("SIGKILL" in line and "worker" in line for line in bridge.lines)
    assert killed not in bridge.workers


def test_a_connection_that_waits_for_a_killed_worker_is_served(
    bridge: Workers, credentials: Credentials
) -> None:
    stopped = bridge.workers[0]
    os.kill(stopped, signal.SIGSTOP)
    with ThreadPoolExecutor(MANY) as pool:

        def ask() -> int:
            with bridge.client(credentials.computer) as client:
                return client.request("GET", MP_LIST).status

        asked = [pool.submit(ask) for _ in range(MANY)]
        until(lambda: any(future.done() for future in asked), "the other worker", SOON)
        # The connections of the stopped worker wait in its socket, which the successor gets.
        waiting = [future for future in asked if not future.done()]
        assert waiting
        os.kill(stopped, signal.SIGKILL)
        assert [future.result(SOON) for future in asked] == [200] * MANY
    until(lambda: len(bridge.workers) == 2, "the successor")


def test_the_lines_of_the_audit_are_whole_while_workers_are_killed(
    own: Callable[..., Workers], credentials: Credentials
) -> None:
    bridge = own()
    stop, acknowledged = threading.Event(), []

    def send() -> None:
        while not stop.is_set():
            with (
                contextlib.suppress(ConnectionEnded, HandshakeRefused, OSError),
                bridge.client(credentials.computer) as client,
            ):
                for _ in range(5):
                    reply = client.request("GET", MP_LIST)
                    assert reply.status == 200
                    acknowledged.append(reply)

    with ThreadPoolExecutor(4) as pool:
        sending = [pool.submit(send) for _ in range(4)]
        for _ in range(2):
            done = len(acknowledged)
            until(lambda done=done: len(acknowledged) > done + 10, "traffic", SOON)
            bridge.kill_a_worker()
        done = len(acknowledged)
        until(lambda: len(acknowledged) > done + 10, "traffic after it", SOON)
        stop.set()
        for future in sending:
            future.result(SOON)
    lines = bridge.audit_file.read_text("utf-8").splitlines()
    records = [json.loads(line) for line in lines]
    allowed = [record for record in records if record.get("verdict") == "allow"]
    found = verified(read_lines(bridge.audit_file))
    assert problems(found) == [], "a killed worker is not a manipulation"
    assert [writer.ended for writer in found.writers].count(False) >= 2
    # A record is written after the response, so each connection of a killed worker may lack one.
    assert len(allowed) >= len(acknowledged) - 2 * 4
    assert all(record["status"] == 200 for record in allowed)


def test_killed_workers_lose_no_acknowledged_binding_and_let_nothing_pass(
    own: Callable[..., Workers],
    tmp_path: Path,
    credentials: Credentials,
    site_systems: SiteSystems,
) -> None:
    bridge = own(messages={"identity": "enforce", "bindings": "bindings.sqlite"})
    names = [f"killed{number}.corp.example" for number in range(8)]
    computers = [bridge.pki.computer(name) for name in names]
    bound: dict[str, LabCredential] = {}
    stop, refused = threading.Event(), []

    def register(credential: LabCredential, name: str) -> None:
        device = Device.of(credential, name)
        while True:
            with (
                contextlib.suppress(ConnectionEnded, HandshakeRefused, OSError),
                bridge.client(credential) as client,
            ):
                (done,) = run_steps(client.send, device, (REGISTRATION,))
                assert done.good, done.response
                guid = read_guid(done.device.guid)
                assert guid is not None
                bound[guid] = credential
                return

    def use_those_of_others() -> None:
        while not stop.is_set():
            for guid in list(bound):
                with (
                    contextlib.suppress(ConnectionEnded, HandshakeRefused, OSError),
                    bridge.client(credentials.other) as client,
                ):
                    refused.append(post(client, report(guid)).status)

    with ThreadPoolExecutor(4) as pool:
        stealing = pool.submit(use_those_of_others)
        registering = [pool.submit(register, *pair) for pair in zip(computers, names, strict=True)]
        for count in (2, 5):
            until(lambda count=count: len(bound) >= count, "registrations", SOON)
            bridge.kill_a_worker()
        for future in registering:
            future.result(SOON)
        tried = len(refused)
        until(lambda: len(refused) > tried + len(names), "refusals", SOON)
        stop.set()
        stealing.result(SOON)
    assert set(refused) == {403}
    of_another = Reason.IDENTITY_OF_ANOTHER.value
    thief = [r for r in bridge.audit() if r.get("client_name") == "pc9.corp.example"]
    assert {record["reason"] for record in thief if record["event"] == "request"} == {of_another}
    assert not any(b"MP_HinvEndpoint" in request.body for request in site_systems.received())
    with Registry(tmp_path / "bindings.sqlite") as registry:
        keys = {guid: registry.find(guid) for guid in bound}
    assert len(keys) == len(names)
    for guid, binding in keys.items():
        assert binding is not None
        assert binding.key == certificate_facts(bound[guid].certificate).key_sha256


def test_no_worker_serves_after_one_could_not_write_the_audit(
    own: Callable[..., Workers], credentials: Credentials, site_systems: SiteSystems
) -> None:
    import resource  # noqa: PLC0415 - Windows has none

    bridge = own()

    def ask() -> int | None:
        with (
            contextlib.suppress(ConnectionEnded, HandshakeRefused),
            bridge.client(credentials.computer) as client,
        ):
            return client.request("GET", MP_LIST).status
        return None

    assert ask() == 200
    until(bridge.audit, "the record", SOON)
    before = len(site_systems.received())
    size = bridge.audit_file.stat().st_size
    for worker in bridge.workers:
        resource.prlimit(worker, resource.RLIMIT_FSIZE, (size, -1))
    # The record that fails is written after the response.
    ask()
    until(lambda: any("cannot write the audit" in line for line in bridge.lines), "it", SOON)
    assert 200 not in [ask() for _ in range(MANY)]
    assert len(site_systems.received()) <= before + 1
    for worker in bridge.workers:
        resource.prlimit(worker, resource.RLIMIT_FSIZE, (-1, -1))
    until(lambda: [ask() for _ in range(4)] == [200] * 4, "service", SOON)


def test_an_upload_continues_at_any_worker_after_one_was_killed(
    own: Callable[..., Workers], credentials: Credentials, site_systems: SiteSystems
) -> None:
    bridge = own()
    data = zlib.compress(("<Report><x>%s</x></Report>" % ("y" * 9_000)).encode("utf-16-le"), 0)
    upload = Upload("/CCM_Incoming/workers.msg", data)
    packets = [upload.create(), *upload.fragments(6), upload.close()]
    session = ""
    for number, packet in enumerate(packets):
        if number in (2, 4):
            bridge.kill_a_worker()
        fields = [(name, session if value == SESSION else value) for name, value in packet.headers]
        with bridge.client(credentials.computer) as client:
            reply = client.send(replace(packet, headers=tuple(fields)))
        assert reply.status == 200, (number, reply)
        session = reply.header("BITS-Session-Id") or session
    assert data in site_systems.uploads.files.values()


def test_a_worker_that_keeps_ending_ends_the_bridge(own: Callable[..., Workers]) -> None:
    bridge = own()
    kept, _ = bridge.workers
    process = bridge._process
    assert process is not None

    def kill_the_other() -> bool:
        for pid in children(bridge.pid) if process.poll() is None else ():
            if pid != kept:
                os.kill(pid, signal.SIGKILL)
        return process.poll() is not None

    until(kill_the_other, "the end", SOON)
    assert process.wait(SOON) == 1
    until(lambda: "5 times within 60 seconds" in bridge.lines[-1], "the reason")
    until(lambda: not runs(kept), "the end of the other worker", SOON)


# Limits


def test_the_limit_of_connections_is_that_of_all_workers(
    own: Callable[..., Workers], credentials: Credentials
) -> None:
    bridge = own(limits={"connections": 12})
    with contextlib.ExitStack() as opened:
        clients = [
            opened.enter_context(bridge.client(credentials.computer)) for _ in range(2 * MANY)
        ]
        # One after another, so that none exceeds the limit. Earlier connections give way.
        assert all(client.request("GET", MP_LIST).status == 200 for client in clients)
        assert sum(map(is_open, clients)) == 12


def test_workers_that_count_at_the_same_moment_exceed_the_limit_by_one_each_at_most(
    own: Callable[..., Workers], credentials: Credentials
) -> None:
    bridge = own(limits={"connections": 8})
    with contextlib.ExitStack() as opened, ThreadPoolExecutor(2 * MANY) as pool:
        clients = [
            opened.enter_context(bridge.client(credentials.computer)) for _ in range(2 * MANY)
        ]
        asked = list(zip(clients, pool.map(is_open, clients), strict=True))
        # A client that was refused is left out: it would connect again.
        assert sum(is_open(client) for client, served in asked if served) <= 8 + 1


def is_open(client: LabClient) -> bool:
    """Whether the bridge still serves a connection."""
    with contextlib.suppress(ConnectionEnded, HandshakeRefused, OSError):
        return client.request("GET", MP_LIST).status == 200
    return False


# Starting and stopping


def test_a_port_that_another_program_shares_is_in_use(
    run_command: Callable[..., subprocess.CompletedProcess[str]],
    tmp_path: Path,
    pki: LabPki,
    site_systems: SiteSystems,
) -> None:
    bridge = Workers(tmp_path, pki, site_systems)
    with socket.socket() as other:
        other.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        other.bind(bridge.address)
        other.listen()
        done = run_command("run", "--config", str(bridge.policy_file))
    assert done.returncode == 1
    assert done.stderr.splitlines()[-1] == (
        f"ibcm-bridge: cannot start: 127.0.0.1:{bridge.address[1]} is already in use; stop the "
        "other program, or listen on another port"
    )


def test_why_the_workers_cannot_start_is_reported_once(
    run_command: Callable[..., subprocess.CompletedProcess[str]],
    tmp_path: Path,
    pki: LabPki,
    site_systems: SiteSystems,
) -> None:
    (tmp_path / "bad.yar").write_text("rule bad { condition: nonsense }", "utf-8")
    bridge = Workers(tmp_path, pki, site_systems, rules=["bad.yar"])
    done = run_command("run", "--config", str(bridge.policy_file))
    assert done.returncode == 1
    assert done.stderr.count("cannot start") == 1
    assert "bad.yar" in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_stops_all_workers_after_the_requests_under_way(
    own: Callable[..., Workers], credentials: Credentials, number: signal.Signals
) -> None:
    bridge = own()
    workers = bridge.workers
    with bridge.client(credentials.computer, TUNNELED["management-point"]) as client:
        assert client.request("GET", MP_LIST).status == 200
        os.kill(bridge.pid, number)
        assert bridge.stop() == 0
    assert not any(runs(pid) for pid in workers)
    assert said(bridge.lines[-1:]) == ["stopped"]
    (record,) = bridge.audit()
    assert record["event"] == "tunnel"
    # `stop` is a second signal: it cuts the tunnel off.
    drained = ["drained"] * (len(workers) - 1)
    assert sorted(writer_ends(bridge.audit_file)) == [*drained, "requests and tunnels cut off: 1"]
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(bridge.address, SOON)


def test_the_workers_end_with_a_killed_parent(own: Callable[..., Workers]) -> None:
    bridge = own()
    workers = bridge.workers
    os.kill(bridge.pid, signal.SIGKILL)
    until(lambda: not any(runs(pid) for pid in workers), "the end of the workers", SOON)
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(bridge.address, SOON)


def test_records_on_standard_output_are_whole_lines(
    tmp_path: Path, pki: LabPki, site_systems: SiteSystems, credentials: Credentials
) -> None:
    bridge = Workers(tmp_path, pki, site_systems, audit={})
    command = [sys.executable, "-P", "-m", "ibcm_bridge", "run", "--config", bridge.policy_file]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        try:
            until(lambda: b"listening on" in process.stderr.readline(), "the start", SOON)

            def ask(_: int) -> None:
                with bridge.client(credentials.computer) as client:
                    for _ in range(4):
                        client.request("GET", MP_LIST)

            lines = []
            reading = threading.Thread(target=lambda: lines.extend(process.stdout.readlines()))
            reading.start()
            with ThreadPoolExecutor(8) as pool:
                list(pool.map(ask, range(MANY)))
        finally:
            process.terminate()
            process.stderr.read()
        reading.join(SOON)
    events = [json.loads(line)["event"] for line in lines]
    assert events.count("request") == 4 * MANY
    found = verified(lines)
    assert problems(found) == []
    assert all(writer.ended for writer in found.writers)
