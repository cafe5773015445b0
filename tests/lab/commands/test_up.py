"""`lab up` and `lab down` as processes: how they stop, their files, and their messages."""

from __future__ import annotations

import errno
import json
import os
import re
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from ibcm_bridge.commands.main import main
from ibcm_bridge.lab.bridge.process import Listen, free_ports
from ibcm_bridge.lab.cases.table import CASES
from ibcm_bridge.lab.commands import up
from ibcm_bridge.lab.errors import LabError
from ibcm_bridge.lab.perimeter.perimeter import Perimeter
from ibcm_bridge.lab.perimeter.runtime import AlreadyRunning, Runtime, runtime_folder

pytestmark = pytest.mark.skipif(os.name != "posix", reason="signals, and /proc")


@pytest.fixture(autouse=True)
def runtime(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A separate runtime folder for each test."""
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path))
    return tmp_path / "ibcm-bridge"


class Started:
    """A running lab."""

    def __init__(self, *options: str) -> None:
        self.process = subprocess.Popen(
            [sys.executable, "-m", "ibcm_bridge", "lab", "up", *options],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        assert self.process.stdout is not None
        self.first = self.process.stdout.readline().rstrip("\n")

    def ended(self) -> tuple[int, str, str]:
        """Wait for the end; return the exit status and the rest of the output."""
        assert self.process.stdout is not None
        # communicate() does not return the data in the buffer of readline().
        out = self.process.stdout.read()
        _, err = self.process.communicate(timeout=40)
        return self.process.returncode, out, err


@pytest.fixture
def lab() -> Iterator[Started]:
    started = Started()
    yield started
    if started.process.poll() is None:
        started.process.kill()
        started.process.communicate()


def children(pid: int) -> list[int]:
    text = Path(f"/proc/{pid}/task/{pid}/children").read_text("ascii")
    found = [int(pid) for pid in text.split()]
    return [*found, *(grandchild for child in found for grandchild in children(child))]


def gone(pids: list[int]) -> bool:
    """Wait until the processes have ended; return whether they have."""
    deadline = time.monotonic() + 20
    while any(alive(pid) for pid in pids) and time.monotonic() < deadline:
        time.sleep(0.05)
    return not any(alive(pid) for pid in pids)


def alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(") ")[2][0] != "Z"
    except OSError:
        return False


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_a_signal_stops_it_and_removes_its_files(
    lab: Started, runtime: Path, number: signal.Signals
) -> None:
    started = children(lab.process.pid)
    assert started
    lab.process.send_signal(number)
    status, out, err = lab.ended()
    assert (status, err) == (0, "ibcm-bridge lab: the lab has stopped.\n")
    assert gone(started)
    assert [file.name for file in runtime.iterdir()] == ["lock"]
    # First the address of the page, then names, files and command lines.
    assert lab.first.startswith("http://127.0.0.1:")
    for text in ("bridge.internet.example", "pki/root.pem", "curl ", "--resolve", "Ctrl-C"):
        assert text in out


def test_no_part_of_a_scene_runs_before_the_scene(lab: Started, runtime: Path) -> None:
    """So a lab with scenes starts as fast as one without them."""
    state = Runtime(runtime_folder()).read()
    assert len(state["on_demand"]) == 3, "a second site, and a secondary one"
    for address, port in state["on_demand"].values():
        with pytest.raises(ConnectionRefusedError):
            socket.create_connection((address, port))
    assert not (runtime / "lab" / "domain").exists()
    commands = [
        Path(f"/proc/{pid}/cmdline").read_text().split("\0") for pid in children(lab.process.pid)
    ]
    modules = {command[command.index("-m") + 1] for command in commands}
    # The bridge starts its inspection process when it has served a request.
    inspection = "ibcm_bridge.addons.engines.inspection_worker"
    assert modules - {inspection} == {"ibcm_bridge.commands.child_process"}
    lab.process.send_signal(signal.SIGINT)
    lab.ended()


def test_a_scene_whose_lab_stops_says_so(lab: Started, runtime: Path) -> None:
    command = [sys.executable, "-m", "ibcm_bridge", "lab", "client", "--scene", "pick"]
    scene = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    assert scene.stdout is not None
    while "registration" not in scene.stdout.readline():
        assert scene.poll() is None
    # As SIGKILL does, so that the other clients of the scene find nobody.
    lab.process.kill()
    lab.process.communicate()
    out, err = scene.communicate(timeout=60)
    assert scene.returncode == 1
    assert "There were failures." in out
    assert err == (
        "ibcm-bridge lab: the lab has stopped in the meantime; start it again with: "
        "ibcm-bridge lab up\n"
    )
    assert main(["lab", "down"]) == 0


def test_a_signal_during_the_start_removes_its_files(runtime: Path) -> None:
    process = subprocess.Popen(
        [sys.executable, "-m", "ibcm_bridge", "lab", "up"],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    deadline = time.monotonic() + 20
    while not (runtime / "lab" / "pki").exists() and time.monotonic() < deadline:
        time.sleep(0.01)
    process.send_signal(signal.SIGTERM)
    process.wait(40)
    assert [file.name for file in runtime.iterdir()] == ["lock"]


def test_down_stops_it(lab: Started, runtime: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["lab", "down"]) == 0
    assert capsys.readouterr().out == "The lab has stopped.\n"
    assert lab.ended()[0] == 0
    assert [file.name for file in runtime.iterdir()] == ["lock"]


def test_after_a_crash_the_bridge_stops_and_down_removes_the_files(
    lab: Started, runtime: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    started = children(lab.process.pid)
    lab.process.kill()
    lab.process.communicate()
    assert gone(started)
    assert (runtime / "lab").exists()
    assert main(["lab", "down", "--json"]) == 0
    assert json.loads(capsys.readouterr().out) == {"lab": "cleaned"}
    assert [file.name for file in runtime.iterdir()] == ["lock"]
    assert main(["lab", "down"]) == 0
    assert capsys.readouterr().out == "No lab was running.\n"


def test_a_second_lab_is_refused(lab: Started, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["lab", "up", "--no-browser"]) == 1
    printed = capsys.readouterr()
    assert printed.out == ""
    assert printed.err == (
        f"ibcm-bridge lab: a lab is already running at {lab.first}; "
        "to stop it: ibcm-bridge lab down\n"
    )


# Error messages


def test_a_port_in_use_is_named(runtime: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        assert main(["lab", "up", "--no-browser", "--listen", f"127.0.0.1:{port}"]) == 1
    message = capsys.readouterr().err
    assert str(port) in message
    assert "stop the program that uses it, or use --listen ADDRESS:PORT" in message
    assert len(message.splitlines()) == 1
    assert [file.name for file in runtime.iterdir()] == ["lock"]


RIGHT = "grant CAP_NET_BIND_SERVICE, or listen on 8443 and forward 443 to it"
FULL = ": the disk is full; free some space, or set XDG_RUNTIME_DIR to another folder"


@pytest.mark.parametrize(
    ("why", "message"),
    [
        ("127.0.0.1:443 is already in use", "stop the program that uses it, or use --listen"),
        (
            "127.0.0.1:8531 is already in use",
            "stop the program that uses it: only the TLS port can be changed",
        ),
        (
            "192.0.2.1:1: 192.0.2.1 is not an address of this machine; x",
            "use an address of this machine",
        ),
        (f"cannot listen on x:443: permission denied; {RIGHT}", RIGHT),
        ("/x/a.jsonl cannot be written: the disk is full; name another file in audit.file", FULL),
        ("/x/u.sqlite cannot grow: the disk is full; free some space", FULL),
        ("a certificate is missing", "a certificate is missing; correct this, or omit --listen"),
    ],
)
def test_a_failed_start_is_reported_with_a_solution(why: str, message: str) -> None:
    text = f"the bridge did not start:\nibcm-bridge: cannot start: {why}\n"
    assert message in up._error_message(RuntimeError(text))


@pytest.mark.parametrize("text", ["nowhere.example", "127.0.0.1:0", "127.0.0.1:70000", "", "[::1"])
def test_listen_must_be_an_address(text: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["lab", "up", "--listen", text]) == 1
    assert "is not an IP address; use --listen" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("text", "written", "port", "reached"),
    [
        ("192.0.2.1", "192.0.2.1", 8443, "192.0.2.1"),
        ("0.0.0.0:443", "0.0.0.0", 443, "127.0.0.1"),
        ("::", "[::]", 8443, "::1"),
        ("[2001:db8::1]:443", "[2001:db8::1]", 443, "2001:db8::1"),
    ],
)
def test_listen_is_parsed(text: str, written: str, port: int, reached: str) -> None:
    listen = Listen.read(text)
    assert (listen.written, listen.ports[0], listen.reached_at) == (written, port, reached)


def test_only_the_bridge_listens_on_the_given_address(tmp_path: Path) -> None:
    ports = free_ports(3)
    listen = Listen(Listen.read("127.0.0.2").address, (ports[0], ports[1], ports[2]))
    with Perimeter(tmp_path / "lab", listen=listen) as perimeter:
        assert [*perimeter.bridge.addresses.values()] == [("127.0.0.2", port) for port in ports]
        assert {address.host for address in perimeter.site.addresses.values()} == {"127.0.0.1"}
        assert 'listen: "127.0.0.2:' in perimeter.bridge.policy_file.read_text("utf-8")
        assert perimeter.comparison.result(CASES[0]).problems == ()


def test_listening_on_the_network_prints_a_warning() -> None:
    started = Started("--listen", "0.0.0.0", "--json")
    summary = json.loads(started.first) if started.first else {}
    started.process.send_signal(signal.SIGTERM)
    status, _, err = started.ended()
    if status:  # another program uses the port
        assert "stop the program that uses it" in err
        return
    assert "WARNING: the bridge listens on 0.0.0.0" in err
    assert summary["page"].startswith("http://127.0.0.1:")


def test_the_address_begins_the_tour() -> None:
    started = Started("--no-browser", "--tour")
    started.process.send_signal(signal.SIGTERM)
    assert started.ended()[0] == 0
    assert re.fullmatch(r"http://127\.0\.0\.1:\d+/\?token=[\w-]+#tour-1", started.first)


def test_a_full_disk_is_reported(
    runtime: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device", "/somewhere/pki/root.pem")

    monkeypatch.setattr(up.LabFiles, "write", full)
    assert main(["lab", "up", "--no-browser"]) == 1
    message = capsys.readouterr().err
    assert message == f"ibcm-bridge lab: /somewhere/pki/root.pem cannot be written{FULL}\n"
    assert [file.name for file in runtime.iterdir()] == ["lock"]


def test_a_browser_that_does_not_open_is_reported(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def none() -> None:
        raise up.webbrowser.Error("could not locate runnable browser")

    monkeypatch.setattr(up.webbrowser, "get", none)
    up._open("http://127.0.0.1:1/")
    assert "open the address above yourself" in capsys.readouterr().err


def test_a_folder_with_access_for_others_is_refused(tmp_path: Path) -> None:
    (tmp_path / "ibcm-bridge").mkdir(mode=0o755)
    with pytest.raises(LabError, match="is not a private folder of this user"):
        runtime_folder()


def test_a_symbolic_link_is_refused(tmp_path: Path) -> None:
    (tmp_path / "elsewhere").mkdir(mode=0o700)
    (tmp_path / "ibcm-bridge").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(LabError, match="is not a private folder of this user"):
        runtime_folder()


def test_only_one_lab_runs_at_a_time() -> None:
    folder = runtime_folder()
    with Runtime(folder) as first:
        first.write({"page": "http://127.0.0.1:1/"})
        with pytest.raises(AlreadyRunning, match="lab down"), Runtime(folder):
            pass
        # The refused lab has changed nothing.
        assert first.read()["page"] == "http://127.0.0.1:1/"
    with Runtime(folder) as second:
        assert not second.crashed
