"""Faults of the machine and of its neighbors: nothing passes unjudged, and the bridge recovers."""

from __future__ import annotations

import contextlib
import json
import os
import random
import resource
import socket
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import yaml
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey

from ibcm_bridge.decisions.denial import Reason
from ibcm_bridge.lab.bridge.process import free_port
from ibcm_bridge.lab.pki.authorities import LabPki
from ibcm_bridge.lab.pki.files import shipped_policy
from ibcm_bridge.lab.protocol import ccm, documents
from ibcm_bridge.lab.protocol.client import (
    ConnectionEnded,
    HandshakeRefused,
    LabClient,
    Response,
)
from ibcm_bridge.lab.protocol.uploads import SESSION, Upload
from ibcm_bridge.lab.site_systems.clamd import ScanDaemon
from ibcm_bridge.lab.site_systems.site_systems import SiteSystems
from ibcm_bridge.storage.binding_registry import Registry
from tests.integration.credentials import Credentials
from tests.integration.database.computers import Computer
from tests.integration.faults import SOON, FaultyBridge, full, gets_a_list
from tests.integration.reading import until
from tests.little_room import on_a_disk

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="the faults are of Linux")

type Start = Callable[..., FaultyBridge]


@pytest.fixture
def start(tmp_path: Path, pki: LabPki, site_systems: SiteSystems) -> Iterator[Start]:
    """Start a bridge with a prefix and settings. It may log a traceback only if that is given."""
    with ExitStack() as stack:

        def started(
            prefix: tuple[str, ...] = (), *, traceback: bool = False, **settings: Any
        ) -> FaultyBridge:
            bridge = FaultyBridge(tmp_path, pki, site_systems, prefix=prefix, **settings)
            if not traceback:
                stack.callback(lambda: check_lines(bridge))
            return stack.enter_context(bridge)

        yield started


def check_lines(bridge: FaultyBridge) -> None:
    said = "".join(bridge.lines)
    assert "Traceback" not in said, said


def reasons(bridge: FaultyBridge) -> set[str]:
    return {record["reason"] for record in bridge.audit() if "reason" in record}


def degraded(bridge: FaultyBridge) -> str:
    return "\n".join(json.loads(bridge.get("/ready")[1])["degraded"])


# A full disk

MEBIBYTE = 1_048_576


def upload(client: LabClient, name: str) -> list[Response]:
    """Send an upload of a mebibyte until a packet is refused; return the responses."""
    whole = Upload(f"/CCM_Incoming/{name}.msg", random.Random(0).randbytes(MEBIBYTE))
    responses, session = [], ""
    for packet in (whole.create(), *whole.fragments(4)):
        fields = [(name, session if value == SESSION else value) for name, value in packet.headers]
        responses.append(response := client.send(replace(packet, headers=tuple(fields))))
        session = response.header("BITS-Session-Id") or session
        if response.status != 200:
            break
    return responses


@pytest.mark.needs("root")
@pytest.mark.parametrize("temporary", [False, True], ids=["spool", "temporary folder"])
def test_uploads_fail_while_the_disk_is_full_and_nothing_else_does(
    start: Start, credentials: Credentials, tmp_path: Path, temporary: bool
) -> None:
    disk = tmp_path / "disk"
    disk.mkdir()
    settings = {} if temporary else {"uploads": {"spool": str(disk / "uploads.sqlite")}}
    prefix = (*on_a_disk(disk, "size=6m"), "env", f"TMPDIR={disk}")
    bridge = start(prefix, **settings)
    computer = credentials.computer
    with full(Path(f"/proc/{bridge.pid}/root{disk}")):
        with bridge.client(computer) as client:
            refused = upload(client, "refused")[-1]
        assert refused.status == 503
        assert bridge.serves(computer)
        until(lambda: "the disk is full" in degraded(bridge), "degraded", SOON)
        assert bridge.get("/ready")[0] == 200
    until(lambda: Reason.UPLOAD_UNAVAILABLE in reasons(bridge), "the record", SOON)
    with bridge.client(computer) as client:
        assert [response.status for response in upload(client, "accepted")] == [200] * 5
    until(lambda: "the disk is full" not in degraded(bridge), "the end of the problem", SOON)


