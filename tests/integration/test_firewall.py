"""`lab up --netns`: three networks, and what may pass between them.

The names of the namespaces are the machine's, so only one run of this can be at a time; .ci/run
leaves it out where it runs all tests a second time.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from ibcm_bridge.commands.main import main
from ibcm_bridge.lab.bridge.process import Listen
from ibcm_bridge.lab.cases.case import Case
from ibcm_bridge.lab.cases.table import CASES
from ibcm_bridge.lab.errors import LabError
from ibcm_bridge.lab.namespaces import Namespace
from ibcm_bridge.lab.perimeter import firewall
from ibcm_bridge.lab.perimeter.perimeter import Perimeter
from ibcm_bridge.lab.site_systems.stand_ins import STAND_INS

AS_ROOT = pytest.mark.needs("root", "ip", "nft", "curl")

MANAGEMENT_POINT = f"198.51.100.2:{STAND_INS['management-point'].port}"
CANNOT_CONNECT = 7
"""curl(1)."""


@pytest.fixture(autouse=True)
def runtime(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path))
    return tmp_path / "ibcm-bridge"


@pytest.fixture
def no_namespaces() -> Iterator[None]:
    """None before, and none afterwards, whatever a test leaves."""
    assert firewall.existing() == [], (
        "somebody else's, or of a run that was killed: ip netns del NAME"
    )
    yield
    firewall.remove()


def there() -> set[str]:
    """Namespaces of this machine, and links of the one that this is in."""
    listed = subprocess.run(["ip", "-j", "netns"], capture_output=True, text=True, check=True)
    names = {one["name"] for one in json.loads(listed.stdout or "[]")}
    links = subprocess.run(["ip", "-j", "link"], capture_output=True, text=True, check=True)
    return (names | {one["ifname"] for one in json.loads(links.stdout)}) & set(firewall.NAMES)


# As a process


@dataclass
class Up:
    """A lab that is up."""

    process: subprocess.Popen[str]
    said: dict[str, Any]

    def line(self, what: str) -> str:
        """The line to paste whose explanation has this in it."""
        (found,) = [one["line"] for one in self.said["curl"] if what in one["what"]]
        return str(found)

    def end(self) -> tuple[int, str]:
        self.process.send_signal(signal.SIGTERM)
        _, err = self.process.communicate(timeout=40)
        return self.process.returncode, err


@pytest.fixture
def lab(no_namespaces: None) -> Iterator[Up]:
    process = subprocess.Popen(
        [sys.executable, "-m", "ibcm_bridge", "lab", "up", "--netns", "--json"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    first = process.stdout.readline()
    try:
        assert first, process.communicate()[1]
        yield Up(process, json.loads(first))
    finally:
        if process.poll() is None:
            process.kill()
            process.communicate()


def shell(line: str) -> subprocess.CompletedProcess[str]:
    """A line, pasted."""
    return subprocess.run(line, shell=True, capture_output=True, text=True, timeout=30, check=False)


def curl(namespace: str, where: str) -> subprocess.CompletedProcess[str]:
    return shell(f"ip netns exec {namespace} curl -sS --max-time 5 -ki https://{where}/SMS_MP/")


@AS_ROOT
def test_what_is_published_is_reached_and_nothing_else(lab: Up) -> None:
    assert set(firewall.NAMES) == there()
    assert "HTTP/1.1 200 OK" in shell(lab.line("What a client may ask")).stdout
    assert "HTTP/1.1 405 " in shell(lab.line("not on Microsoft's list")).stdout
    assert "HTTP/1.1 200 OK" in shell(lab.line("through the tunnel")).stdout
    # Past the perimeter, there is nothing; from within it, only the site systems.
    assert shell(lab.line("Past the perimeter")).returncode == CANNOT_CONNECT
    assert "HTTP/1.1 403 " in shell(lab.line("From the perimeter")).stdout
    assert "chain forward" in shell(lab.line("What holds them apart")).stdout
    # And the other way: who is inside reaches neither the Internet nor the bridge.
    for where in ("192.0.2.2:80", "192.0.2.1:443", "198.51.100.1:443"):
        assert curl("intranet", where).returncode == CANNOT_CONNECT
    assert curl("perimeter", "192.0.2.2:80").returncode == CANNOT_CONNECT
    status, err = lab.end()
    assert (status, err) == (0, "ibcm-bridge lab: the lab has ended.\n")
    assert there() == set()


@AS_ROOT
def test_it_is_the_firewall_that_keeps_the_internet_out(lab: Up) -> None:
    """Without their rules the same packets arrive: so the test above can fail."""
    other = "198.51.100.2:9999"
    server = subprocess.Popen(
        ["ip", "netns", "exec", "intranet", sys.executable, "-m", "http.server", "9999"],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        within = f"ip netns exec intranet curl -sS http://{other}/"
        deadline = time.monotonic() + 10
        while shell(within).returncode and time.monotonic() < deadline:
            time.sleep(0.05)
        assert shell(within).returncode == 0
        assert curl("internet", MANAGEMENT_POINT).returncode == CANNOT_CONNECT
        # What is no site system is not for the perimeter either.
        assert shell(f"ip netns exec perimeter curl -sS http://{other}/").returncode
        assert shell("ip netns exec perimeter nft delete table inet perimeter").returncode == 0
        assert "HTTP/1.1 403 " in curl("internet", MANAGEMENT_POINT).stdout
        assert shell(f"ip netns exec perimeter curl -sS http://{other}/").returncode == 0
    finally:
        server.terminate()
        server.wait()


@AS_ROOT
def test_a_simulated_client_moves_between_the_networks(lab: Up) -> None:
    shown = shell(f"{sys.executable} -m ibcm_bridge lab client --json")
    assert shown.returncode == 0, shown.stdout + shown.stderr
    every = [json.loads(line) for line in shown.stdout.splitlines()]
    assert {one["network"] for one in every} == {"internet", "intranet"}
    assert every[-1]["answer"].startswith("SHA-256 of both is ")


@AS_ROOT
def test_after_a_crash_down_removes_them(
    lab: Up, runtime: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    lab.process.kill()
    lab.process.communicate()
    assert there() == set(firewall.NAMES)
    assert main(["lab", "down"]) == 0
    assert "removed what one that had crashed left behind" in capsys.readouterr().out
    assert there() == set()
    assert [one.name for one in runtime.iterdir()] == ["lock"]


@AS_ROOT
@pytest.mark.usefixtures("no_namespaces")
def test_somebody_elses_namespace_is_left_alone(capsys: pytest.CaptureFixture[str]) -> None:
    subprocess.run(["ip", "netns", "add", "intranet"], check=True)
    assert main(["lab", "up", "--netns", "--no-browser"]) == 1
    said = capsys.readouterr().err
    assert "a network namespace named intranet is there already" in said
    assert "ip netns del intranet" in said
    assert len(said.splitlines()) == 1
    assert firewall.existing() == ["intranet"]


@AS_ROOT
@pytest.mark.usefixtures("no_namespaces")
def test_nor_is_one_removed_that_came_in_between(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Somebody makes one after the lab has looked."""
    looked: list[list[str]] = [[]]
    existing = firewall.existing
    monkeypatch.setattr(firewall, "existing", lambda: looked.pop() if looked else existing())
    subprocess.run(["ip", "netns", "add", "perimeter"], check=True)
    assert main(["lab", "up", "--netns", "--no-browser"]) == 1
    assert "cannot be made here (ip netns add perimeter" in capsys.readouterr().err
    assert existing() == ["perimeter"]


