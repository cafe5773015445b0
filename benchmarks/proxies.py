"""The processes of a comparison: both proxies, the site system and the client.

- The bridge as an operator runs it: with the shipped policy, every check and content engine, and
  an audit file.
- `mitmdump --mode reverse:...` with its default addons and no script: it terminates TLS on both
  legs, requests a client certificate without verifying it, verifies the site system, decides
  nothing and logs nothing. It streams bodies over 1 MB, so that downloads are comparable.

- The other proxies of `benchmarks.peers`, if asked for.

All have the same certificates on both legs.
"""

from __future__ import annotations

import contextlib
import dataclasses
import datetime
import json
import socket
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from cryptography.hazmat.primitives.serialization import Encoding

from benchmarks.bridges import Bound, Variant, check_audit, prepared_bridge, variants
from benchmarks.child import Child
from benchmarks.load import Done, Job
from benchmarks.open_load import Latencies, OpenJob
from benchmarks.peers.programs import Peer, Way
from benchmarks.peers.running import RunningPeer, SiteSystem
from benchmarks.processes import (
    children,
    forget_peak_memory,
    memory,
    processor_seconds,
    settled_processor_seconds,
)
from ibcm_bridge.lab.bridge.process import RunningBridge, free_port
from ibcm_bridge.lab.pki.authorities import LabPki
from ibcm_bridge.lab.site_systems.published import BRIDGED, TUNNELED

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
    by_child: tuple[float, ...]
    """Processor seconds of each child process, with its own children."""


class Proxies:
    """The running proxies, and the client that loads them."""

    def __init__(
        self,
        bridges: Mapping[Variant, RunningBridge],
        mitmdump: _Mitmdump,
        peers: Mapping[str, RunningPeer],
        *,
        client: LoadClient,
        open_clients: Sequence[OpenLoadClient],
    ) -> None:
        self._client = client
        self._open_clients = open_clients
        self._peers = peers
        bridge = bridges[Variant.SHIPPED]
        self.bridges = {
            variant: Target(running.pid, running.address[1], BRIDGED)
            for variant, running in bridges.items()
        }
        self.bridge = self.bridges[Variant.SHIPPED]
        self.tunnel = Target(bridge.pid, bridge.address[1], TUNNELED["distribution-point"])
        self.mitmdump = Target(mitmdump.pid, mitmdump.port, BRIDGED)

    def peers(self, way: Way) -> dict[str, Target]:
        """The peers that can do this, by name."""
        # Only for a tunnel does the site system see the client's server name.
        name = TUNNELED["distribution-point"] if way is Way.TUNNEL else BRIDGED
        return {
            peer: Target(running.pid, running.ports[way], name)
            for peer, running in self._peers.items()
            if way in running.ways
        }

    def load(self, target: Target, job: Job) -> LoadResult:
        """Run a job against a target, and measure the target's process."""
        self._client.begin(job)
        forget_peak_memory(target.pid)
        in_use, _ = memory(target.pid)
        before = settled_processor_seconds(target.pid)
        shares = {child: processor_seconds(child) for child in children(target.pid)}
        done = self._client.finish()
        spent = settled_processor_seconds(target.pid) - before
        in_use_now, peak = memory(target.pid)
        by_child = tuple(processor_seconds(child) - share for child, share in shares.items())
        return LoadResult(done, spent, peak - in_use, in_use_now, by_child)

    def open_load(self, jobs: Sequence[OpenJob]) -> list[Latencies]:
        """Run up to two jobs at the same time, each in its own process."""
        used = list(zip(self._open_clients, jobs, strict=False))
        for client, job in used:
            client.begin(job)
        for client, _ in used:
            client.start()
        return [client.result() for client, _ in used]

    def held(self, target: Target, job: Job) -> tuple[int, int]:
        """Open the connections of a job; memory while they are open, and when they are closed."""
        self._client.begin(job)
        settled_processor_seconds(target.pid)
        held, _ = memory(target.pid)
        self._client.finish()
        settled_processor_seconds(target.pid)
        closed, _ = memory(target.pid)
        return held, closed


