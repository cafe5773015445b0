"""`python -m benchmarks.shared_state`: the cost of a message if its binding is in PostgreSQL.

Three bridges get the same signed messages of one bound client in turn, on one connection, one at a
time. The order is reversed every round, and results are compared within a round.

1. The bindings are in a SQLite file of each bridge.
2. They are in a PostgreSQL database at a UNIX socket of this machine, and read once a minute.
3. As 2, but each message reads its binding from the database.

CPU time is that of the bridge, not of PostgreSQL. The whole time is that of the client, with the
wait for PostgreSQL. Other load on the machine changes both by more than the difference, so the
second table has only the search for a binding, in process: in batches, in turn.

The bridges have one processor, and all other processes have the others. With `--any-processor` the
kernel chooses. It often puts PostgreSQL beside the bridge that waits for it, and then each message
finds less in the caches of the processor.

It needs Debian's PostgreSQL.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import datetime
import getpass
import os
import pwd
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Coroutine, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import psycopg
import yaml
from cryptography.hazmat.primitives.asymmetric.rsa import generate_private_key

from benchmarks.bridges import Bound, OneForBoth, binding_of, check_audit
from benchmarks.child import Child
from benchmarks.comparison import GUID, message_request
from benchmarks.load import Job
from benchmarks.processes import settled_processor_seconds
from benchmarks.proxies import LoadClient, SiteSystemProcess
from ibcm_bridge.addons.hooks.database.shared_bindings import SharedBindings
from ibcm_bridge.identity.bindings import Binding
from ibcm_bridge.lab.bridge.process import RunningBridge
from ibcm_bridge.lab.namespaces import HERE, Namespace
from ibcm_bridge.lab.pki.authorities import LabPki
from ibcm_bridge.lab.pki.certificates import LabCredential
from ibcm_bridge.lab.pki.files import shipped_policy
from ibcm_bridge.lab.site_systems.published import BRIDGED
from ibcm_bridge.messages.client_guid import read_guid
from ibcm_bridge.policy.policy import StateDatabase
from ibcm_bridge.storage.binding_registry import Registry
from ibcm_bridge.storage.postgresql_stores import SharedRegistry

SQLITE, CACHED, UNCACHED = "SQLite file", "PostgreSQL, cached", "PostgreSQL, not cached"
LIMITS = {CACHED: "<= 3 %", UNCACHED: "<= 0.2 ms"}
DATABASE = "state"
WARM_UP_SECONDS = 1.0
BRIDGE, OTHERS = "bridge", "others"
BATCHES, SEARCHES = 60, 50
"""Batches of each kind of search, and searches in a batch."""


@dataclass(frozen=True)
class Cost:
    """Of one message, in microseconds."""

    processor: float
    whole: float


class Processors:
    """The processors of the bridges, and those of all other processes."""

    def __init__(self, *, apart: bool) -> None:
        """`apart`: divide them, if there are several."""
        every = sorted(os.sched_getaffinity(0))
        self._of = {BRIDGE: every, OTHERS: every}
        if apart and len(every) > 1:
            self._of = {BRIDGE: every[:1], OTHERS: every[1:]}

    @contextlib.contextmanager
    def start(self, kind: str) -> Iterator[None]:
        """Start processes of a kind, until the exit."""
        before = os.sched_getaffinity(0)
        os.sched_setaffinity(0, self._of[kind])
        try:
            yield
        finally:
            os.sched_setaffinity(0, before)


@dataclass(frozen=True)
class _Uncached(Namespace):
    @property
    def command(self) -> tuple[str, ...]:
        return (sys.executable, "-m", "benchmarks.uncached")


class Postgresql(Child):
    """A server with an empty database, at a UNIX socket."""

    def __init__(self, directory: Path) -> None:
        """In a new folder. RuntimeError if it is not installed, or does not start."""
        self.folder = folder = directory / "postgresql"
        folder.mkdir()
        # The user of the server, which is not root, enters the folder.
        directory.chmod(0o711)
        programs = sorted(Path("/usr/lib/postgresql").glob("*/bin"))
        if not programs:
            raise RuntimeError("no PostgreSQL: install Debian's package postgresql")
        # It refuses root.
        self.user = "postgres" if os.geteuid() == 0 else getpass.getuser()
        become = ["setpriv", f"--reuid={self.user}", f"--regid={pwd.getpwnam(self.user).pw_gid}"]
        prefix = [*become, "--clear-groups"] if os.geteuid() == 0 else []
        if prefix:
            shutil.chown(folder, self.user)
        data = folder / "data"
        initdb = [programs[-1] / "initdb", "--auth=trust", "--username=ibcm", "--pgdata", data]
        subprocess.run([*prefix, *initdb], check=True, capture_output=True)
        server = [programs[-1] / "postgres", "-D", data, "-k", folder, "-c", "listen_addresses="]
        super().__init__([*prefix, *server], folder / "log")
        self.state = StateDatabase(
            f"postgresql:///{DATABASE}?host={folder}&user=ibcm",
            (("host", str(folder)), ("user", "ibcm"), ("dbname", DATABASE)),
        )
        self._create()

    def _create(self) -> None:
        end = time.monotonic() + 30
        while True:
            try:
                parameters = {"host": str(self.folder), "user": "ibcm", "dbname": "postgres"}
                with psycopg.connect(**parameters, autocommit=True) as admin:
                    admin.execute(f"CREATE DATABASE {DATABASE}")
                return
            except psycopg.OperationalError:
                if self.ended or time.monotonic() > end:
                    self.stop()
                    raise RuntimeError("PostgreSQL did not start") from None
                time.sleep(0.05)


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.shared_state", description=__doc__)
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--seconds", type=float, default=3.0, help="of each bridge in a round")
    parser.add_argument(
        "--any-processor", action="store_true", help="let the kernel choose the processors"
    )
    options = parser.parse_args()
    if not sys.platform.startswith("linux"):
        parser.error("Linux only: processor time is read from /proc")
    with tempfile.TemporaryDirectory(prefix="ibcm-bench-") as name:
        processors = Processors(apart=not options.any_processor)
        costs, searches = measure(Path(name), options.rounds, options.seconds, processors)
    print("\n".join((*table(costs), "", *search_table(searches))))


def measure(
    directory: Path, rounds: int, seconds: float, processors: Processors
) -> tuple[dict[str, list[Cost]], dict[str, list[Cost]]]:
    """The cost of a message at each bridge in each round, and of a search in each batch."""
    bound = Bound(GUID, generate_private_key(65537, 2048))
    request = message_request(bound.key).decode("latin-1")
    costs: dict[str, list[Cost]] = {name: [] for name in (SQLITE, CACHED, UNCACHED)}
    with contextlib.ExitStack() as stack:
        state, bridges, client = _started(stack, directory, bound, processors)

        def load(bridge: RunningBridge, seconds: float) -> Cost:
            client.begin(Job("messages", bridge.address[1], BRIDGED, request, seconds))
            before = settled_processor_seconds(bridge.pid)
            done = client.finish()
            spent = settled_processor_seconds(bridge.pid) - before
            return Cost(spent / done.requests * 1e6, done.seconds / done.requests * 1e6)

        for bridge in bridges.values():
            load(bridge, WARM_UP_SECONDS)
        order = [*bridges]
        for _ in range(rounds):
            for name in order:
                costs[name].append(load(bridges[name], seconds))
            order.reverse()
        file = bridges[SQLITE].directory / "bindings.sqlite"
        with processors.start(BRIDGE):
            searches = asyncio.run(_searches(file, state))
    for bridge in bridges.values():
        check_audit(bridge)
    return costs, searches


async def _searches(file: Path, state: StateDatabase) -> dict[str, list[Cost]]:
    """The cost of a search for a binding."""
    guid = read_guid(GUID)
    assert guid is not None
    found: dict[str, list[Cost]] = {name: [] for name in (SQLITE, CACHED, UNCACHED)}
    with Registry(file) as registry, contextlib.closing(SharedBindings(state)) as shared:

        async def search(name: str) -> Binding | None:
            if name == SQLITE:
                return registry.find(guid)
            if name == UNCACHED:
                shared.cache.drop(guid)
            bindings = shared.find(guid, ())
            return (await bindings if isinstance(bindings, Coroutine) else bindings)[guid]

        async with shared.running():
            # Nothing is kept before notifications arrive.
            while shared.cache.find(guid) is None:
                await search(CACHED)
                await asyncio.sleep(0.01)
            for _ in range(BATCHES):
                for name, batch in found.items():
                    processor, whole = time.process_time(), time.perf_counter()
                    for _ in range(SEARCHES):
                        if await search(name) is None:
                            raise RuntimeError("the binding was not found")
                    spent, took = time.process_time() - processor, time.perf_counter() - whole
                    batch.append(Cost(spent / SEARCHES * 1e6, took / SEARCHES * 1e6))
    return found


def _started(
    stack: contextlib.ExitStack, directory: Path, bound: Bound, processors: Processors
) -> tuple[StateDatabase, Mapping[str, RunningBridge], LoadClient]:
    pki = LabPki.make(now=datetime.datetime.now(datetime.UTC))
    with processors.start(OTHERS):
        database = stack.enter_context(Postgresql(directory))
        site_system = stack.enter_context(SiteSystemProcess(pki, directory, 0))
    enforced = {"identity": "enforce", "signatures": "enforce"}
    in_a_file = {"messages": {**enforced, "bindings": "bindings.sqlite"}}
    in_the_database = {"messages": enforced, "state": database.state.address}
    bridges = {
        name: RunningBridge(
            directory / f"bridge-{number}",
            pki,
            OneForBoth(site_system.port),
            policy=yaml.safe_dump(yaml.safe_load(shipped_policy()) | settings),
            namespace=namespace,
        )
        for number, (name, settings, namespace) in enumerate(
            (
                (SQLITE, in_a_file, HERE),
                (CACHED, in_the_database, HERE),
                (UNCACHED, in_the_database, _Uncached()),
            )
        )
    }
    made = bridges[SQLITE].directory / "pki"
    binding = binding_of(bound, LabCredential.read(made / "clients", "computer"))
    with Registry(bridges[SQLITE].directory / "bindings.sqlite") as registry:
        registry.add(binding)
    with SharedRegistry(database.state, creates=True) as registry:
        registry.add(binding)
    with processors.start(BRIDGE):
        for bridge in bridges.values():
            stack.enter_context(bridge)
    with processors.start(OTHERS):
        client = stack.enter_context(LoadClient(made))
    return database.state, bridges, client


def table(costs: Mapping[str, list[Cost]]) -> Iterator[str]:
    """The lines of the result: medians, and medians of what a round has more than SQLite."""
    yield f"{'':24}{'CPU':>10}{'more':>10}{'more':>8}{'whole':>10}{'more':>10}  goal"
    for name, values in costs.items():
        pairs = list(zip(values, costs[SQLITE], strict=True))
        processor = statistics.median(value.processor for value in values)
        whole = statistics.median(value.whole for value in values)
        more = statistics.median(value.processor - base.processor for value, base in pairs)
        ratio = statistics.median(value.processor / base.processor - 1 for value, base in pairs)
        later = statistics.median(value.whole - base.whole for value, base in pairs)
        numbers = (
            f"{processor:7,.0f} us{more:+7,.0f} us{ratio:+8.1%}{whole:7,.0f} us{later:+7,.0f} us"
        )
        yield f"{name:24}{numbers}  {LIMITS.get(name, '')}".rstrip()


def search_table(searches: Mapping[str, list[Cost]]) -> Iterator[str]:
    """The lines of the search: the median and the lowest of the batches."""
    yield f"{'search for a binding':24}{'CPU':>10}{'lowest':>11}{'whole':>11}{'lowest':>11}"
    for name, batches in searches.items():
        numbers = (
            f"{summary(values):8,.1f} us"
            for values in ([cost.processor for cost in batches], [cost.whole for cost in batches])
            for summary in (statistics.median, min)
        )
        yield f"{name:24}{''.join(numbers)[1:]}"


if __name__ == "__main__":
    main()
