"""`python -m benchmarks.database_instructions`: the instructions of a message with PostgreSQL.

The binding of its client is in a SQLite file, in a PostgreSQL database and read once a minute, or
there and read for each message. See `benchmarks.instructions`; the instructions of PostgreSQL are
not counted. `benchmarks.shared_state` measures the CPU time, which depends on other load.

It needs Debian's valgrind and PostgreSQL.
"""

from __future__ import annotations

import argparse
import shutil
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import yaml

from benchmarks.bridges import Bound, binding_of
from benchmarks.instructions import (
    MESSAGES,
    WITHOUT_CHECKS,
    bridge_to_count,
    counting,
    message_job,
)
from benchmarks.shared_state import CACHED, SQLITE, UNCACHED, Postgresql
from ibcm_bridge.lab.bridge.process import RunningBridge
from ibcm_bridge.lab.pki.certificates import LabCredential
from ibcm_bridge.storage.postgresql_stores import SharedRegistry

_WITHOUT_CACHE = ("benchmarks.uncached", "-m", *WITHOUT_CHECKS)


def main() -> int:
    """Count and print."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.database_instructions", description=__doc__
    )
    parser.parse_args()
    if not shutil.which("valgrind"):
        parser.error("valgrind is not here: apt-get install valgrind")
    counts = count()
    print(f"{'instructions of a message':26}{'':>14}{'more':>14}{'more':>8}")
    for name, found in counts.items():
        more = found - counts[SQLITE]
        print(f"{name:26}{found:14,.0f}{more:+14,.0f}{more / counts[SQLITE]:+8.1%}")
    return 0


def count() -> dict[str, float]:
    """Where the binding is -> instructions of a message. Raises RuntimeError."""
    found = {}
    for name, module in (
        (SQLITE, WITHOUT_CHECKS),
        (CACHED, WITHOUT_CHECKS),
        (UNCACHED, _WITHOUT_CACHE),
    ):
        with (
            bridge_to_count() as (directory, bridge, bound),
            _bound(name, directory, bridge, bound),
        ):
            job = message_job(bridge.address[1], bound)
            with counting(bridge.policy_file, directory, module) as each:
                found[name] = each(job, MESSAGES).total
    return found


@contextmanager
def _bound(name: str, directory: Path, bridge: RunningBridge, bound: Bound) -> Iterator[None]:
    """Move the binding of the client to a database, unless a file is counted."""
    if name == SQLITE:
        yield
        return
    with Postgresql(directory) as server:
        policy = yaml.safe_load(bridge.policy_file.read_text("utf-8"))
        del policy["messages"]["bindings"]
        policy["state"] = server.state.address
        bridge.policy_file.write_text(yaml.safe_dump(policy), "utf-8")
        clients = bridge.directory / "pki" / "clients"
        with SharedRegistry(server.state, creates=True) as registry:
            registry.add(binding_of(bound, LabCredential.read(clients, "computer")))
        yield


if __name__ == "__main__":
    sys.exit(main())