@contextlib.contextmanager
def running_proxies(
    directory: Path,
    content_bytes: int,
    *,
    bound: Bound | None = None,
    peers: Sequence[Peer] = (),
    inspecting: Sequence[Variant] = (Variant.SHIPPED, Variant.TWO_WORKERS),
) -> Iterator[Proxies]:
    """Start all processes with new certificates, and stop them at the end.

    `bound` is the client of enforced signatures and client GUIDs. The bridges of `inspecting` get
    messages.

    Raises RuntimeError if a process does not start, and at the end if the bridge refused a request
    or did not inspect a message, because the measurement would be meaningless.
    """
    pki = LabPki.make(now=datetime.datetime.now(datetime.UTC))
    with contextlib.ExitStack() as stack:
        site_system = stack.enter_context(SiteSystemProcess(pki, directory, content_bytes))
        bridges = {
            variant: stack.enter_context(
                prepared_bridge(directory, pki, site_system.port, bound, variant)
            )
            for variant in variants(bound)
        }
        made = directory / "bridge" / "pki"
        mitmdump = stack.enter_context(_Mitmdump(directory, made, site_system.port))
        beside = SiteSystem(BRIDGED, ("127.0.0.1", site_system.port))
        running = {
            peer.name: stack.enter_context(RunningPeer(peer, directory, made, beside))
            for peer in peers
        }
        client = stack.enter_context(LoadClient(made))
        open_clients = [stack.enter_context(OpenLoadClient(made)) for _ in range(2)]
        yield Proxies(bridges, mitmdump, running, client=client, open_clients=open_clients)
    for variant in inspecting:
        if variant in bridges:
            check_audit(bridges[variant])


class SiteSystemProcess(Child):
    def __init__(self, pki: LabPki, directory: Path, content_bytes: int) -> None:
        # mitmdump sends the client's server name, the bridge that of the site system.
        names = ("dp01.corp.example", BRIDGED, *TUNNELED.values())
        pki.server("mp01.corp.example", *names).write(directory, "site-system")
        trust = directory / "root.pem"
        trust.write_bytes(pki.root.public_bytes(Encoding.PEM))
        super().__init__(
            [
                *(sys.executable, "-m", "benchmarks.site_system"),
                *("--chain", directory / "site-system.pem"),
                *("--key", directory / "site-system.key"),
                *("--trust", trust),
                *("--content", str(content_bytes)),
            ]
        )
        self.port = int(self.read_line().removeprefix("port "))


class _Mitmdump(Child):
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
            [
                *(sys.executable, "-c", "from mitmproxy.tools.main import mitmdump; mitmdump()"),
                *("-q", "--mode", f"reverse:https://127.0.0.1:{site_system_port}"),
                *("--listen-port", str(self.port)),
                *("--certs", f"*={_in_one_file(made, 'bridge-server', directory)}"),
                *(part for name, value in options.items() for part in ("--set", f"{name}={value}")),
            ]
        )
        deadline = time.monotonic() + START_SECONDS
        while not self._is_listening():
            if self.ended or time.monotonic() > deadline:
                self.stop()
                raise RuntimeError("mitmdump did not start")
            time.sleep(0.05)

    def _is_listening(self) -> bool:
        with socket.socket() as probe:
            return probe.connect_ex(("127.0.0.1", self.port)) == 0


class _Client(Child):
    """A process of a module that reads jobs, with the certificate of a client."""

    def __init__(self, module: str, made: Path) -> None:
        super().__init__(
            [
                *(sys.executable, "-m", module),
                *("--chain", made / "clients" / "computer.pem"),
                *("--key", made / "clients" / "computer.key"),
                *("--trust", made / "root.pem"),
            ]
        )

    def begin(self, job: Job | OpenJob) -> None:
        """Let the client open the connections of a job."""
        self.write_line(json.dumps(dataclasses.asdict(job)))
        if (line := self.read_line()) != "ready":
            raise RuntimeError(f"unexpected line from the load client: {line!r}")

    def start(self) -> None:
        """Let the client run the job."""
        self.write_line("go")


class LoadClient(_Client):
    """Runs the jobs of `load`."""

    def __init__(self, made: Path) -> None:
        super().__init__("benchmarks.load", made)

    def finish(self) -> Done:
        """Let the client run the job, and return its result."""
        self.start()
        return Done(**json.loads(self.read_line()))


class OpenLoadClient(_Client):
    """Runs the jobs of `open_load`."""

    def __init__(self, made: Path) -> None:
        super().__init__("benchmarks.open_load", made)

    def result(self) -> Latencies:
        """Wait for the result of the job."""
        return Latencies(**json.loads(self.read_line()))


def _in_one_file(made: Path, name: str, directory: Path) -> Path:
    """Write key and certificates into one file, the format that mitmproxy reads."""
    path = directory / f"{name}.both.pem"
    path.touch(mode=0o600)
    path.write_bytes((made / f"{name}.key").read_bytes() + (made / f"{name}.pem").read_bytes())
    return path
