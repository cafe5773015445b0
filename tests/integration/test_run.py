"""The command as an operator uses it: started, stopped, and told wrong things."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import yaml

from ibcm_bridge.lab.bridge.process import RunningBridge, free_ports
from ibcm_bridge.lab.pki.files import shipped_policy, with_ports
from ibcm_bridge.lab.site_systems.site_systems import SiteSystems
from ibcm_bridge.lab.site_systems.stand_ins import STAND_INS

if TYPE_CHECKING:
    from ibcm_bridge.lab.pki.authorities import LabPki
    from tests.integration.conftest import Lab, Peer, RawSiteSystem

    type Command = Callable[..., subprocess.CompletedProcess[str]]

MP_LIST = "/SMS_MP/.sms_aut?MPLIST"
POLICY = "/SMS_MP/.sms_pol?{LAB00001}.1_00"  # passed on as it comes
SIGNALS = [signal.SIGTERM, signal.SIGINT]
needs_signals = pytest.mark.skipif(os.name == "nt", reason="Windows has no such signals")
needs_permissions = pytest.mark.skipif(
    not hasattr(os, "geteuid") or os.geteuid() == 0, reason="root may read any file"
)


def check_no_traceback(run: subprocess.CompletedProcess[str]) -> None:
    assert "Traceback" not in run.stdout + run.stderr, run.stderr


@pytest.fixture(scope="module")
def written_pki(tmp_path_factory: pytest.TempPathFactory, pki: LabPki) -> Path:
    path = tmp_path_factory.mktemp("written") / "pki"
    pki.write(path)
    return path


@pytest.fixture
def directory(tmp_path: Path, written_pki: Path) -> Path:
    """A directory as `ibcm-bridge pki` leaves it: one port that is free, and what is on it."""
    shutil.copytree(written_pki, tmp_path / "pki")
    (tmp_path / "bridge.yaml").write_text(on_free_ports(), "utf-8")
    host, port = address_of(tmp_path)

    def first_only(policy: dict[str, Any]) -> None:
        every = policy["publications"]
        policy["publications"] = [one for one in every if one["listen"] == f"{host}:{port}"]

    change(tmp_path, first_only)
    return tmp_path


def on_free_ports() -> str:
    """The shipped policy, on ports that are free, in front of ports where nobody listens."""
    ports = (8443, 8531, 8080, *(one.port for one in STAND_INS.values()))
    policy = with_ports(shipped_policy(), dict(zip(ports, free_ports(len(ports)), strict=True)))
    return policy.replace("../audit.jsonl", "audit.jsonl")


def change(directory: Path, changed: Callable[[dict[str, Any]], None]) -> None:
    path = directory / "bridge.yaml"
    policy = yaml.safe_load(path.read_text("utf-8"))
    changed(policy)
    path.write_text(yaml.safe_dump(policy), "utf-8")


def address_of(directory: Path) -> tuple[str, int]:
    policy = yaml.safe_load((directory / "bridge.yaml").read_text("utf-8"))
    host, port = policy["publications"][0]["listen"].split(":")
    return host, int(port)


def run_policy(run_command: Command, directory: Path) -> subprocess.CompletedProcess[str]:
    return run_command("run", "--config", str(directory / "bridge.yaml"))


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
        # Neither a connection that is kept alive nor one that says nothing holds it up.
        lab.until(lambda: exit_status(bridge) is not None, "the end", seconds=3)
        assert exit_status(bridge) == 0
        assert lab.read_to_end(silent) == b""
        with pytest.raises(ConnectionRefusedError):
            socket.create_connection(bridge.address, 10)
    assert bridge.lines[-1] == "ibcm-bridge: stopped\n"
    (record,) = bridge.audit()
    assert record["verdict"] == "allow"


@needs_signals
@pytest.mark.parametrize("number", SIGNALS)
def test_a_download_under_way_is_finished_first(
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
def test_a_download_that_does_not_finish_is_cut_and_written_down(
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
        lab.until(lambda: exit_status(bridge) is not None, "the end", seconds=8)
        assert exit_status(bridge) == 0
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
def test_a_tunnel_does_not_hold_up_the_end(
    lab: Lab, raw_site_system: RawSiteSystem, tmp_path: Path
) -> None:
    name = "mp-tunnel.internet.example"
    with (
        own_bridge(lab, tmp_path) as bridge,
        lab.client(name=name, address=bridge.address) as client,
    ):
        assert client.request("GET", MP_LIST).status == 200
        os.kill(bridge.pid, signal.SIGTERM)
        lab.until(lambda: exit_status(bridge) is not None, "the end", seconds=8)
        assert exit_status(bridge) == 0
    (record,) = bridge.audit()
    assert record["event"] == "tunnel"
    assert record["bytes_to_client"] > 0


# Starting


def test_a_busy_port_is_said_in_a_sentence(run_command: Command, directory: Path) -> None:
    host, port = address_of(directory)
    with socket.create_server((host, port)):
        run = run_policy(run_command, directory)
    assert run.returncode == 1
    do = "end what uses it, or listen on another port"
    assert run.stderr == f"ibcm-bridge: cannot start: {host}:{port} is already in use; {do}\n"
    assert run.stdout == ""


def test_an_address_that_is_not_ours_is_said_in_a_sentence(
    run_command: Command, directory: Path
) -> None:
    def elsewhere(policy: dict[str, Any]) -> None:
        for publication in policy["publications"]:
            publication["listen"] = "192.0.2.1:8443"

    change(directory, elsewhere)
    run = run_policy(run_command, directory)
    assert run.returncode == 1
    why = "192.0.2.1:8443: 192.0.2.1 is no address of this machine; listen on one that is"
    assert run.stderr == f"ibcm-bridge: cannot start: {why}\n"


def test_all_problems_of_a_policy_are_said_at_once(run_command: Command, directory: Path) -> None:
    def spoil(policy: dict[str, Any]) -> None:
        bridged, tunneled, *_ = policy["publications"]
        bridged["unlisted_headers"] = "pass"
        bridged["roles"]["management-point"]["site_system"] = "http://mp01.corp.example"
        bridged["colour"] = "green"
        del tunneled["site_system"]
        policy["version"] = 2

    change(directory, spoil)
    run = run_policy(run_command, directory)
    assert run.returncode == 1
    lines = run.stderr.splitlines()
    assert lines[-1] == "5 problems; nothing was started"
    for where in (
        "publications.0.unlisted_headers",
        "publications.0.roles.management-point.site_system",
        "publications.0.colour: no such key here",
        "publications.1.site_system: this key is missing",
        "version",
    ):
        (line,) = (one for one in lines if f": {where}" in one)
        # Each with its file and line.
        assert line.startswith(f"{directory / 'bridge.yaml'}:")
    check_no_traceback(run)
    assert not (directory / "audit.jsonl").exists()


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "bridge.yaml:1: "),
        ("a: [", "not YAML"),
        ("version: 1\nversion: 1\n", "stands twice"),
        ("- 1\n", "bridge.yaml:1: "),
        ("\x00", "bridge.yaml:1: "),
    ],
)
def test_what_is_no_policy_is_said_so(
    run_command: Command, directory: Path, text: str, said: str
) -> None:
    (directory / "bridge.yaml").write_text(text, "utf-8")
    run = run_policy(run_command, directory)
    assert run.returncode == 1
    assert said in run.stderr
    assert run.stderr.endswith("; nothing was started\n")
    check_no_traceback(run)


def test_http_site_systems_are_refused_in_the_policy(run_command: Command, directory: Path) -> None:
    def plain(policy: dict[str, Any]) -> None:
        role = policy["publications"][0]["roles"]["management-point"]
        role["site_system"] = "http://mp01.corp.example"

    change(directory, plain)
    run = run_policy(run_command, directory)
    assert run.returncode == 1
    assert run.stderr.endswith("1 problem; nothing was started\n")


def test_a_policy_that_is_not_there_is_said_so(run_command: Command, tmp_path: Path) -> None:
    run = run_policy(run_command, tmp_path)
    assert run.returncode == 1
    assert "bridge.yaml: cannot be read: No such file or directory" in run.stderr
    check_no_traceback(run)


KEY = "publications.0.certificate.key"


@pytest.mark.parametrize(
    ("case", "said"),
    [
        ("missing", "cannot be read: No such file or directory"),
        ("a-directory", "cannot be read: Is a directory"),
        ("empty", "is not a PEM private key"),
        ("nonsense", "is not a PEM private key"),
        ("anothers", "is not the key of pki/bridge-server.pem"),
        pytest.param("forbidden", "cannot be read: Permission denied", marks=needs_permissions),
    ],
)
def test_a_key_that_cannot_be_used_is_said_so(
    run_command: Command, directory: Path, case: str, said: str
) -> None:
    key = directory / "pki" / "bridge-server.key"
    secret = key.read_text("ascii")
    if case == "forbidden":
        key.chmod(0)
    else:
        key.unlink()
    if case == "a-directory":
        key.mkdir()
    elif case == "empty":
        key.touch()
    elif case == "nonsense":
        key.write_text(secret[:100], "ascii")
    elif case == "anothers":
        key.write_bytes((directory / "pki" / "bridge-client.key").read_bytes())
    run = run_policy(run_command, directory)
    assert run.returncode == 1
    line, end = run.stderr.splitlines()
    assert f": {KEY}: " in line
    assert line.endswith(said)
    assert end == "1 problem; nothing was started"
    assert secret[40:80] not in run.stderr


def test_a_missing_revocation_list_is_said_so(run_command: Command, directory: Path) -> None:
    def without(policy: dict[str, Any]) -> None:
        policy["publications"][0]["clients"]["trust"]["crls"] = ["pki/root.crl"]

    change(directory, without)
    run = run_policy(run_command, directory)
    assert run.returncode == 1
    assert "no revocation list of CN=Lab Issuing CA" in run.stderr


def test_an_audit_file_that_cannot_be_written_is_said_so(
    run_command: Command, directory: Path
) -> None:
    change(directory, lambda policy: policy.update(audit={"file": "nowhere/audit.jsonl"}))
    run = run_policy(run_command, directory)
    assert run.returncode == 1
    assert "audit.file: there is no folder " in run.stderr
    assert run.stderr.endswith("1 problem; nothing was started\n")
    check_no_traceback(run)


def test_rules_that_do_not_compile_are_said_so(run_command: Command, directory: Path) -> None:
    (directory / "bad.yar").write_text("rule bad { condition: nonsense }", "utf-8")
    change(directory, lambda policy: policy.update(rules=["bad.yar"]))
    run = run_policy(run_command, directory)
    assert run.returncode == 1
    assert "bad.yar" in run.stderr
    check_no_traceback(run)


def test_rules_that_are_no_text_are_said_so(run_command: Command, directory: Path) -> None:
    (directory / "bad.yar").write_bytes(b"\xff\xfe\xfd")
    change(directory, lambda policy: policy.update(rules=["bad.yar"]))
    run = run_policy(run_command, directory)
    assert run.returncode == 1
    assert "bad.yar" in run.stderr
    check_no_traceback(run)


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
    assert "the lab overwrites nothing" in line
    assert files == {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}

    # As shipped, but for the ports, which may be in use here.
    (tmp_path / "bridge.yaml").write_text(on_free_ports(), "utf-8")
    _, port = address_of(tmp_path)
    command = [sys.executable, "-m", "ibcm_bridge", "run", "--config", "bridge.yaml"]
    for turn in (1, 2):
        with subprocess.Popen(command, cwd=tmp_path, stderr=subprocess.PIPE, text=True) as bridge:
            assert bridge.stderr is not None
            assert ": fsp.internet.example: nothing is encrypted" in bridge.stderr.readline()
            assert bridge.stderr.readline() == f"ibcm-bridge: listening on 127.0.0.1:{port}\n"
            url = f"https://bridge.internet.example:{port}{MP_LIST}"
            curl = ["curl", "--silent", "--noproxy", "*", "--cacert", "pki/root.pem"]
            curl += ["--resolve", f"bridge.internet.example:{port}:127.0.0.1"]
            curl += ["--cert", "pki/clients/computer.pem", "--key", "pki/clients/computer.key"]
            answer = subprocess.run(
                [*curl, url], cwd=tmp_path, capture_output=True, text=True, timeout=10, check=True
            )
            assert "The site system cannot be reached." in answer.stdout
            bridge.send_signal(signal.SIGTERM)
            assert bridge.wait(10) == 0
            said = bridge.stderr.read()
            assert "Traceback" not in said
        # The second run goes on where the first has ended.
        assert len((tmp_path / "audit.jsonl").read_text("utf-8").splitlines()) == turn


def test_pki_leaves_a_policy_alone(run_command: Command, tmp_path: Path) -> None:
    (tmp_path / "bridge.yaml").write_text("mine", "utf-8")
    assert run_command("pki", str(tmp_path)).returncode == 0
    assert (tmp_path / "bridge.yaml").read_text("utf-8") == "mine"


def test_pki_in_a_file_is_said_so(run_command: Command, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    run = run_command("pki", str(tmp_path / "file"))
    assert run.returncode == 1
    assert run.stderr.startswith("ibcm-bridge pki: ")
    check_no_traceback(run)


# Help and usage


@pytest.mark.parametrize("command", [(), ("run",), ("pki",), ("demo",)])
def test_each_command_has_help(run_command: Command, command: tuple[str, ...]) -> None:
    run = run_command(*command, "--help")
    assert (run.returncode, run.stderr) == (0, "")
    assert run.stdout.startswith(" ".join(("usage: ibcm-bridge", *command)))


def test_the_version_is_told(run_command: Command) -> None:
    run = run_command("--version")
    assert run.returncode == 0
    assert run.stdout.startswith("ibcm-bridge ")


@pytest.mark.parametrize("arguments", [(), ("run",), ("pki",), ("fly",), ("run", "--fast")])
def test_wrong_usage_is_explained(run_command: Command, arguments: tuple[str, ...]) -> None:
    run = run_command(*arguments)
    assert run.returncode == 2
    assert "usage: ibcm-bridge" in run.stdout + run.stderr
    check_no_traceback(run)


# With the audit on standard output, as in a container


@needs_signals
def test_without_a_file_the_audit_goes_to_standard_output(directory: Path, lab: Lab) -> None:
    change(directory, lambda policy: policy.pop("audit"))
    command = [sys.executable, "-m", "ibcm_bridge", "run", "--config", "bridge.yaml"]
    with subprocess.Popen(
        command, cwd=directory, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as bridge:
        assert bridge.stdout is not None
        assert bridge.stderr is not None
        assert "listening on" in bridge.stderr.readline()
        with socket.create_connection(address_of(directory), 10) as connection:
            connection.sendall(b"GET / HTTP/1.0\r\n\r\n")
            lab.read_to_end(connection)
        assert '"reason":"plaintext"' in bridge.stdout.readline()
        bridge.send_signal(signal.SIGTERM)
        assert bridge.wait(10) == 0
        assert "Traceback" not in bridge.stderr.read()


def test_the_lab_of_these_tests_is_a_bridge_like_any_other(
    lab: Lab, site_systems: SiteSystems
) -> None:
    with lab.client() as client:
        assert client.request("GET", MP_LIST).status == 200
    assert len(site_systems.received()) == 1
    lab.records(1)
