"""`run` as an operator uses it: start and stop."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

from ibcm_bridge.lab.bridge.process import RunningBridge
from ibcm_bridge.lab.pki.files import shipped_policy
from ibcm_bridge.lab.site_systems.site_systems import SiteSystems
from tests.integration.commands import (
    Command,
    address_of,
    check_no_traceback,
    needs_signals,
    on_free_ports,
)
from tests.integration.lab import Lab
from tests.integration.raw_site_system import Peer, RawSiteSystem
from tests.integration.reading import said, writer_ends

MP_LIST = "/SMS_MP/.sms_aut?MPLIST"
POLICY = "/SMS_MP/.sms_pol?{LAB00001}.1_00"  # streamed to the client
SIGNALS = [signal.SIGTERM, signal.SIGINT]


# Stopping


@contextlib.contextmanager
def own_bridge(
    lab: Lab, directory: Path, raw: RawSiteSystem | None = None
) -> Iterator[RunningBridge]:
    policy = yaml.safe_load(shipped_policy())
    if raw:
        host, port = raw.address
        policy["publications"][0]["roles"]["management-point"]["connect"] = f"{host}:{port}"
    bridge = RunningBridge(directory, lab.pki, lab.site, policy=yaml.safe_dump(policy))
    with bridge:
        yield bridge
    assert "Traceback" not in "".join(bridge.lines)
    assert "ERROR" not in "".join(bridge.lines), bridge.lines


def exit_status(bridge: RunningBridge) -> int | None:
    assert bridge._process is not None
    return bridge._process.poll()


@needs_signals
@pytest.mark.parametrize("number", SIGNALS)
def test_a_signal_stops_an_idle_bridge_at_once(
    lab: Lab, tmp_path: Path, number: signal.Signals
) -> None:
    with (
        own_bridge(lab, tmp_path) as bridge,
        lab.client(address=bridge.address) as client,
        socket.create_connection(bridge.address, 10) as silent,
    ):
        assert client.request("GET", MP_LIST).status == 200
        os.kill(bridge.pid, number)
        # Neither a keep-alive connection nor a silent one delays it.
        lab.until(lambda: exit_status(bridge) is not None, "the end", seconds=3)
        assert exit_status(bridge) == 0
        assert lab.read_to_end(silent) == b""
        with pytest.raises(ConnectionRefusedError):
            socket.create_connection(bridge.address, 10)
    assert said(bridge.lines[-1:]) == ["stopped"]
    (record,) = bridge.audit()
    assert record["verdict"] == "allow"


@needs_signals
@pytest.mark.parametrize("number", SIGNALS)
def test_a_download_in_progress_is_finished_first(
    lab: Lab, raw_site_system: RawSiteSystem, tmp_path: Path, number: signal.Signals
) -> None:
    go_on = threading.Event()

    def script(peer: Peer) -> None:
        peer.read_head()
        peer.send(b"HTTP/1.1 200 OK\r\nContent-Length: 2000000\r\n\r\n" + bytes(1_000_000))
        go_on.wait(10)
        peer.send(bytes(1_000_000))
        peer.wait_for_end()

    raw_site_system.behave(script, lab.pki.server("mp01.corp.example"))
    with (
        own_bridge(lab, tmp_path, raw_site_system) as bridge,
        lab.connect(address=bridge.address) as connection,
    ):
        connection.sendall(lab.request(target=POLICY))
        received = connection.recv(1000)
        os.kill(bridge.pid, number)
        lab.until(lambda: not _accepts(bridge.address), "the end of listening")
        assert exit_status(bridge) is None
        go_on.set()
        head, _, body = received.partition(b"\r\n\r\n")
        body += lab.read_exactly(connection, 2_000_000 - len(body))
        assert (body, head[:12]) == (bytes(2_000_000), b"HTTP/1.1 200")
        lab.until(lambda: exit_status(bridge) is not None, "the end", seconds=3)
        assert exit_status(bridge) == 0
    (record,) = bridge.audit()
    assert (record["status"], record["bytes_to_client"]) == (200, 2_000_000)
    assert "note" not in record


@needs_signals
def test_a_second_signal_cuts_a_download_off_and_it_is_recorded(
    lab: Lab, raw_site_system: RawSiteSystem, tmp_path: Path
) -> None:
    def script(peer: Peer) -> None:
        peer.read_head()
        peer.send(b"HTTP/1.1 200 OK\r\nContent-Length: 2000000\r\n\r\n" + bytes(10))
        peer.wait_for_end()

    raw_site_system.behave(script, lab.pki.server("mp01.corp.example"))
    with (
        own_bridge(lab, tmp_path, raw_site_system) as bridge,
        lab.connect(address=bridge.address) as connection,
    ):
        connection.sendall(lab.request(target=POLICY))
        connection.recv(1000)
        os.kill(bridge.pid, signal.SIGTERM)
        lab.until(lambda: not _accepts(bridge.address), "the end of listening")
        os.kill(bridge.pid, signal.SIGTERM)
        lab.until(lambda: exit_status(bridge) is not None, "the end")
        assert exit_status(bridge) == 0
    assert said(bridge.lines[-1:]) == ["stopped"]
    assert "drained" not in said(bridge.lines)
    assert writer_ends(bridge.audit_file) == ["requests and tunnels cut off: 1"]
    (record,) = bridge.audit()
    assert (record["status"], record["bytes_to_client"]) == (200, 10)
    assert record["note"]


def _accepts(address: tuple[str, int]) -> bool:
    try:
        socket.create_connection(address, 10).close()
    except ConnectionError:
        return False
    return True


@needs_signals
def test_a_tunnel_and_a_request_are_drained(
    lab: Lab, raw_site_system: RawSiteSystem, tmp_path: Path
) -> None:
    asked, go_on = threading.Event(), threading.Event()

    def script(peer: Peer) -> None:
        peer.read_head()
        asked.set()
        go_on.wait(10)
        peer.send(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")
        peer.wait_for_end()

    raw_site_system.behave(script, lab.pki.server("mp01.corp.example"))
    name = "mp-tunnel.internet.example"
    with (
        own_bridge(lab, tmp_path, raw_site_system) as bridge,
        lab.client(name=name, address=bridge.address) as tunneled,
        lab.connect(address=bridge.address) as connection,
    ):
        assert tunneled.request("GET", MP_LIST).status == 200
        connection.sendall(lab.request(target=POLICY))
        assert asked.wait(10)
        for number in (signal.SIGUSR1, signal.SIGUSR2, signal.SIGTERM):
            os.kill(bridge.pid, number)
        lab.until(lambda: not _accepts(bridge.address), "the end of listening")
        go_on.set()
        # The site system did not ask to close, nor did the client.
        response = lab.read_to_end(connection)
        assert b"\r\nConnection: close\r\n" in response
        assert response.endswith(b"\r\n\r\nok")
        assert tunneled.request("GET", MP_LIST).status == 200
        assert exit_status(bridge) is None
        tunneled.close()
        lab.until(lambda: exit_status(bridge) is not None, "the end")
        assert exit_status(bridge) == 0
    assert said(bridge.lines[-2:]) == ["drained", "stopped"]
    assert writer_ends(bridge.audit_file) == ["drained"]
    request, tunnel = bridge.audit()
    assert (request["status"], tunnel["event"]) == (200, "tunnel")


# pki, then run


def test_pki_and_run_with_the_shipped_policy_twice(
    run_command: Command, tmp_path: Path, lab: Lab
) -> None:
    made = run_command("pki", str(tmp_path))
    assert (made.returncode, made.stderr) == (0, "")
    assert f"Next: ibcm-bridge check --config {tmp_path / 'bridge.yaml'}" in made.stdout
    assert (tmp_path / "bridge.yaml").read_text("utf-8") == shipped_policy()
    for key in tmp_path.glob("pki/**/*.key"):
        assert key.stat().st_mode & 0o077 == 0

    files = {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}
    again = run_command("pki", str(tmp_path))
    assert again.returncode == 1
    (line,) = again.stderr.splitlines()
    assert "is not an empty directory" in line
    assert files == {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}

    # As shipped, except for the ports, which may be in use.
    (tmp_path / "bridge.yaml").write_text(on_free_ports(), "utf-8")
    _, port = address_of(tmp_path)
    command = [sys.executable, "-m", "ibcm_bridge", "run", "--config", "bridge.yaml"]
    for turn in (1, 2):
        with subprocess.Popen(command, cwd=tmp_path, stderr=subprocess.PIPE, text=True) as bridge:
            assert bridge.stderr is not None
            assert (
                ": fsp.internet.example: no encryption, no client authentication"
                in bridge.stderr.readline()
            )
            assert said([bridge.stderr.readline()]) == [f"listening on 127.0.0.1:{port}"]
            url = f"https://bridge.internet.example:{port}{MP_LIST}"
            curl = ["curl", "--silent", "--noproxy", "*", "--cacert", "pki/root.pem"]
            curl += ["--resolve", f"bridge.internet.example:{port}:127.0.0.1"]
            curl += ["--cert", "pki/clients/computer.pem", "--key", "pki/clients/computer.key"]
            response = subprocess.run(
                [*curl, url], cwd=tmp_path, capture_output=True, text=True, timeout=10, check=True
            )
            assert "The site system cannot be reached." in response.stdout
            bridge.send_signal(signal.SIGTERM)
            assert bridge.wait(10) == 0
            printed = bridge.stderr.read()
            assert "Traceback" not in printed
        # The second run appends to the audit of the first.
        records = map(json.loads, (tmp_path / "audit.jsonl").read_text("utf-8").splitlines())
        requests = [record for record in records if record["event"] == "request"]
        assert len(requests) == turn


def test_pki_does_not_change_a_policy(run_command: Command, tmp_path: Path) -> None:
    (tmp_path / "bridge.yaml").write_text("mine", "utf-8")
    assert run_command("pki", str(tmp_path)).returncode == 0
    assert (tmp_path / "bridge.yaml").read_text("utf-8") == "mine"


def test_a_pki_directory_that_is_a_file_is_reported(run_command: Command, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    run = run_command("pki", str(tmp_path / "file"))
    assert run.returncode == 1
    assert run.stderr.startswith("ibcm-bridge pki: ")
    check_no_traceback(run)


def test_the_lab_of_these_tests_works(lab: Lab, site_systems: SiteSystems) -> None:
    with lab.client() as client:
        assert client.request("GET", MP_LIST).status == 200
    assert len(site_systems.received()) == 1
    lab.records(1)
