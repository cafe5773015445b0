"""The processes of a comparison: both proxies, the site system and the client.

- The bridge as an operator runs it: with the shipped policy, every check and content engine, and
  an audit file.
- `mitmdump --mode reverse:...` with its default addons and no script: it terminates TLS on both
  legs, requests a client certificate without verifying it, verifies the site system, decides
  nothing and logs nothing. It streams bodies over 1 MB, so that downloads are comparable.

Both have the same certificates on both legs.
"""

from __future__ import annotations

import contextlib
import dataclasses
import datetime
import json
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Self

from cryptography.hazmat.primitives.serialization import Encoding

from benchmarks.load import Done, Job
from benchmarks.processes import forget_peak_memory, memory, settled_processor_seconds
from ibcm_bridge.lab.bridge.process import RunningBridge, free_port
from ibcm_bridge.lab.pki.authorities import LabPki
from ibcm_bridge.lab.site_systems.published import BRIDGED, TUNNELED
from ibcm_bridge.lab.site_systems.site_systems import Address

ROOT = Path(__file__).parent.parent
START_SECONDS = 30.0


@dataclass(frozen=True)
class Target:
    """The destination of a load, and its process."""

    pid: int
    port: int
    server_name: str


@dataclass(frozen=True)
class LoadResult:
    """The result of a load, and its cost for the proxy."""

    done: Done
    processor_seconds: float
    peak_growth: int
    """Bytes by which the memory peak exceeded the use before."""
    in_use: int
    """Bytes in use after the load."""


class Proxies:
    """Both running proxies, and the client that loads them."""

    def __init__(self, bridge: RunningBridge, mitmdump: _Mitmdump, client: _LoadClient) -> None:
        self._client = client
        self.bridge = Target(bridge.pid, bridge.address[1], BRIDGED)
        self.tunnel = Target(bridge.pid, bridge.address[1], TUNNELED["distribution-point"])
        self.mitmdump = Target(mitmdump.pid, mitmdump.port, BRIDGED)

    def load(self, target: Target, job: Job) -> LoadResult:
        """Run a job against a target, and measure the target's process."""
        self._client.begin(job)
        forget_peak_memory(target.pid)
        in_use, _ = memory(target.pid)
        before = settled_processor_seconds(target.pid)
        done = self._client.finish()
        spent = settled_processor_seconds(target.pid) - before
        in_use_now, peak = memory(target.pid)
        return LoadResult(done, spent, peak - in_use, in_use_now)


@contextlib.contextmanager
def running_proxies(directory: Path, content_bytes: int) -> Iterator[Proxies]:
    """Start all processes with new certificates, and stop them at the end.

    Raises RuntimeError if a process does not start, and at the end if the bridge refused a request
    or did not inspect a message, because the measurement would be meaningless.
    """
    pki = LabPki.make(now=datetime.datetime.now(datetime.UTC))
    with contextlib.ExitStack() as stack:
        site_system = stack.enter_context(_SiteSystem(pki, directory, content_bytes))
        (directory / "bridge").mkdir()
        one_for_both = _OneForBoth(site_system.port)
        bridge = stack.enter_context(RunningBridge(directory / "bridge", pki, one_for_both))
        made = directory / "bridge" / "pki"
        mitmdump = stack.enter_context(_Mitmdump(directory, made, site_system.port))
        client = stack.enter_context(_LoadClient(made))
        yield Proxies(bridge, mitmdump, client)
    _check_audit(bridge)


def _check_audit(bridge: RunningBridge) -> None:
    requests = [record for record in bridge.audit() if record["event"] == "request"]
    messages = [record for record in requests if record["method"] == "CCM_POST"]
    for record in requests:
        if record["verdict"] != "allow":
            raise RuntimeError(f"the bridge refused a request: {record}")
    for record in messages:
        if not any(view.startswith("inflated:") for view in record["inspected"]):
            raise RuntimeError(f"the bridge did not inspect a message: {record}")
    if not messages:
        raise RuntimeError("the bridge's audit has no message")


class _OneForBoth:
    """The addresses that `RunningBridge` needs: one stand-in for both site systems."""

    def __init__(self, port: int) -> None:
        address = Address("127.0.0.1", port)
        self.addresses = {"management-point": address, "distribution-point": address}


