"""`python -m benchmarks.several`: the CPU time of a message, with one bridge and with three.

HAProxy forwards the connections of one port to one bridge, and divides those of another port among
three, as in docs/scale.md. Each bridge has one worker. All four share a PostgreSQL database at a
UNIX socket of this machine. Three more, behind a third port, share nothing: each has a file. It
needs Debian's HAProxy and PostgreSQL.

In each round, one bridge gets messages on all connections and on a third of them, and three bridges
on all. The order is reversed every round. CPU time is that of all processes of the bridges behind
the port, also of those that wait. Ratios are taken within a round.

On this machine three processes take turns on a core, and find less in its caches than one. Two
ratios leave that out. Three bridges get messages one after the other, as if each had a machine of
its own. And three that share the database are compared with three that share nothing.
"""

from __future__ import annotations

import argparse
import contextlib
import datetime
import statistics
import sys
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from enum import Enum
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric.rsa import generate_private_key

from benchmarks.bridges import Bound, OneForBoth, binding_of, check_audit
from benchmarks.child import Child
from benchmarks.comparison import GUID, message_request
from benchmarks.load import Job
from benchmarks.peers.programs import PEERS
from benchmarks.peers.running import wait_until_listening
from benchmarks.processes import settled_processor_seconds
from benchmarks.proxies import LoadClient, SiteSystemProcess
from benchmarks.report import conditions
from benchmarks.shared_state import Postgresql
from ibcm_bridge.lab.bridge.process import RunningBridge, free_ports
from ibcm_bridge.lab.pki.authorities import LabPki
from ibcm_bridge.lab.pki.certificates import LabCredential
from ibcm_bridge.lab.pki.files import shipped_policy
from ibcm_bridge.lab.site_systems.published import BRIDGED
from ibcm_bridge.storage.binding_registry import Registry
from ibcm_bridge.storage.postgresql_stores import SharedRegistry

CONNECTIONS = 16
"""Kept connections of each of three bridges, with a message on each at any time."""

WARM_UP_SECONDS = 3.0


class Port(Enum):
    """A port of HAProxy; the value describes the bridges behind it."""

    ONE = "one"
    THREE = "three"
    APART = "three that share nothing"

    @property
    def count(self) -> int:
        """The number of bridges."""
        return 1 if self is Port.ONE else 3


@dataclass(frozen=True)
class Load:
    """Messages for the bridges behind a port."""

    port: Port
    share: int
    """The number of connections, in CONNECTIONS."""
    in_turn: bool = False
    """To one bridge after the other, past HAProxy."""


_ONE, _THREE = Load(Port.ONE, 3), Load(Port.THREE, 3)
_THIRD, _IN_TURN = Load(Port.ONE, 1), Load(Port.THREE, 1, in_turn=True)
_APART = Load(Port.APART, 3)

_LOADS = {
    "one bridge, all connections": _ONE,
    "one bridge, a third of them": _THIRD,
    "three bridges, all": _THREE,
    "three bridges, a third, in turn": _IN_TURN,
    "three that share nothing, all": _APART,
}

_RATIOS = {
    "three in turn / one, a third": (_IN_TURN, _THIRD),
    "three / one, all": (_THREE, _ONE),
    "three / three without sharing": (_THREE, _APART),
}

_HAPROXY = """\
global
    nbthread 1
    maxconn 1000
defaults
    mode tcp
    balance leastconn
    timeout connect 5s
    timeout client 60s
    timeout server 60s
"""

_SETTINGS = """
workers: 1
messages: {{identity: enforce, signatures: enforce{bindings}}}
{state}
"""


@dataclass(frozen=True)
class Behind:
    """The bridges behind a port of HAProxy."""

    port: int
    bridges: Sequence[RunningBridge]

    def ports(self, load: Load) -> list[int]:
        """The ports that get a load, one after the other."""
        return [bridge.address[1] for bridge in self.bridges] if load.in_turn else [self.port]

    def processor_seconds(self) -> float:
        """CPU time of all their processes, when they are idle."""
        return sum(settled_processor_seconds(bridge.pid) for bridge in self.bridges)


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.several", description=__doc__)
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--seconds", type=float, default=3, help="of each load (default: 3)")
    parser.add_argument(
        "--connections", type=int, default=CONNECTIONS, help="of each of three (default: 16)"
    )
    options = parser.parse_args()
    if not sys.platform.startswith("linux"):
        parser.error("Linux only: processor time is read from /proc")
    with tempfile.TemporaryDirectory(prefix="ibcm-bridge-several-") as directory:
        job = Job("messages", 0, BRIDGED, "", options.seconds, options.connections)
        spent = _measure(Path(directory), options.rounds, job)
    print("; ".join(f"{name} {value}" for name, value in conditions().items()))
    print(f"{3 * options.connections} kept connections, rounds: {options.rounds}\n")
    print(f"{'CPU time of a message, us':32}{'median':>10}{'lowest':>10}{'highest':>10}")
    for name, load in _LOADS.items():
        print(_row(name, spent[load], ".0f"))
    for name, (upper, lower) in _RATIOS.items():
        ratios = [a / b for a, b in zip(spent[upper], spent[lower], strict=True)]
        print(_row(name, ratios, ".3f"))


