"""`lab up` and `lab down` as processes: how they end, what they leave, what they say."""

from __future__ import annotations

import errno
import json
import os
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
    """The user's runtime folder, of this test."""
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path))
    return tmp_path / "ibcm-bridge"


class Started:
    """A lab that is up."""

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
        """Exit status, and what it said since."""
        assert self.process.stdout is not None
        # Not by communicate(), which does not see what readline() has read ahead.
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
    """Whether they end; waits for it."""
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
def test_it_ends_when_told_to_and_leaves_nothing(
    lab: Started, runtime: Path, number: signal.Signals
) -> None:
    started = children(lab.process.pid)
    assert started
    lab.process.send_signal(number)
    status, out, err = lab.ended()
    assert (status, err) == (0, "ibcm-bridge lab: the lab has ended.\n")
    assert gone(started)
    assert [file.name for file in runtime.iterdir()] == ["lock"]
    # Printed for people: first the page's address, then names, files, and lines to paste.
    assert lab.first.startswith("http://127.0.0.1:")
    for text in ("bridge.internet.example", "pki/root.pem", "curl ", "--resolve", "Ctrl-C"):
        assert text in out


def test_a_signal_before_it_is_up_leaves_nothing_either(runtime: Path) -> None:
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


def test_down_ends_it(lab: Started, runtime: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["lab", "down"]) == 0
    assert capsys.readouterr().out == "The lab has ended.\n"
    assert lab.ended()[0] == 0
    assert [file.name for file in runtime.iterdir()] == ["lock"]


def test_after_a_crash_the_bridge_ends_by_itself_and_down_removes_the_rest(
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


def test_a_second_lab_is_told_of_the_first(
    lab: Started, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["lab", "up", "--no-browser"]) == 1
    said = capsys.readouterr()
    assert said.out == ""
    assert said.err == (
        f"ibcm-bridge lab: a lab is already running at {lab.first}; "
        "end it with: ibcm-bridge lab down\n"
    )


# Faults, in one sentence


def test_a_port_that_is_taken_is_named(runtime: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        assert main(["lab", "up", "--no-browser", "--listen", f"127.0.0.1:{port}"]) == 1
    said = capsys.readouterr().err
    assert str(port) in said
    assert "end what uses it, or take another: --listen ADDRESS:PORT" in said
    assert len(said.splitlines()) == 1
    assert [file.name for file in runtime.iterdir()] == ["lock"]


RIGHT = "grant CAP_NET_BIND_SERVICE, or listen on 8443 and forward 443 to it"
FULL = ": the disk is full; free some space, or name another folder in XDG_RUNTIME_DIR"


@pytest.mark.parametrize(
    ("why", "said"),
    [
        ("127.0.0.1:443 is already in use", "end what uses it, or take another: --listen"),
        ("127.0.0.1:8531 is already in use", "end what uses it: only the TLS port can be another"),
        ("192.0.2.1:1: 192.0.2.1 is not an address of this machine; x", "wants an address of this"),
        (f"cannot listen on x:443: permission denied; {RIGHT}", RIGHT),
        ("/x/a.jsonl cannot be written: the disk is full; name another file in audit.file", FULL),
        ("/x/u.sqlite cannot grow: the disk is full; free some space", FULL),
        ("a certificate is missing", "a certificate is missing; mend that, or leave out --listen"),
    ],
)
def test_why_the_bridge_did_not_start_is_said_with_what_to_do(why: str, said: str) -> None:
    text = f"the bridge did not start:\nibcm-bridge: cannot start: {why}\n"
    assert said in up._in_one_sentence(RuntimeError(text))


@pytest.mark.parametrize("text", ["nowhere.example", "127.0.0.1:0", "127.0.0.1:70000", "", "[::1"])
def test_where_to_listen_must_be_an_address(text: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["lab", "up", "--listen", text]) == 1
    assert "is not an address; say --listen" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("text", "written", "port", "reached"),
    [
        ("192.0.2.1", "192.0.2.1", 8443, "192.0.2.1"),
        ("0.0.0.0:443", "0.0.0.0", 443, "127.0.0.1"),
        ("::", "[::]", 8443, "::1"),
        ("[2001:db8::1]:443", "[2001:db8::1]", 443, "2001:db8::1"),
    ],
)
def test_where_to_listen_is_read(text: str, written: str, port: int, reached: str) -> None:
    one = Listen.read(text)
    assert (one.written, one.ports[0], one.reached_at) == (written, port, reached)


def test_only_the_bridge_listens_elsewhere(tmp_path: Path) -> None:
    ports = free_ports(3)
    listen = Listen(Listen.read("127.0.0.2").address, (ports[0], ports[1], ports[2]))
    with Perimeter(tmp_path / "lab", listen=listen) as perimeter:
        assert [*perimeter.bridge.addresses.values()] == [("127.0.0.2", port) for port in ports]
        assert {address.host for address in perimeter.site.addresses.values()} == {"127.0.0.1"}
        assert 'listen: "127.0.0.2:' in perimeter.bridge.policy_file.read_text("utf-8")
        assert perimeter.comparison.result(CASES[0]).problems == ()


def test_to_listen_for_others_is_warned_of() -> None:
    started = Started("--listen", "0.0.0.0", "--json")
    said = json.loads(started.first) if started.first else {}
    started.process.send_signal(signal.SIGTERM)
    status, _, err = started.ended()
    if status:  # something else of this machine has the port
        assert "end what uses it" in err
        return
    assert "WARNING: the bridge listens on 0.0.0.0" in err
    assert said["page"].startswith("http://127.0.0.1:")


def test_a_full_disk_is_said_so(
    runtime: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device", "/somewhere/pki/root.pem")

    monkeypatch.setattr(up.LabFiles, "write", full)
    assert main(["lab", "up", "--no-browser"]) == 1
    said = capsys.readouterr().err
    assert said == f"ibcm-bridge lab: /somewhere/pki/root.pem cannot be written{FULL}\n"
    assert [file.name for file in runtime.iterdir()] == ["lock"]


def test_a_browser_that_does_not_open_is_said_so(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def none() -> None:
        raise up.webbrowser.Error("could not locate runnable browser")

    monkeypatch.setattr(up.webbrowser, "get", none)
    up._open("http://127.0.0.1:1/")
    assert "open the address above in one yourself" in capsys.readouterr().err


def test_a_folder_that_others_can_enter_is_not_used(tmp_path: Path) -> None:
    (tmp_path / "ibcm-bridge").mkdir(mode=0o755)
    with pytest.raises(LabError, match="is not a folder of this user's alone"):
        runtime_folder()


def test_a_link_in_its_place_is_not_followed(tmp_path: Path) -> None:
    (tmp_path / "elsewhere").mkdir(mode=0o700)
    (tmp_path / "ibcm-bridge").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(LabError, match="is not a folder of this user's alone"):
        runtime_folder()


def test_there_is_one_lab_at_a_time() -> None:
    folder = runtime_folder()
    with Runtime(folder) as first:
        first.write({"page": "http://127.0.0.1:1/"})
        with pytest.raises(AlreadyRunning, match="lab down"), Runtime(folder):
            pass
        # The one that was refused has taken nothing away.
        assert first.read()["page"] == "http://127.0.0.1:1/"
    with Runtime(folder) as second:
        assert not second.crashed
