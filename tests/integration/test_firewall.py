"""`lab up --netns`: three networks and a firewall.

The names of the namespaces are global, so only one run is possible at a time; .ci/run omits these
tests in its second run.
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
from ibcm_bridge.lab.scenes.site_server import PROBES
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
    """Check that there are no namespaces before a test, and remove them afterwards."""
    assert firewall.existing() == [], "of another program, or of a killed run: ip netns del NAME"
    yield
    firewall.remove()


def there() -> set[str]:
    """Return the lab's namespaces of this machine, and its links in this namespace."""
    listed = subprocess.run(["ip", "-j", "netns"], capture_output=True, text=True, check=True)
    names = {namespace["name"] for namespace in json.loads(listed.stdout or "[]")}
    links = subprocess.run(["ip", "-j", "link"], capture_output=True, text=True, check=True)
    return (names | {link["ifname"] for link in json.loads(links.stdout)}) & set(firewall.NAMES)


# As a process


@dataclass
class Up:
    """A running lab, and the summary that it printed."""

    process: subprocess.Popen[str]
    summary: dict[str, Any]

    def line(self, purpose: str) -> str:
        """Return the command line with this purpose."""
        commands = self.summary["curl"]
        (found,) = [command["line"] for command in commands if purpose in command["purpose"]]
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
    """Run a line in a shell."""
    return subprocess.run(line, shell=True, capture_output=True, text=True, timeout=30, check=False)


def curl(namespace: str, where: str) -> subprocess.CompletedProcess[str]:
    return shell(f"ip netns exec {namespace} curl -sS --max-time 5 -ki https://{where}/SMS_MP/")


@AS_ROOT
def test_only_the_published_ports_are_reachable(lab: Up) -> None:
    assert set(firewall.NAMES) == there()
    assert "HTTP/1.1 200 OK" in shell(lab.line("A client request")).stdout
    assert "HTTP/1.1 405 " in shell(lab.line("Microsoft does not list")).stdout
    assert "HTTP/1.1 200 OK" in shell(lab.line("through the tunnel")).stdout
    # The Internet cannot pass the perimeter; the perimeter reaches only the site systems.
    assert shell(lab.line("The Internet cannot")).returncode == CANNOT_CONNECT
    assert "HTTP/1.1 403 " in shell(lab.line("The perimeter can")).stdout
    assert "chain forward" in shell(lab.line("The firewall rules")).stdout
    # The intranet reaches neither the Internet nor the bridge.
    for where in ("192.0.2.2:80", "192.0.2.1:443", "198.51.100.1:443"):
        assert curl("intranet", where).returncode == CANNOT_CONNECT
    assert curl("perimeter", "192.0.2.2:80").returncode == CANNOT_CONNECT
    status, err = lab.end()
    assert (status, err) == (0, "ibcm-bridge lab: the lab has stopped.\n")
    assert there() == set()


@AS_ROOT
def test_scenes_need_the_firewall(lab: Up) -> None:
    """The site server reaches clients on the Internet as soon as the rules are gone."""
    scene = f"{sys.executable} -m ibcm_bridge lab client --scene"
    # More than once: the kernel limits ICMP to a peer, and a client without it waits in vain.
    for _ in range(3):
        shown = shell(f"{scene} site-server")
        assert (shown.returncode, shown.stderr) == (0, ""), shown.stdout
        assert shown.stdout.count("bytes arrive") == len(PROBES)
        assert shown.stdout.count("(as required)") == len(PROBES)
    second = shell(f"{scene} second-site")
    assert (second.returncode, second.stderr) == (0, ""), second.stdout
    assert shell("ip netns exec perimeter nft delete table inet perimeter").returncode == 0
    shown = shell(f"{scene} site-server")
    assert shown.returncode == 1
    assert shown.stdout.count("FAILED") == len(PROBES)


@AS_ROOT
def test_without_the_firewall_the_internet_reaches_the_site_systems(lab: Up) -> None:
    """Without the rules the same packets arrive, so the test above can fail."""
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
        # The perimeter reaches only the ports of site systems.
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
    actions = [json.loads(line) for line in shown.stdout.splitlines()]
    assert {action["network"] for action in actions} == {"internet", "intranet"}
    assert actions[-1]["response"].startswith("same SHA-256: ")


