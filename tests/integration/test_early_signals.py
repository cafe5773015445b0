"""A signal that a bridge gets while it starts neither ends it nor is lost."""

from __future__ import annotations

import hashlib
import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import pytest

from ibcm_bridge.lab.pki.authorities import LabPki
from ibcm_bridge.lab.protocol.client import LabClient
from ibcm_bridge.lab.site_systems.published import BRIDGED
from tests.integration.commands import address_of, needs_signals, on_free_ports
from tests.integration.reading import until

pytestmark = needs_signals

if sys.platform != "win32":
    RELOAD = signal.SIGHUP
    USER = (signal.SIGUSR1, signal.SIGUSR2)

SOON = 60.0
COUNT = 20


class Starting:
    """`run` with a policy file that is a pipe, so that it is known when the policy is read."""

    def __init__(self, folder: Path, workers: int) -> None:
        self.folder = folder
        self.policy_file = folder / "bridge.yaml"
        self.first = f"{on_free_ports()}workers: {workers}\n"
        self.lines: list[str] = []
        os.mkfifo(self.policy_file)
        command = [sys.executable, "-m", "ibcm_bridge", "run", "--config", "bridge.yaml"]
        self.process = subprocess.Popen(command, cwd=folder, stderr=subprocess.PIPE, text=True)
        self.reader = threading.Thread(target=self._read)
        self.reader.start()

    def _read(self) -> None:
        assert self.process.stderr is not None
        with self.process.stderr as lines:
            for line in lines:
                self.lines.append(line)

    def send(self, *signals: signal.Signals) -> None:
        for number in signals * COUNT:
            self.process.send_signal(number)
            time.sleep(0.005)
            assert self.process.poll() is None, number

    def has_said(self, text: str) -> bool:
        assert self.process.poll() is None, self.lines
        return any(text in line for line in self.lines)

    def stop(self) -> int:
        self.process.terminate()
        status = self.process.wait(SOON)
        self.reader.join()
        return status


@contextmanager
def starting(folder: Path, workers: int) -> Iterator[Starting]:
    bridge = Starting(folder, workers)
    try:
        yield bridge
    finally:
        bridge.process.kill()
        bridge.process.wait(SOON)
        bridge.reader.join(SOON)


def digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def records(folder: Path) -> Sequence[dict[str, object]]:
    lines = (folder / "audit.jsonl").read_text("utf-8").splitlines()
    return [record for line in lines if (record := json.loads(line))["event"] == "request"]


@pytest.mark.parametrize("workers", [1, pytest.param(2, marks=pytest.mark.slow)])
def test_a_bridge_survives_signals_while_it_starts_and_then_uses_the_changed_policy(
    pki: LabPki, tmp_path: Path, workers: int
) -> None:
    if workers > 1 and sys.platform != "linux":
        pytest.skip("several workers require Linux")
    pki.write(tmp_path / "pki")
    with starting(tmp_path, workers) as bridge:
        # This waits until the bridge reads its policy.
        with bridge.policy_file.open("w", encoding="utf-8") as pipe:
            bridge.send(RELOAD, *USER)
            changed = f"{bridge.first}# changed\n"
            (tmp_path / "changed.yaml").write_text(changed, "utf-8")
            (tmp_path / "changed.yaml").replace(bridge.policy_file)
            pipe.write(bridge.first)
        # On a busy machine, the bridge can be ready before the last of these.
        bridge.send(RELOAD, *USER)
        while not bridge.has_said("listening on"):
            bridge.send(*USER)
        until(lambda: bridge.has_said("reload done"), "the reload", SOON)
        with LabClient(
            address_of(tmp_path), BRIDGED, trust=pki.root, credential=pki.computer("pc1.example")
        ) as client:
            assert client.request("GET", "/SMS_MP/.sms_aut?MPLIST").status == 502
        bridge.send(RELOAD, *USER)
        assert bridge.stop() == 0
    assert f"reload done; the policy in use is {digest(changed)}" in "".join(bridge.lines)
    (record,) = records(tmp_path)
    assert record["policy"] == digest(changed)
