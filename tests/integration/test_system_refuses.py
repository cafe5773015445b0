"""What the operating system refuses is told in one sentence, with what to do about it."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import IO

import pytest

from ibcm_bridge.lab.bridge.process import free_port
from tests.little_room import AS_ANYBODY, AS_ROOT, ON_UNIX, WITHOUT_LOW_PORTS, on_a_disk

COMMAND = [sys.executable, "-m", "ibcm_bridge"]


def said(
    *arguments: str | Path,
    before: Sequence[str] = (),
    stdout: int | IO[str] = subprocess.PIPE,
    **environment: str | Path,
) -> str:
    """The one line that a command prints to standard error, before it ends with status 1."""
    done = subprocess.run(
        [*before, *COMMAND, *map(str, arguments)],
        stdout=stdout,
        stderr=subprocess.PIPE,
        text=True,
        timeout=120,
        check=False,
        env={**os.environ, **{name: str(value) for name, value in environment.items()}},
    )
    assert done.returncode == 1, (done.stdout, done.stderr)
    (line,) = done.stderr.splitlines()
    return line


def policy(folder: Path, more: str = "", address: str = "") -> Path:
    """A policy that has a tunnel and nothing else."""
    path = folder / "policy.yaml"
    path.write_text(
        f"""version: 1
{more}
publications:
  - name: mp.internet.example
    mode: tunnel
    listen: {address or f"127.0.0.1:{free_port()}"}
    site_system: 127.0.0.1:9443
    roles: [management-point]