@AS_ROOT
def test_down_removes_the_namespaces_after_a_crash(
    lab: Up, runtime: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    lab.process.kill()
    lab.process.communicate()
    assert there() == set(firewall.NAMES)
    assert main(["lab", "down"]) == 0
    assert "removed the files of a crashed lab" in capsys.readouterr().out
    assert there() == set()
    assert [file.name for file in runtime.iterdir()] == ["lock"]


@AS_ROOT
@pytest.mark.usefixtures("no_namespaces")
def test_a_foreign_namespace_is_not_changed(capsys: pytest.CaptureFixture[str]) -> None:
    subprocess.run(["ip", "netns", "add", "intranet"], check=True)
    assert main(["lab", "up", "--netns", "--no-browser"]) == 1
    message = capsys.readouterr().err
    assert "a network namespace named intranet already exists" in message
    assert "ip netns del intranet" in message
    assert len(message.splitlines()) == 1
    assert firewall.existing() == ["intranet"]


@AS_ROOT
@pytest.mark.usefixtures("no_namespaces")
def test_a_foreign_namespace_created_in_between_is_not_removed(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Another program creates a namespace after the check of the lab."""
    checks: list[list[str]] = [[]]
    existing = firewall.existing
    monkeypatch.setattr(firewall, "existing", lambda: checks.pop() if checks else existing())
    subprocess.run(["ip", "netns", "add", "perimeter"], check=True)
    assert main(["lab", "up", "--netns", "--no-browser"]) == 1
    assert "cannot create network namespaces (ip netns add perimeter" in capsys.readouterr().err
    assert existing() == ["perimeter"]


@AS_ROOT
@pytest.mark.usefixtures("no_namespaces")
def test_an_incomplete_start_is_cleaned_up(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(firewall, "RULES", "no rules at all")
    assert main(["lab", "up", "--netns", "--no-browser"]) == 1
    message = capsys.readouterr().err
    assert "cannot create network namespaces" in message
    assert "omit --netns" in message
    assert len(message.splitlines()) == 1
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
def test_each_case_is_as_required(perimeter: Perimeter, case: Case) -> None:
    assert perimeter.comparison.result(case).problems == ()


@AS_ROOT
def test_the_thread_leaves_the_namespace_after_an_error(perimeter: Perimeter) -> None:
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


# Without namespaces


def test_a_missing_prerequisite_is_reported(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "platform", "linux")
    monkeypatch.setattr(os, "geteuid", lambda: 1000, raising=False)
    assert firewall.refusal() == ("--netns needs root: sudo ibcm-bridge lab up --netns, or omit it")
    monkeypatch.setattr(os, "geteuid", lambda: 0, raising=False)
    for tool, package in (("ip", "iproute2"), ("nft", "nftables")):
        monkeypatch.setattr(shutil, "which", lambda name, no=tool: None if name == no else name)
        assert firewall.refusal() == f"--netns needs {tool}: install {package}, or omit --netns"
    monkeypatch.setattr(shutil, "which", lambda name: name)
    assert firewall.refusal() == ""
    monkeypatch.setattr(sys, "platform", "darwin")
    assert firewall.refusal() == "--netns needs Linux; omit it"


def test_the_command_reports_a_missing_prerequisite(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def refusal() -> str:
        return "--netns needs root"

    monkeypatch.setattr(firewall, "refusal", refusal)
    assert main(["lab", "up", "--netns"]) == 1
    assert capsys.readouterr().err == "ibcm-bridge lab: --netns needs root\n"


def test_listen_and_netns_exclude_each_other(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["lab", "up", "--netns", "--listen", "192.0.2.1"]) == 1
    assert "omit one of them" in capsys.readouterr().err


def test_a_failed_command_is_named() -> None:
    with pytest.raises(LabError, match=r"cannot create .* \(.*--no-such-thing: .*omit"):
        firewall._run((sys.executable, "--no-such-thing"))