@pytest.mark.needs("root")
def test_nobody_registers_while_the_disk_is_full_and_known_clients_go_on(
    start: Start, pki: LabPki, tmp_path: Path
) -> None:
    disk, new = tmp_path / "disk", tmp_path / "new.sqlite"
    disk.mkdir()
    Registry(new).close()
    bindings = disk / "bindings.sqlite"
    copy = ("sh", "-c", f'cp {new} {bindings} && exec "$@"', "sh")
    identity = {"identity": "enforce", "bindings": str(bindings)}
    bridge = start((*on_a_disk(disk, "size=6m"), *copy), messages=identity)
    known, unknown = (
        Computer(bridge, pki.computer(f"{name}.corp.example"), f"{name}.corp.example")
        for name in ("known", "unknown")
    )
    assert known.register() == 200
    with full(Path(f"/proc/{bridge.pid}/root{disk}")):
        assert unknown.register() == 503
        assert known.report() == 200
        until(lambda: f"{bindings} cannot grow: the disk is full" in degraded(bridge), "it", SOON)
        assert bridge.get("/ready")[0] == 200
    until(lambda: Reason.IDENTITY_UNAVAILABLE in reasons(bridge), "the record", SOON)
    assert unknown.register() == 200
    until(lambda: "the disk is full" not in degraded(bridge), "the end of the problem", SOON)


# The clock

LIBRARY = Path("/usr/lib", os.uname().machine + "-linux-gnu", "faketime", "libfaketime.so.1")


@pytest.mark.needs("faketime")
def test_a_wrong_clock_refuses_clients_until_it_is_right_again(
    start: Start, credentials: Credentials, tmp_path: Path
) -> None:
    clock = tmp_path / "clock"
    clock.write_text("+0")
    faked = (f"LD_PRELOAD={LIBRARY}", f"FAKETIME_TIMESTAMP_FILE={clock}")
    cached = ("FAKETIME_NO_CACHE=1", "FAKETIME_DONT_FAKE_MONOTONIC=1", "DONT_FAKE_MONOTONIC=1")
    bridge = start(("env", *faked, *cached))
    computer = credentials.computer
    assert bridge.serves(computer)
    with bridge.client(computer) as kept:
        assert gets_a_list(kept)
        clock.write_text("+40d")
        until(lambda: json.loads(bridge.get("/ready")[1])["degraded"], "degraded", SOON)
        # Other machines have the same lists: a load balancer must not remove all of them.
        assert bridge.get("/ready")[0] == 200
        assert not bridge.serves(computer)
        assert not gets_a_list(kept)
        until(lambda: reasons(bridge), "the record", SOON)
        assert reasons(bridge) <= {
            Reason.CERTIFICATE_EXPIRED,
            Reason.REVOCATION_UNKNOWN,
            # The bridge's own certificate for site systems has expired too.
            Reason.SITE_SYSTEM_UNREACHABLE,
            Reason.SITE_SYSTEM_UNVERIFIED,
        }
    clock.write_text("+0")
    until(lambda: not json.loads(bridge.get("/ready")[1])["degraded"], "as before", SOON)
    assert bridge.serves(computer)


# Too few file descriptors


def test_a_bridge_without_descriptors_is_not_ready_and_recovers(
    start: Start, credentials: Credentials
) -> None:
    bridge = start()
    used = len(list(Path(f"/proc/{bridge.pid}/fd").iterdir()))
    # With fewer than 32 free descriptors, the bridge accepts no connection.
    resource.prlimit(bridge.pid, resource.RLIMIT_NOFILE, (used + 48, used + 48))
    with ExitStack() as idle:
        for _ in range(64):
            idle.enter_context(socket.create_connection(bridge.address, SOON))
        until(lambda: bridge.get("/ready")[0] == 503, "not ready", SOON)
        assert "file" in bridge.get("/ready")[1]
        assert bridge.get("/live")[0] == 200
    bridge.wait_until_it_serves(credentials.computer)
    until(lambda: bridge.get("/ready")[0] == 200, "ready again", SOON)
    assert len([line for line in bridge.lines if "descriptor" in line]) <= 6


# Too little memory


def test_a_bridge_without_memory_refuses_and_serves_or_is_not_ready(
    start: Start, credentials: Credentials
) -> None:
    bridge, computer = start(traceback=True), credentials.computer
    bridge.wait_until_it_serves(computer)
    pages = int(Path(f"/proc/{bridge.pid}/statm").read_text("ascii").split()[0])
    most = pages * resource.getpagesize() + 16 * MEBIBYTE
    resource.prlimit(bridge.pid, resource.RLIMIT_AS, (most, resource.RLIM_INFINITY))
    statuses, ended = list[int](), threading.Event()

    def load() -> None:
        while not ended.is_set():
            with (
                contextlib.suppress(OSError, ConnectionEnded, HandshakeRefused),
                bridge.client(computer) as client,
            ):
                fields = {"Content-Type": ccm.CONTENT_TYPE}
                body = bytes(3 * MEBIBYTE)
                response = client.request("CCM_POST", "/ccm_system/request", fields, body)
                statuses.append(response.status)

    threads = [threading.Thread(target=load) for _ in range(12)]
    for thread in threads:
        thread.start()
    try:
        until(lambda: "MemoryError" in "".join(bridge.lines), "too little memory", SOON)
        for _ in range(5):
            # Never alive and deaf.
            assert bridge.serves(computer) or bridge.get("/ready")[0] == 503
    finally:
        ended.set()
        for thread in threads:
            thread.join(SOON)
    assert 200 not in statuses
    resource.prlimit(bridge.pid, resource.RLIMIT_AS, (resource.RLIM_INFINITY,) * 2)
    bridge.wait_until_it_serves(computer)


