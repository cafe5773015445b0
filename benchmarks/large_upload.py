"""`python -m benchmarks.large_upload`: what others notice while 64 MB are uploaded and inspected.

Through a bridge of its own process, to the lab's stand-ins in another: a client asks for a list
every few milliseconds, first alone, then while an upload of 64 MB comes in fragments of 4 MB and is
inspected, and once more alone. Shown are the client's latencies, how long the upload and the last
fragment took, and the most memory that the bridge and its workers had.
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
    """Where the stand-ins listen, in their process."""

    addresses: Mapping[str, Address]


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.large_upload", description=__doc__)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--packed", action="store_true", help="64 MB that inflate to 128 MB")
    options = parser.parse_args()
    if not sys.platform.startswith("linux"):
        parser.error("memory is read from /proc: Linux only")
    # Before there is any thread; the certificates could not be sent.
    context = multiprocessing.get_context("fork")
    pki = LabPki.make(now=datetime.datetime.now(datetime.UTC))
    stop, stopped = context.Pipe()
    site = context.Process(target=_serve, args=(pki, stopped))
    asks, asked = context.Pipe()
    other = context.Process(target=_ask, args=(pki, asked))
    site.start()
    other.start()
    try:
        with (
            tempfile.TemporaryDirectory(prefix="ibcm-bridge-benchmarks-") as name,
            RunningBridge(Path(name), pki, Addresses(stop.recv())) as bridge,
        ):
            asks.send(bridge.address)
            _measure(bridge, pki, _data(packed=options.packed), options.rounds, asks)
    finally:
        for process, end in ((other, asks), (site, stop)):
            end.send(None)
            process.join()


def _serve(pki: LabPki, told: Connection) -> None:
    with SiteSystems(pki) as site:
        told.send(dict(site.addresses))
        told.recv()


def _data(*, packed: bool) -> bytes:
    noise = os.urandom(1_048_576)
    if not packed:
        return noise * (SIZE // len(noise))
    # Every second block of zeros: deflate makes next to nothing of those.
    packer = zlib.compressobj(1)
    blocks = [packer.compress(noise[: 1 << 19] + bytes(1 << 19)) for _ in range(126)]
    return b"".join([*blocks, packer.flush()])


def _measure(
    bridge: RunningBridge,
    pki: LabPki,
    data: bytes,
    rounds: int,
    asks: Connection,
) -> None:
    print(f"an upload of {len(data):,} bytes in fragments of {FRAGMENT:,}")
    print(f"{'others wait, ms':22}{'median':>9}{'99 %':>9}{'most':>9}{'requests':>10}")
    quiet: list[float] = []
    busy: list[float] = []
    took: list[tuple[float, float]] = []
    _upload(bridge, pki, bytes(FRAGMENT) * 2, "first")  # starts the workers
    before, _ = memory(bridge.pid)
    forget_peak_memory(bridge.pid)
    for number in range(rounds):
        asks.send(True)
        time.sleep(QUIET_SECONDS)
        asks.send(False)
        quiet += asks.recv()
        asks.send(True)
        took.append(_upload(bridge, pki, data, str(number)))
        asks.send(False)
        busy += asks.recv()
    _, peak = memory(bridge.pid)
    for name, values in (("alone", quiet), ("while it is uploaded", busy)):
        ordered = sorted(value * 1e3 for value in values)
        row = (statistics.median(ordered), ordered[int(len(ordered) * 0.99)], ordered[-1])
        print(f"{name:22}{''.join(f'{one:9.1f}' for one in row)}{len(ordered):10}")
    whole, last = (statistics.median(times) for times in zip(*took, strict=True))
    print(f"the upload took {whole:.2f} s, its last fragment {last:.2f} s")
    print(f"the bridge and its workers: {before >> 20} MB before, at most {peak >> 20} MB")


def _upload(bridge: RunningBridge, pki: LabPki, data: bytes, name: str) -> tuple[float, float]:
    """Seconds for all of it, and for the last fragment."""
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
            reply = client.send(upload.fragment(first, min(first + FRAGMENT, len(data))))
            if reply.status != 200:
                raise RuntimeError(f"refused: {reply}")
        last = time.perf_counter() - sent
        if client.send(upload.close()).status != 200:
            raise RuntimeError("not closed")
    return time.perf_counter() - began, last


def _ask(pki: LabPki, told: Connection) -> None:
    """Ask for lists from True until False, and tell how long each took; end with None."""
    if (address := told.recv()) is None:
        return
    with LabClient(
        address,
        BRIDGED,
        trust=pki.root,
        credential=pki.computer("pc2.corp.example"),
        timeout=DEADLINE,
    ) as client:
        while told.recv() is not None:
            took = []
            while not told.poll():
                began = time.perf_counter()
                if client.request("GET", LIST).status != 200:
                    raise RuntimeError("not answered")
                took.append(time.perf_counter() - began)
                time.sleep(PERIOD_SECONDS)
            told.recv()
            told.send(took)


if __name__ == "__main__":
    main()
