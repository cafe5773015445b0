"""`python -m benchmarks.large_upload`: latency of other clients during an upload of 64 MB.

The bridge and the lab's stand-ins run in separate processes. A client requests a list every few
milliseconds: first alone, then while 64 MB are uploaded in fragments of 4 MB and inspected. The
output shows the client's latency, the duration of the upload and of its last fragment, and the
peak memory of the bridge and its workers.
"""

from __future__ import annotations

import argparse
import datetime
import multiprocessing
import os
import statistics
import sys
import tempfile
import time
import zlib
from collections.abc import Mapping
from dataclasses import dataclass
from multiprocessing.connection import Connection
from pathlib import Path

from benchmarks.processes import forget_peak_memory, memory
from ibcm_bridge.lab.bridge.process import RunningBridge
from ibcm_bridge.lab.pki.authorities import LabPki
from ibcm_bridge.lab.protocol.client import LabClient
from ibcm_bridge.lab.protocol.uploads import Upload
from ibcm_bridge.lab.site_systems.published import BRIDGED
from ibcm_bridge.lab.site_systems.site_systems import Address, SiteSystems

SIZE = 67_108_864
FRAGMENT = 4_194_304
PERIOD_SECONDS = 0.005
QUIET_SECONDS = 4.0
LIST = "/SMS_MP/.sms_aut?MPLIST"
DEADLINE = 120.0


@dataclass(frozen=True)
class Addresses:
    """The listen addresses of the stand-ins, which run in another process."""

    addresses: Mapping[str, Address]


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.large_upload", description=__doc__)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--packed", action="store_true", help="64 MB that inflate to 128 MB")
    options = parser.parse_args()
    if not sys.platform.startswith("linux"):
        parser.error("Linux only: memory is read from /proc")
    # fork, because the certificates cannot be pickled; before any thread starts.
    context = multiprocessing.get_context("fork")
    pki = LabPki.make(now=datetime.datetime.now(datetime.UTC))
    stop, stopped = context.Pipe()
    site = context.Process(target=_serve, args=(pki, stopped))
    commands, client_end = context.Pipe()
    other = context.Process(target=_request_lists, args=(pki, client_end))
    site.start()
    other.start()
    try:
        with (
            tempfile.TemporaryDirectory(prefix="ibcm-bridge-benchmarks-") as name,
            RunningBridge(Path(name), pki, Addresses(stop.recv())) as bridge,
        ):
            commands.send(bridge.address)
            _measure(bridge, pki, _data(packed=options.packed), options.rounds, commands)
    finally:
        for process, end in ((other, commands), (site, stop)):
            end.send(None)
            process.join()


def _serve(pki: LabPki, parent: Connection) -> None:
    with SiteSystems(pki) as site:
        parent.send(dict(site.addresses))
        parent.recv()


def _data(*, packed: bool) -> bytes:
    noise = os.urandom(1_048_576)
    if not packed:
        return noise * (SIZE // len(noise))
    # Every second block is zeros, which deflate compresses to almost nothing.
    packer = zlib.compressobj(1)
    blocks = [packer.compress(noise[: 1 << 19] + bytes(1 << 19)) for _ in range(126)]
    return b"".join([*blocks, packer.flush()])


def _measure(
    bridge: RunningBridge,
    pki: LabPki,
    data: bytes,
    rounds: int,
    commands: Connection,
) -> None:
    print(f"an upload of {len(data) >> 20} MiB in fragments of {FRAGMENT >> 20} MiB")
    print(f"{'latency of others, ms':22}{'median':>9}{'99 %':>9}{'max':>9}{'requests':>10}")
    quiet: list[float] = []
    busy: list[float] = []
    took: list[tuple[float, float]] = []
    _upload(bridge, pki, bytes(FRAGMENT) * 2, "first")  # starts the workers
    before, _ = memory(bridge.pid)
    forget_peak_memory(bridge.pid)
    for number in range(rounds):
        commands.send(True)
        time.sleep(QUIET_SECONDS)
        commands.send(False)
        quiet += commands.recv()
        commands.send(True)
        took.append(_upload(bridge, pki, data, str(number)))
        commands.send(False)
        busy += commands.recv()
    _, peak = memory(bridge.pid)
    for name, values in (("without an upload", quiet), ("during the upload", busy)):
        ordered = sorted(value * 1e3 for value in values)
        row = (statistics.median(ordered), ordered[int(len(ordered) * 0.99)], ordered[-1])
        print(f"{name:22}{''.join(f'{value:9.1f}' for value in row)}{len(ordered):10}")
    whole, last = (statistics.median(times) for times in zip(*took, strict=True))
    print(f"duration of the upload: {whole:.2f} s, of its last fragment: {last:.2f} s")
    print(f"memory of bridge and workers: {before >> 20} MiB before, peak {peak >> 20} MiB")


def _upload(bridge: RunningBridge, pki: LabPki, data: bytes, name: str) -> tuple[float, float]:
    """Upload the data. Returns the seconds for the whole upload and for its last fragment."""
    upload = Upload(f"/CCM_Incoming/{name}.msg", data)
    began = time.perf_counter()
    with LabClient(
        bridge.address,
        BRIDGED,
        trust=pki.root,
        credential=pki.computer("pc1.corp.example"),
        timeout=DEADLINE,
    ) as client:
        session = client.send(upload.create()).header("BITS-Session-Id") or ""
        upload = Upload(upload.path, data, session)
        for first in range(0, len(data), FRAGMENT):
            sent = time.perf_counter()
            response = client.send(upload.fragment(first, min(first + FRAGMENT, len(data))))
            if response.status != 200:
                raise RuntimeError(f"refused: {response}")
        last = time.perf_counter() - sent
        if client.send(upload.close()).status != 200:
            raise RuntimeError("the upload session could not be closed")
    return time.perf_counter() - began, last


def _request_lists(pki: LabPki, parent: Connection) -> None:
    """Request lists from True until False, then send the latencies; None ends the process."""
    if (address := parent.recv()) is None:
        return
    with LabClient(
        address,
        BRIDGED,
        trust=pki.root,
        credential=pki.computer("pc2.corp.example"),
        timeout=DEADLINE,
    ) as client:
        while parent.recv() is not None:
            took = []
            while not parent.poll():
                began = time.perf_counter()
                if client.request("GET", LIST).status != 200:
                    raise RuntimeError("the list was refused")
                took.append(time.perf_counter() - began)
                time.sleep(PERIOD_SECONDS)
            parent.recv()
            parent.send(took)


if __name__ == "__main__":
    main()