def _row(name: str, values: Sequence[float], form: str) -> str:
    cells = (statistics.median(values), min(values), max(values))
    return f"{name:32}" + "".join(f"{value:>10{form}}" for value in cells)


def _measure(directory: Path, rounds: int, job: Job) -> dict[Load, list[float]]:
    bound = Bound(GUID, generate_private_key(65537, 2048))
    job = replace(job, request=message_request(bound.key).decode("latin-1"))
    spent: dict[Load, list[float]] = {load: [] for load in _LOADS.values()}
    with _running(directory, bound) as (client, behind):
        for each in behind.values():
            client.begin(replace(job, port=each.port, seconds=WARM_UP_SECONDS))
            client.finish()
        order = list(spent.items())
        for _ in range(rounds):
            for load, found in order:
                each = behind[load.port]
                loads = each.ports(load)
                work = replace(job, connections=load.share * job.connections)
                requests, before = 0, each.processor_seconds()
                for port in loads:
                    client.begin(replace(work, port=port))
                    requests += client.finish().requests
                found.append((each.processor_seconds() - before) * 1e6 / requests)
            order.reverse()
        bridges = [bridge for each in behind.values() for bridge in each.bridges]
    for bridge in bridges:
        check_audit(bridge)
    return spent


@contextlib.contextmanager
def _running(directory: Path, bound: Bound) -> Iterator[tuple[LoadClient, dict[Port, Behind]]]:
    pki = LabPki.make(now=datetime.datetime.now(datetime.UTC))
    with contextlib.ExitStack() as stack:
        state = stack.enter_context(Postgresql(directory)).state
        site_system = stack.enter_context(SiteSystemProcess(pki, directory, 0))
        address = OneForBoth(site_system.port)
        sharing = {"bindings": "", "state": f"state: {state.address}"}
        alone = {"bindings": ", bindings: bindings.sqlite", "state": ""}
        behind = {}
        for port, number in zip(Port, free_ports(len(Port)), strict=True):
            settings = _SETTINGS.format_map(alone if port is Port.APART else sharing)
            bridges = [
                RunningBridge(
                    directory / f"{port.name}-{index}",
                    pki,
                    address,
                    policy=shipped_policy() + settings,
                )
                for index in range(port.count)
            ]
            behind[port] = Behind(number, bridges)
        # The certificates of one bridge's clients are as good for the others.
        made = behind[Port.ONE].bridges[0].directory / "pki"
        binding = binding_of(bound, LabCredential.read(made / "clients", "computer"))
        with SharedRegistry(state, creates=True) as registry:
            registry.add(binding)
        for bridge in behind[Port.APART].bridges:
            with Registry(bridge.directory / "bindings.sqlite") as registry:
                registry.add(binding)
        for each in behind.values():
            for bridge in each.bridges:
                stack.enter_context(bridge)
        stack.enter_context(_haproxy(directory, behind))
        yield stack.enter_context(LoadClient(made)), behind


@contextlib.contextmanager
def _haproxy(directory: Path, behind: dict[Port, Behind]) -> Iterator[None]:
    text = _HAPROXY
    for each in behind.values():
        text += f"listen port-{each.port}\n    bind 127.0.0.1:{each.port}\n"
        for number, bridge in enumerate(each.bridges):
            text += "    server bridge-{} {}:{}\n".format(number, *bridge.address)
    file = directory / "haproxy.cfg"
    file.write_text(text, "ascii")
    (program,) = [peer.path() for peer in PEERS if peer.name == "haproxy"]
    if program is None:
        raise RuntimeError("HAProxy is not installed: apt-get install haproxy")
    output = directory / "haproxy.log"
    with Child([program, "-db", "-f", file], output) as running:
        wait_until_listening(running, [each.port for each in behind.values()], output)
        yield


if __name__ == "__main__":
    main()