@AS_ROOT
@pytest.mark.usefixtures("no_namespaces")
def test_what_fails_half_way_leaves_nothing(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(firewall, "RULES", "no rules at all")
    assert main(["lab", "up", "--netns", "--no-browser"]) == 1
    said = capsys.readouterr().err
    assert "network namespaces cannot be made here" in said
    assert "leave out --netns" in said
    assert len(said.splitlines()) == 1
    assert there() == set()


# Without a process


@pytest.fixture(scope="module")
def perimeter(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Perimeter]:
    assert firewall.existing() == []
    try:
        firewall.build()
        listen = Listen(Listen.read(firewall.INTERNET_SIDE).address, firewall.PUBLISHED_PORTS)
        directory = tmp_path_factory.mktemp("firewall")
        with Perimeter(directory, listen=listen, namespaces=firewall.NAMESPACES) as perimeter:
            yield perimeter
    finally:
        firewall.remove()


@AS_ROOT
@pytest.mark.parametrize("case", CASES, ids=lambda case: case.id)
def test_every_case_goes_as_it_does_on_loopback(perimeter: Perimeter, case: Case) -> None:
    assert perimeter.comparison.result(case).problems == ()


@AS_ROOT
def test_who_was_inside_is_back_whatever_happened(perimeter: Perimeter) -> None:
    def here() -> int:
        return Path("/proc/thread-self/ns/net").stat().st_ino

    before = here()
    with perimeter.namespaces.intranet.inside():
        assert here() != before
    with pytest.raises(ZeroDivisionError), perimeter.namespaces.intranet.inside():
        raise ZeroDivisionError
    assert here() == before
    with pytest.raises(FileNotFoundError), Namespace("nowhere").inside():
        pass
    assert here() == before


# Where there can be none


def test_what_is_missing_is_said_with_what_to_do(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "platform", "linux")
    monkeypatch.setattr(os, "geteuid", lambda: 1000, raising=False)
    assert firewall.refusal() == (
        "--netns needs root: sudo ibcm-bridge lab up --netns, or leave it out"
    )
    monkeypatch.setattr(os, "geteuid", lambda: 0, raising=False)
    for tool, package in (("ip", "iproute2"), ("nft", "nftables")):
        monkeypatch.setattr(shutil, "which", lambda name, no=tool: None if name == no else name)
        assert firewall.refusal() == f"--netns needs {tool}: install {package}, or leave it out"
    monkeypatch.setattr(shutil, "which", lambda name: name)
    assert firewall.refusal() == ""
    monkeypatch.setattr(sys, "platform", "darwin")
    assert firewall.refusal() == "--netns needs Linux; leave it out"


def test_without_rights_the_command_says_so(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def refusal() -> str:
        return "--netns needs root"

    monkeypatch.setattr(firewall, "refusal", refusal)
    assert main(["lab", "up", "--netns"]) == 1
    assert capsys.readouterr().err == "ibcm-bridge lab: --netns needs root\n"


def test_it_is_not_for_those_who_listen_elsewhere(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["lab", "up", "--netns", "--listen", "192.0.2.1"]) == 1
    assert "leave one of them out" in capsys.readouterr().err


def test_a_command_that_fails_is_named() -> None:
    with pytest.raises(LabError, match=r"cannot be made here \(.*--no-such-thing: .*leave out"):
        firewall._run((sys.executable, "--no-such-thing"))
