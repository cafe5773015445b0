"""The start of `run`: each problem is one sentence. Help, usage, audit on standard output."""

from __future__ import annotations

import shutil
import signal
import socket
import subprocess
import sys
from collections.abc import Callable
from itertools import islice
from pathlib import Path
from typing import Any

import pytest
import yaml

from ibcm_bridge.lab.pki.authorities import LabPki
from tests.integration.commands import (
    Command,
    address_of,
    check_no_traceback,
    needs_permissions,
    needs_signals,
    on_free_ports,
)
from tests.integration.lab import Lab


@pytest.fixture(scope="module")
def written_pki(tmp_path_factory: pytest.TempPathFactory, pki: LabPki) -> Path:
    path = tmp_path_factory.mktemp("written") / "pki"
    pki.write(path)
    return path


@pytest.fixture
def directory(tmp_path: Path, written_pki: Path) -> Path:
    """A directory as `ibcm-bridge pki` creates it, with the publications of one free port."""
    shutil.copytree(written_pki, tmp_path / "pki")
    (tmp_path / "bridge.yaml").write_text(on_free_ports(), "utf-8")
    host, port = address_of(tmp_path)

    def first_only(policy: dict[str, Any]) -> None:
        every = policy["publications"]
        policy["publications"] = [entry for entry in every if entry["listen"] == f"{host}:{port}"]

    change(tmp_path, first_only)
    return tmp_path


def change(directory: Path, changed: Callable[[dict[str, Any]], None]) -> None:
    path = directory / "bridge.yaml"
    policy = yaml.safe_load(path.read_text("utf-8"))
    changed(policy)
    path.write_text(yaml.safe_dump(policy), "utf-8")


def run_policy(run_command: Command, directory: Path) -> subprocess.CompletedProcess[str]:
    return run_command("run", "--config", str(directory / "bridge.yaml"))


# Starting


def test_a_busy_port_is_reported_in_a_sentence(run_command: Command, directory: Path) -> None:
    host, port = address_of(directory)
    with socket.create_server((host, port)):
        run = run_policy(run_command, directory)
    assert run.returncode == 1
    do = "stop the other program, or listen on another port"
    assert run.stderr == f"ibcm-bridge: cannot start: {host}:{port} is already in use; {do}\n"
    assert run.stdout == ""


def test_an_address_of_another_machine_is_reported_in_a_sentence(
    run_command: Command, directory: Path
) -> None:
    def elsewhere(policy: dict[str, Any]) -> None:
        for publication in policy["publications"]:
            publication["listen"] = "192.0.2.1:8443"

    change(directory, elsewhere)
    run = run_policy(run_command, directory)
    assert run.returncode == 1
    why = "192.0.2.1:8443: 192.0.2.1 is not an address of this machine; listen on a local address"
    assert run.stderr == f"ibcm-bridge: cannot start: {why}\n"


def test_all_problems_of_a_policy_are_reported_at_once(
    run_command: Command, directory: Path
) -> None:
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
    assert lines[-1] == "5 problems; the policy was not loaded"
    for where in (
        "publications.0.unlisted_headers",
        "publications.0.roles.management-point.site_system",
        "publications.0.colour: unknown key",
        "publications.1.site_system: this key is missing",
        "version",
    ):
        (line,) = (line for line in lines if f": {where}" in line)
        # Each problem has its file and line.
        assert line.startswith(f"{directory / 'bridge.yaml'}:")
    check_no_traceback(run)
    assert not (directory / "audit.jsonl").exists()


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "bridge.yaml:1: "),
        ("a: [", "not YAML"),
        ("version: 1\nversion: 1\n", "duplicate key"),
        ("- 1\n", "bridge.yaml:1: "),
        ("\x00", "bridge.yaml:1: "),
    ],
)
def test_a_file_that_is_not_a_policy_is_reported(
    run_command: Command, directory: Path, text: str, message: str
) -> None:
    (directory / "bridge.yaml").write_text(text, "utf-8")
    run = run_policy(run_command, directory)
    assert run.returncode == 1
    assert message in run.stderr
    assert run.stderr.endswith("; the policy was not loaded\n")
    check_no_traceback(run)