""",
        "utf-8",
    )
    return path


# Disks


@AS_ROOT
def test_the_demo_reports_a_full_disk(tmp_path: Path) -> None:
    line = said("demo", before=on_a_disk(tmp_path, "size=64k"), TMPDIR=tmp_path)
    assert line == (
        f"ibcm-bridge demo: {tmp_path} cannot be written: the disk is full; free some space, or "
        "set TMPDIR to another folder"
    )


@AS_ROOT
def test_the_demo_reports_a_read_only_disk(tmp_path: Path) -> None:
    report = tmp_path / "report"
    assert said("demo", "--report", report, before=on_a_disk(tmp_path, "ro")) == (
        f"ibcm-bridge demo: the report in {report} cannot be written: the file system is "
        "read-only; choose another folder: --report DIR"
    )


@AS_ROOT
@pytest.mark.parametrize(
    ("options", "why"),
    [
        ("ro", "the file system is read-only; "),
        ("size=64k", "the disk is full; free some space, or "),
    ],
)
def test_pki_reports_a_read_only_or_full_disk(tmp_path: Path, options: str, why: str) -> None:
    folder = tmp_path / "lab"
    line = said("pki", folder, before=on_a_disk(tmp_path, options))
    assert line == f"ibcm-bridge pki: {folder} cannot be written: {why}name another DIR"


@AS_ROOT
@pytest.mark.parametrize(
    ("options", "place", "why"),
    [
        ("ro", "ibcm-bridge", "the file system is read-only; "),
        ("size=64k", "", "the disk is full; free some space, or "),
    ],
)
def test_lab_up_reports_a_read_only_or_full_disk(
    tmp_path: Path, options: str, place: str, why: str
) -> None:
    before = on_a_disk(tmp_path, options)
    line = said("lab", "up", "--no-browser", before=before, XDG_RUNTIME_DIR=tmp_path)
    place = str(tmp_path / place)
    assert line == (
        f"ibcm-bridge lab: {place} cannot be written: {why}set XDG_RUNTIME_DIR to another folder"
    )


@AS_ROOT
@pytest.mark.parametrize("command", ["client", "down"])
def test_lab_client_and_down_report_a_read_only_disk(tmp_path: Path, command: str) -> None:
    line = said("lab", command, before=on_a_disk(tmp_path, "ro"), XDG_RUNTIME_DIR=tmp_path)
    assert line.startswith(f"ibcm-bridge lab: {tmp_path / 'ibcm-bridge'} cannot be written: ")
    assert line.endswith("; set XDG_RUNTIME_DIR to another folder")


@AS_ROOT
def test_run_reports_a_full_disk_for_the_upload_spool(tmp_path: Path) -> None:
    disk = tmp_path / "disk"
    disk.mkdir()
    path = policy(tmp_path)
    # A file fits, and the spool does not.
    line = said("run", "--config", path, before=on_a_disk(disk, "size=8k"), TMPDIR=disk)
    assert line.startswith(f"ibcm-bridge: cannot start: {disk}")
    assert "the disk is full; free some space" in line


# Standard output

NOT_PRINTED = "ibcm-bridge: standard output cannot be written: the disk is full; free some space, "


@ON_UNIX
@pytest.mark.parametrize("arguments", [["demo"], ["lab", "down", "--json"], ["check"]])
def test_output_to_a_full_disk_is_reported(tmp_path: Path, arguments: list[str]) -> None:
    if arguments == ["check"]:
        arguments = ["check", "--config", str(policy(tmp_path))]
    # At once, or at the end: that of `lab down` is one line.
    with Path("/dev/full").open("w") as full:
        line = said(*arguments, stdout=full, XDG_RUNTIME_DIR=tmp_path)
    assert line == NOT_PRINTED + "or redirect it elsewhere"


@ON_UNIX
def test_a_closed_pipe_causes_no_traceback(tmp_path: Path) -> None:
    reading, writing = os.pipe()
    os.close(reading)
    done = subprocess.run(
        [*COMMAND, "lab", "down"],
        stdout=writing,
        stderr=subprocess.PIPE,
        check=False,
        env={**os.environ, "XDG_RUNTIME_DIR": str(tmp_path)},
    )
    os.close(writing)
    assert (done.returncode, done.stderr) == (1, b"")


@ON_UNIX
def test_a_closed_standard_output_is_reported_for_the_audit(tmp_path: Path) -> None:
    closed = ["sh", "-c", 'exec "$@" >&-', "sh"]
    line = said("run", "--config", policy(tmp_path), before=closed)
    assert line == (
        "ibcm-bridge: cannot start: the audit on standard output cannot be written: standard "
        "output is closed; name another file in audit.file"
    )


# Permissions


@ON_UNIX
def test_an_audit_without_write_permission_is_reported(tmp_path: Path) -> None:
    folder, temporary = tmp_path / "kept", tmp_path / "temporary"
    folder.mkdir(mode=0o500)
    temporary.mkdir()
    path = policy(tmp_path, "audit: {file: kept/audit.jsonl}")
    line = said("run", "--config", path, before=AS_ANYBODY, TMPDIR=temporary)
    assert line == (
        f"ibcm-bridge: cannot start: {folder / 'audit.jsonl'} cannot be written: permission "
        "denied; grant write access to this user, or name another file in audit.file"
    )
    assert [*temporary.iterdir()] == []  # nothing is left of the spool of uploads


@ON_UNIX
@pytest.mark.parametrize(
    ("arguments", "who", "why"),
    [
        (["run"], "ibcm-bridge: cannot start", "be created: Permission denied; its folder must "),
        (
            ["identity", "list"],
            "ibcm-bridge identity",
            "be opened: Permission denied; run this as ",
        ),
    ],
)
def test_bindings_without_folder_permission_are_reported(
    tmp_path: Path, arguments: list[str], who: str, why: str
) -> None:
    folder = tmp_path / "kept"
    folder.mkdir(mode=0o000)
    path = policy(tmp_path, "messages: {bindings: kept/bindings.sqlite}")
    line = said(*arguments, "--config", path, before=AS_ANYBODY)
    assert line.startswith(f"{who}: {folder / 'bindings.sqlite'} cannot {why}")
    checked = subprocess.run(
        [*AS_ANYBODY, *COMMAND, "check", "--config", path],
        capture_output=True,
        text=True,
        check=False,
    )
    assert checked.returncode == 1
    assert "bindings.sqlite: its folder is not writable" in checked.stdout
    assert checked.stderr == ""


@ON_UNIX
def test_policy_files_without_folder_permission_are_reported(tmp_path: Path) -> None:
    assert subprocess.run([*COMMAND, "pki", str(tmp_path)], check=False).returncode == 0
    (tmp_path / "pki").chmod(0o000)
    done = subprocess.run(
        [*AS_ANYBODY, *COMMAND, "check", "--config", str(tmp_path / "bridge.yaml")],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 1
    *problems, last = done.stderr.splitlines()
    assert any("pki/root.crl cannot be read: Permission denied" in problem for problem in problems)
    assert all("cannot be read: Permission denied" in problem for problem in problems)
    assert last == f"{len(problems)} problems; the policy was not loaded"


# Ports


@AS_ROOT
def test_a_port_that_requires_a_capability_is_reported(tmp_path: Path) -> None:
    path = policy(tmp_path, address="0.0.0.0:443")
    assert said("run", "--config", path, before=WITHOUT_LOW_PORTS) == (
        "ibcm-bridge: cannot start: cannot listen on 0.0.0.0:443: permission denied; grant "
        "CAP_NET_BIND_SERVICE, or listen on 8443 and forward 443 to it"
    )


@AS_ROOT
def test_a_privileged_port_of_a_part_of_the_lab_is_reported() -> None:
    line = said("lab", "part", "microsoft-update", "--address", "0.0.0.0", before=WITHOUT_LOW_PORTS)
    assert line == (
        "ibcm-bridge lab: cannot listen on 0.0.0.0:80: permission denied; grant "
        "CAP_NET_BIND_SERVICE, or listen on 8443 and forward 80 to it"
    )


@AS_ROOT
@pytest.mark.needs("ip")
def test_a_privileged_port_of_the_lab_is_reported(tmp_path: Path) -> None:
    up = ["sh", "-c", 'ip link set lo up && exec "$@"', "up"]
    line = said(
        *("lab", "up", "--no-browser", "--listen", "127.0.0.1:443"),
        before=[*WITHOUT_LOW_PORTS[:2], *up, *WITHOUT_LOW_PORTS[2:]],
        XDG_RUNTIME_DIR=tmp_path,
    )
    assert line == (
        "ibcm-bridge lab: cannot listen on 127.0.0.1:443: permission denied; grant "
        "CAP_NET_BIND_SERVICE, or listen on 8443 and forward 443 to it"
    )
