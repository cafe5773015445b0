"""A bridge as its own process, as an operator would run it, for the demo, tests and benchmarks."""

from __future__ import annotations

import json
import os
import queue
import signal
import socket
import subprocess
import sys
import threading
import time
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from ibcm_bridge.lab.files import shipped_policy
from ibcm_bridge.lab.pki import LabPki
from ibcm_bridge.lab.site_systems import SiteSystems

START_SECONDS = 30.0
STOP_SECONDS = 15.0

BRIDGED = "bridge.internet.example"
TUNNELED = {
    "management-point": "mp-tunnel.internet.example",
    "distribution-point": "dp-tunnel.internet.example",
}


class RunningBridge:
    """`ibcm-bridge run` on the shipped policy, with the lab's addresses filled in.

    A context manager. `directory` gets the certificates, the policy and the audit file.
    """

    def __init__(
        self, directory: Path, pki: LabPki, site_systems: SiteSystems, *, policy: str | None = None
    ) -> None:
        self.directory = directory
        self.address = ("127.0.0.1", free_port())
        self.audit_file = directory / "audit.jsonl"
        self.policy_file = directory / "bridge.yaml"
        pki.write(directory / "pki")
        text = policy or shipped_policy()
        for shipped, actual in (
            ("127.0.0.1:8443", self.address),
            ("127.0.0.1:9443", site_systems.management_point),
            ("127.0.0.1:9444", site_systems.distribution_point),
        ):
            text = text.replace(shipped, f"{actual[0]}:{actual[1]}")
        self.policy_file.write_text(text.replace("../audit.jsonl", "audit.jsonl"), "utf-8")
        self.lines: list[str] = []
        self._said: queue.Queue[str | None] = queue.Queue()
        self._process: subprocess.Popen[str] | None = None

    def __enter__(self) -> Self:
        command = [sys.executable, "-m", "ibcm_bridge", "run", "--config", str(self.policy_file)]
        self._process = subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True, encoding="utf-8"
        )
        threading.Thread(target=self._listen, daemon=True).start()
        deadline = time.monotonic() + START_SECONDS
        try:
            while True:
                line = self._said.get(timeout=max(0.0, deadline - time.monotonic()))
                if line is None:
                    self.stop()
                    raise RuntimeError("the bridge did not start:\n" + "".join(self.lines))
                if "listening on" in line:
                    return self
        except queue.Empty:
            self.stop()
            raise RuntimeError("the bridge did not start in time") from None

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.stop()

    @property
    def pid(self) -> int:
        """The process id."""
        assert self._process is not None
        return self._process.pid

    def stop(self) -> int:
        """SIGTERM, and the exit status; killed if it does not stop."""
        assert self._process is not None
        if self._process.poll() is None:
            self._process.send_signal(signal.SIGTERM)
        try:
            return self._process.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            self._process.kill()
            return self._process.wait()

    def audit(self) -> list[dict[str, Any]]:
        """The records written so far."""
        if not self.audit_file.exists():
            return []
        return [json.loads(line) for line in self.audit_file.read_text("utf-8").splitlines()]

    def wait_for_records(self, count: int, seconds: float = 5.0) -> list[dict[str, Any]]:
        """The records, once there are `count` of them; what there is when time is up."""
        deadline = time.monotonic() + seconds
        while len(records := self.audit()) < count and time.monotonic() < deadline:
            time.sleep(0.01)
        return records

    def _listen(self) -> None:
        assert self._process is not None
        assert self._process.stderr is not None
        with self._process.stderr as said:
            for line in said:
                self.lines.append(line)
                self._said.put(line)
        self._said.put(None)


def free_port() -> int:
    """A loopback port that was free a moment ago."""
    with socket.socket() as probe:
        if os.name == "posix":
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port