class _Child:
    """A Python process that exchanges lines, and is terminated at the end of the block."""

    def __init__(self, *arguments: str | Path) -> None:
        self._process = subprocess.Popen(
            [sys.executable, *map(str, arguments)],
            cwd=ROOT,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            encoding="utf-8",
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._process.terminate()
        try:
            self._process.communicate(timeout=15)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.communicate()

    @property
    def pid(self) -> int:
        """The process id."""
        return self._process.pid

    def write_line(self, line: str) -> None:
        """Write a line to its standard input."""
        assert self._process.stdin is not None
        self._process.stdin.write(line + "\n")
        self._process.stdin.flush()

    def read_line(self) -> str:
        """Read a line from its standard output."""
        assert self._process.stdout is not None
        if not (line := self._process.stdout.readline()):
            raise RuntimeError(f"a process has ended: {self._process.args!r}")
        return line.strip()


class _SiteSystem(_Child):
    def __init__(self, pki: LabPki, directory: Path, content_bytes: int) -> None:
        # mitmdump sends the client's server name, the bridge that of the site system.
        names = ("dp01.corp.example", BRIDGED, *TUNNELED.values())
        pki.server("mp01.corp.example", *names).write(directory, "site-system")
        trust = directory / "root.pem"
        trust.write_bytes(pki.root.public_bytes(Encoding.PEM))
        super().__init__(
            *("-m", "benchmarks.site_system"),
            *("--chain", directory / "site-system.pem"),
            *("--key", directory / "site-system.key"),
            *("--trust", trust),
            *("--content", str(content_bytes)),
        )
        self.port = int(self.read_line().removeprefix("port "))


class _Mitmdump(_Child):
    def __init__(self, directory: Path, made: Path, site_system_port: int) -> None:
        self.port = free_port()
        options = {
            "confdir": directory / "mitmproxy",
            "listen_host": "127.0.0.1",
            "client_certs": _in_one_file(made, "bridge-client", directory),
            "request_client_cert": "true",
            "ssl_verify_upstream_trusted_ca": made / "root.pem",
            "connection_strategy": "lazy",
            "stream_large_bodies": "1m",
            # As the bridge does. Otherwise mitmdump would verify the name 127.0.0.1.
            "keep_host_header": "true",
        }
        super().__init__(
            *("-c", "from mitmproxy.tools.main import mitmdump; mitmdump()", "-q"),
            *("--mode", f"reverse:https://127.0.0.1:{site_system_port}"),
            *("--listen-port", str(self.port)),
            *("--certs", f"*={_in_one_file(made, 'bridge-server', directory)}"),
            *(part for name, value in options.items() for part in ("--set", f"{name}={value}")),
        )
        deadline = time.monotonic() + START_SECONDS
        while not self._is_listening():
            if self._process.poll() is not None or time.monotonic() > deadline:
                self.__exit__()
                raise RuntimeError("mitmdump did not start")
            time.sleep(0.05)

    def _is_listening(self) -> bool:
        with socket.socket() as probe:
            return probe.connect_ex(("127.0.0.1", self.port)) == 0


class _LoadClient(_Child):
    def __init__(self, made: Path) -> None:
        super().__init__(
            *("-m", "benchmarks.load"),
            *("--chain", made / "clients" / "computer.pem"),
            *("--key", made / "clients" / "computer.key"),
            *("--trust", made / "root.pem"),
        )

    def begin(self, job: Job) -> None:
        """Let the client open the connections of a job."""
        self.write_line(json.dumps(dataclasses.asdict(job)))
        if (line := self.read_line()) != "ready":
            raise RuntimeError(f"unexpected line from the load client: {line!r}")

    def finish(self) -> Done:
        """Let the client run the job, and return its result."""
        self.write_line("go")
        return Done(**json.loads(self.read_line()))


def _in_one_file(made: Path, name: str, directory: Path) -> Path:
    """Write key and certificates into one file, the format that mitmproxy reads."""
    path = directory / f"{name}.both.pem"
    path.touch(mode=0o600)
    path.write_bytes((made / f"{name}.key").read_bytes() + (made / f"{name}.pem").read_bytes())
    return path