def test_http_site_systems_are_refused_in_the_policy(run_command: Command, directory: Path) -> None:
    def plain(policy: dict[str, Any]) -> None:
        role = policy["publications"][0]["roles"]["management-point"]
        role["site_system"] = "http://mp01.corp.example"

    change(directory, plain)
    run = run_policy(run_command, directory)
    assert run.returncode == 1
    assert run.stderr.endswith("1 problem; the policy was not loaded\n")


def test_a_missing_policy_is_reported(run_command: Command, tmp_path: Path) -> None:
    run = run_policy(run_command, tmp_path)
    assert run.returncode == 1
    assert "bridge.yaml: cannot be read: No such file or directory" in run.stderr
    check_no_traceback(run)


KEY = "publications.0.certificate.key"


@pytest.mark.parametrize(
    ("case", "message"),
    [
        ("missing", "cannot be read: No such file or directory"),
        ("a-directory", "cannot be read: Is a directory"),
        ("empty", "is not a PEM private key"),
        ("nonsense", "is not a PEM private key"),
        ("anothers", "does not match the certificate in pki/bridge-server.pem"),
        pytest.param("forbidden", "cannot be read: Permission denied", marks=needs_permissions),
    ],
)
def test_a_key_that_cannot_be_used_is_reported(
    run_command: Command, directory: Path, case: str, message: str
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
    assert line.endswith(message)
    assert end == "1 problem; the policy was not loaded"
    assert secret[40:80] not in run.stderr


def test_a_missing_revocation_list_is_reported(run_command: Command, directory: Path) -> None:
    def without(policy: dict[str, Any]) -> None:
        policy["publications"][0]["clients"]["trust"]["crls"] = ["pki/root.crl"]

    change(directory, without)
    run = run_policy(run_command, directory)
    assert run.returncode == 1
    assert "no revocation list of CN=Lab Issuing CA" in run.stderr


def test_an_audit_file_that_cannot_be_written_is_reported(
    run_command: Command, directory: Path
) -> None:
    change(directory, lambda policy: policy.update(audit={"file": "nowhere/audit.jsonl"}))
    run = run_policy(run_command, directory)
    assert run.returncode == 1
    assert "audit.file: there is no folder " in run.stderr
    assert run.stderr.endswith("1 problem; the policy was not loaded\n")
    check_no_traceback(run)


def test_rules_that_do_not_compile_are_reported(run_command: Command, directory: Path) -> None:
    (directory / "bad.yar").write_text("rule bad { condition: nonsense }", "utf-8")
    change(directory, lambda policy: policy.update(rules=["bad.yar"]))
    run = run_policy(run_command, directory)
    assert run.returncode == 1
    assert "bad.yar" in run.stderr
    check_no_traceback(run)


def test_rules_that_are_not_text_are_reported(run_command: Command, directory: Path) -> None:
    (directory / "bad.yar").write_bytes(b"\xff\xfe\xfd")
    change(directory, lambda policy: policy.update(rules=["bad.yar"]))
    run = run_policy(run_command, directory)
    assert run.returncode == 1
    assert "bad.yar" in run.stderr
    check_no_traceback(run)


# Help and usage


@pytest.mark.parametrize("command", [(), ("run",), ("pki",), ("demo",)])
def test_each_command_has_help(run_command: Command, command: tuple[str, ...]) -> None:
    run = run_command(*command, "--help")
    assert (run.returncode, run.stderr) == (0, "")
    assert run.stdout.startswith(" ".join(("usage: ibcm-bridge", *command)))


def test_the_version_is_printed(run_command: Command) -> None:
    run = run_command("--version")
    assert run.returncode == 0
    assert run.stdout.startswith("ibcm-bridge ")


@pytest.mark.parametrize("arguments", [(), ("run",), ("pki",), ("fly",), ("run", "--fast")])
def test_wrong_usage_prints_the_usage(run_command: Command, arguments: tuple[str, ...]) -> None:
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
        # Before it, each process records its start.
        refused = any('"reason":"plaintext"' in line for line in islice(bridge.stdout, 10))
        bridge.send_signal(signal.SIGTERM)
        assert bridge.wait(10) == 0
        assert refused
        assert "Traceback" not in bridge.stderr.read()