# ClamAV


class WrongDaemon(threading.Thread):
    """Accepts connections, and sends these bytes or nothing."""

    def __init__(self, address: tuple[str, int], sends: bytes) -> None:
        super().__init__(daemon=True)
        self._address, self._sends = address, sends
        self._open = ExitStack()

    def __enter__(self) -> None:
        self._listener = socket.create_server(self._address)
        self.start()

    def __exit__(self, *_: object) -> None:
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self.join(SOON)
        self._open.close()

    def run(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                connection, _ = self._listener.accept()
                self._open.enter_context(connection)
                connection.sendall(self._sends)


def post(client: LabClient, key: RSAPrivateKey) -> int:
    guid = "GUID:01234567-89AB-CDEF-0123-456789ABCDEF"
    report = documents.inventory_report(guid)
    body = ccm.ccm_post_body(endpoint="MP_HinvEndpoint", body_xml=report, client_guid=guid, key=key)
    fields = {"Content-Type": ccm.CONTENT_TYPE}
    return client.request("CCM_POST", "/ccm_system/request", fields, body).status


def test_bodies_are_refused_while_clamd_is_gone_slow_or_wrong(
    start: Start, credentials: Credentials
) -> None:
    computer = credentials.computer
    assert isinstance(computer.key, RSAPrivateKey)
    address = ("127.0.0.1", free_port())
    bridge = start(engines={"clamav": {"address": "{}:{}".format(*address), "seconds": 2}})

    def posted() -> int:
        with bridge.client(computer) as client:
            return post(client, computer.key)

    faults = {
        "gone": contextlib.nullcontext(),
        "slow": WrongDaemon(address, b""),
        "wrong": WrongDaemon(address, b"\xffstream: O\0K"),
    }
    for number, (fault, daemon) in enumerate(faults.items(), 1):
        with daemon:
            assert (fault, posted()) == (fault, 503)
            until(lambda: len(bridge.audit()) == 2 * number - 1, "the record", SOON)  # noqa: B023
            assert reasons(bridge) == {Reason.ENGINE_UNAVAILABLE}
            # Requests without a body need no scan.
            assert bridge.serves(computer)
            until(lambda: len(bridge.audit()) == 2 * number, "the record", SOON)  # noqa: B023
    with ScanDaemon(address):
        assert posted() == 200


# DNS

HOSTS = 'mount --bind "$0" /etc/hosts && exec "$@"'
MP = "mp01.corp.example"


@pytest.mark.needs("root")
def test_a_changed_address_of_a_site_system_is_used_without_a_restart(
    start: Start, credentials: Credentials, site_systems: SiteSystems, tmp_path: Path
) -> None:
    hosts = tmp_path / "hosts"
    hosts.write_text(f"127.0.0.9 {MP}\n")
    _, port = site_systems.addresses["management-point"]
    publications = yaml.safe_load(shipped_policy())["publications"]
    role = publications[0]["roles"]["management-point"]
    role["site_system"] = f"https://{MP}:{port}"
    del role["connect"]
    prefix = ("unshare", "--mount", "sh", "-c", HOSTS, str(hosts))
    bridge = start(prefix, publications=publications)
    computer = credentials.computer

    def refused() -> list[str]:
        records = [record for record in bridge.audit() if "reason" in record]
        assert {record["reason"] for record in records} <= {Reason.SITE_SYSTEM_UNREACHABLE}
        return [record["detail"] for record in records]

    def detail() -> str:
        before = refused()
        assert not bridge.serves(computer)
        until(lambda: len(refused()) > len(before), "the record", SOON)
        return refused()[-1]

    assert "connection refused" in detail()
    hosts.write_text(f"127.0.0.1 {MP}\n")
    with bridge.client(computer) as kept:
        assert gets_a_list(kept)
        hosts.write_text("")
        assert any(text in detail() for text in ("name not found", "name resolution failed"))
        # A connection that is open needs no name.
        assert gets_a_list(kept)
    hosts.write_text(f"127.0.0.1 {MP}\n")
    assert bridge.serves(computer)
