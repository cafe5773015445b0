"""The bridge as a process: it starts although another program has taken a free port."""

from __future__ import annotations

import socket
from datetime import UTC, datetime
from pathlib import Path

import pytest

from ibcm_bridge.lab.bridge import process
from ibcm_bridge.lab.bridge.process import RunningBridge, free_ports
from ibcm_bridge.lab.pki.authorities import LabPki
from ibcm_bridge.lab.pki.files import shipped_policy, with_ports
from ibcm_bridge.lab.site_systems.published import TLS_PORT
from ibcm_bridge.lab.site_systems.site_systems import Address


class NoSiteSystems:
    def __init__(self) -> None:
        self.addresses = {"management-point": Address("127.0.0.1", 9)}


@pytest.fixture(scope="module")
def pki() -> LabPki:
    return LabPki.make(now=datetime.now(UTC))


def test_ports_are_replaced_all_at_once() -> None:
    policy = with_ports("a 127.0.0.1:1\nb 127.0.0.1:2\nc 127.0.0.1:12", {1: 2, 2: 1})
    assert policy == "a 127.0.0.1:2\nb 127.0.0.1:1\nc 127.0.0.1:12"


def test_free_ports_are_different() -> None:
    assert len(set(free_ports(20))) == 20


def test_other_ports_are_tried_if_one_is_in_use(
    pki: LabPki, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        busy: int = taken.getsockname()[1]
        chosen: list[list[int]] = []

        def ports(count: int) -> list[int]:
            chosen.append(free_ports(count) if chosen else [busy, *free_ports(count - 1)])
            return chosen[-1]

        monkeypatch.setattr(process, "free_ports", ports)
        with RunningBridge(tmp_path, pki, NoSiteSystems()) as bridge:
            assert len(chosen) == 2
            assert bridge.addresses[TLS_PORT] == ("127.0.0.1", chosen[1][0])
            socket.create_connection(bridge.address, 10).close()


def test_a_wrong_policy_is_tried_once(
    pki: LabPki, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    chosen: list[int] = []

    def ports(count: int) -> list[int]:
        chosen.append(count)
        return free_ports(count)

    monkeypatch.setattr(process, "free_ports", ports)
    policy = shipped_policy().replace("version: 1", "version: 2")
    bridge = RunningBridge(tmp_path, pki, NoSiteSystems(), policy=policy)
    with pytest.raises(RuntimeError, match="the policy was not loaded"), bridge:
        pass
    assert len(chosen) == 1


def test_the_process_imports_nothing_from_the_current_folder(
    pki: LabPki, tmp_path: Path, poisoned: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # `lab up --netns` runs as root, possibly in a folder of another user.
    monkeypatch.chdir(poisoned)
    with RunningBridge(tmp_path, pki, NoSiteSystems()) as bridge:
        socket.create_connection(bridge.address, 10).close()
    assert list(poisoned.glob("imported-*")) == []
