"""Messages to systemd, and the interval of its watchdog."""

from __future__ import annotations

import os
import socket
import sys
from pathlib import Path

import pytest

from ibcm_bridge.addons.operations.service_manager import (
    READY,
    notify,
    passed_files,
    watchdog_seconds,
)

pytestmark = pytest.mark.skipif(os.name != "posix", reason="sockets of systemd")


def test_a_state_is_sent_to_the_socket(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    name = str(tmp_path / "notify")
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
        manager.bind(name)
        monkeypatch.setenv("NOTIFY_SOCKET", name)
        notify(READY)
        assert manager.recv(100) == b"READY=1"


@pytest.mark.skipif(sys.platform != "linux", reason="abstract names are Linux's")
def test_the_name_can_be_abstract(monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
        manager.bind(f"\0ibcm-bridge-{os.getpid()}")
        monkeypatch.setenv("NOTIFY_SOCKET", f"@ibcm-bridge-{os.getpid()}")
        notify(READY)
        assert manager.recv(100) == b"READY=1"


@pytest.mark.parametrize("name", [None, "", "relative", "/does/not/exist"])
def test_without_a_service_manager_nothing_happens(
    name: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("NOTIFY_SOCKET", raising=False)
    if name is not None:
        monkeypatch.setenv("NOTIFY_SOCKET", name)
    notify(READY)


@pytest.mark.parametrize(
    ("microseconds", "pid", "seconds"),
    [
        ("30000000", None, 15.0),
        ("30000000", str(os.getpid()), 15.0),
        ("30000000", "1", None),
        (None, None, None),
        ("0", None, None),
        ("soon", None, None),
    ],
)
def test_the_watchdog_is_fed_twice_in_its_interval(
    microseconds: str | None,
    pid: str | None,
    seconds: float | None,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for name, value in (("WATCHDOG_USEC", microseconds), ("WATCHDOG_PID", pid)):
        monkeypatch.delenv(name, raising=False)
        if value is not None:
            monkeypatch.setenv(name, value)
    assert watchdog_seconds() == seconds


# Passed sockets (sd_listen_fds(3))


@pytest.fixture
def third(monkeypatch: pytest.MonkeyPatch) -> None:
    """Files need not be open for their numbers."""
    monkeypatch.setattr(os, "set_inheritable", lambda *_: None)


def passes(monkeypatch: pytest.MonkeyPatch, **variables: str) -> None:
    for name in ("PID", "FDS", "FDNAMES"):
        monkeypatch.delenv(f"LISTEN_{name}", raising=False)
    for name, value in variables.items():
        monkeypatch.setenv(f"LISTEN_{name}", value)


@pytest.mark.usefixtures("third")
def test_passed_files_have_names_and_numbers(monkeypatch: pytest.MonkeyPatch) -> None:
    passes(monkeypatch, PID=str(os.getpid()), FDS="3", FDNAMES="clients::devices")
    assert passed_files() == [("clients", 3), ("4", 4), ("devices", 5)]
    assert passed_files() == [], "no process that is started later gets them"
    passes(monkeypatch, PID=str(os.getpid()), FDS="1")
    assert passed_files() == [("3", 3)]


@pytest.mark.parametrize(
    "variables",
    [{}, {"PID": "1", "FDS": "1"}, {"FDS": "1"}, {"PID": str(os.getpid()), "FDS": "-1"}],
)
def test_files_for_another_process_are_left_alone(
    monkeypatch: pytest.MonkeyPatch, variables: dict[str, str]
) -> None:
    passes(monkeypatch, **variables)
    assert passed_files() == []
