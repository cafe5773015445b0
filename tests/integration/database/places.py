"""PostgreSQL servers that fail in different ways."""

from __future__ import annotations

import contextlib
import itertools
import os
import pwd
import shutil
import subprocess
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

import psycopg
import pytest

from ibcm_bridge.identity.bindings import Source
from ibcm_bridge.lab.namespaces import Namespace
from ibcm_bridge.lab.pki.authorities import LabPki
from ibcm_bridge.storage.binding_rows import row_of
from ibcm_bridge.storage.postgresql_statements import BINDINGS, COUNT_BINDINGS
from tests.integration.faults import SOON, full
from tests.integration.reading import until
from tests.little_room import on_a_disk
from tests.needs import demand
from tests.postgresql_server import DATABASE, USER, PostgresqlServer, postgresql_server
from tests.storage.test_binding_stores import numbered


@dataclass(frozen=True)
class Place:
    """A server, and the address of its database for a bridge."""

    server: PostgresqlServer
    address: str
    prefix: tuple[str, ...] = ()
    """Before the command of the bridge."""
    start: Callable[[], None] | None = None
    """Starts the server as it was, if that is not without settings."""
    disk: Path | None = None
    """A small disk of the server, as this process sees it."""

    def guids(self) -> list[str]:
        """The names that are bound to a client GUID, without those of an import."""
        with self.server.connect(DATABASE) as admin:
            found = admin.execute(
                "SELECT guid FROM ibcm_bridge.bindings WHERE source != %s ORDER BY guid",
                (Source.IMPORT,),
            )
            return [str(guid) for (guid,) in found]

    def listening(self) -> int:
        """The number of bridges that get notifications."""
        with self.server.connect(DATABASE) as admin:
            return len(admin.execute(LISTENING).fetchall())


# The others are their heartbeat, and the count for the metrics. Before the first request, no
# connection for changes has one.
LISTENING = (
    "SELECT pid FROM pg_stat_activity WHERE application_name = 'ibcm-bridge' "
    f"AND (query LIKE 'LISTEN%' OR query IN ('SELECT 1', '{COUNT_BINDINGS}')) AND state = 'idle'"
)


@contextmanager
def at_a_socket(_: Path, __: LabPki) -> Iterator[Place]:
    """A server at a UNIX socket."""
    with postgresql_server() as server:
        yield Place(server, server.address)


@contextmanager
def on_a_small_disk(folder: Path, pki: LabPki) -> Iterator[Place]:
    """A server whose tables are on a disk of their own. Its log of changes is on another one."""
    demand("root", "setpriv")
    with at_a_socket(folder, pki) as place:
        server = place.server
        server.stop()
        disk = server.folder / "disk"
        disk.mkdir()
        server.start(prefix=on_a_disk(disk, _options("6m")))
        with server.connect("postgres") as admin:
            admin.execute(f"CREATE TABLESPACE small LOCATION '{disk}'")
            admin.execute(f"ALTER DATABASE {DATABASE} SET default_tablespace = small")
        yield replace(place, disk=Path(f"/proc/{server.pid}/root{disk}"))


@contextmanager
def with_its_log_on_a_small_disk(folder: Path, pki: LabPki) -> Iterator[Place]:
    """A server whose log of changes (pg_wal) is on a disk that outlives it."""
    demand("root", "setpriv")
    with at_a_socket(folder, pki) as place:
        server = place.server
        server.stop()
        disk, log = server.folder / "disk", server.data / "pg_wal"
        disk.mkdir()
        # One file of the log has 16 MiB. There is room for two.
        command = [*on_a_disk(disk, _options("40m")), "sh", "-c", "echo && exec sleep infinity"]
        with subprocess.Popen(command, stdout=subprocess.PIPE) as mounted:
            assert mounted.stdout is not None
            try:
                assert mounted.stdout.readline()
                seen = Path(f"/proc/{mounted.pid}/root{disk}")
                copy = ["cp", "--archive", str(log), str(seen)]
                subprocess.run(copy, check=True, timeout=20)
                shutil.rmtree(log)
                log.symlink_to(disk / log.name)
                prefix = ("nsenter", f"--mount=/proc/{mounted.pid}/ns/mnt", "--")

                def start() -> None:
                    server.start("min_wal_size=32MB", "max_wal_size=32MB", prefix=prefix)

                start()
                yield replace(place, start=start, disk=seen)
                server.stop()
            finally:
                mounted.kill()


def _options(size: str) -> str:
    """Of tmpfs, for the user of the server."""
    owner = pwd.getpwnam(USER)
    return f"size={size},mode=700,uid={owner.pw_uid},gid={owner.pw_gid}"


NETWORK = "203.0.113"
NAME = "db.corp.example"
HOSTS = 'mount --bind "$0" /etc/hosts && exec "$@"'


@contextmanager
def in_another_namespace(folder: Path, pki: LabPki) -> Iterator[Place]:
    """A server in a network namespace, with TLS. The test, and so the bridge, runs in another."""
    demand("root", "ip")
    here, there = (f"ibcm-{side}-{os.getpid()}" for side in ("bridge", "db"))
    hosts = folder / "hosts"
    hosts.write_text(f"{NETWORK}.2 {NAME}\n", "ascii")
    with ExitStack() as stack:
        for name in (here, there):
            ip("netns", "add", name)
            stack.callback(ip, "netns", "del", name)
            ip("-n", name, "link", "set", "lo", "up")
        ip(
            "-n",
            here,
            "link",
            "add",
            "db",
            "type",
            "veth",
            "peer",
            "name",
            "bridge",
            "netns",
            there,
        )
        for number, (name, link) in enumerate(((here, "db"), (there, "bridge")), 1):
            ip("-n", name, "address", "add", f"{NETWORK}.{number}/24", "dev", link)
            ip("-n", name, "link", "set", link, "up")
        with Namespace(there).inside():
            place = stack.enter_context(at_a_socket(folder, pki))
            server = place.server
            server.stop()
            with (server.data / "pg_hba.conf").open("a") as access:
                access.write(f"hostssl all all {NETWORK}.0/24 trust\n")
            settings = server.with_tls(pki.server(NAME), pki.issuing)
            server.start("listen_addresses=*", *settings)
        stack.enter_context(Namespace(here).inside())
        address = f"postgresql://{USER}@{NAME}:{server.port}/{DATABASE}?sslrootcert=pki/root.pem"
        prefix = ("unshare", "--mount", "sh", "-c", HOSTS, str(hosts))
        yield Place(server, address, prefix)


def ip(*arguments: str) -> None:
    """ip(8)."""
    subprocess.run(["ip", *arguments], check=True, capture_output=True, timeout=20)


@contextmanager
def stopped(place: Place) -> Iterator[None]:
    """It refuses connections, and has ended those that were open."""
    place.server.stop()
    try:
        yield
    finally:
        place.server.start()


@contextmanager
def frozen(place: Place) -> Iterator[None]:
    """It accepts connections, and does nothing."""
    with place.server.frozen():
        yield


@contextmanager
def read_only(place: Place) -> Iterator[None]:
    """It refuses changes, in the connections from now on."""
    with place.server.read_only():
        yield


@contextmanager
def full_disk(place: Place) -> Iterator[None]:
    """No table can grow."""
    assert place.disk is not None
    with full(place.disk):
        with pytest.raises(psycopg.errors.DiskFull):
            fill_page(place.server)
        yield


@contextmanager
def full_log(place: Place) -> Iterator[None]:
    """The log cannot grow: the server ends, and cannot be started until there is room."""
    assert place.disk is not None
    assert place.start is not None
    with full(place.disk):
        until(lambda: _has_ended(place.server), "the end of the server", SOON)
        with pytest.raises(psycopg.OperationalError):
            place.start()
        assert "No space left on device" in (place.server.folder / "log").read_text("utf-8")
        yield
    place.start()


def _has_ended(server: PostgresqlServer) -> bool:
    """Write to the log, in which one message fills a sixteenth of a file."""
    if server.has_ended():
        return True
    with contextlib.suppress(psycopg.OperationalError), server.connect("postgres") as admin:
        while True:
            admin.execute("SELECT pg_logical_emit_message(false, '', repeat(' ', 1000000))")
    return False


def fill_page(server: PostgresqlServer) -> None:
    """Add bindings as long as there is room for one."""
    with server.connect(DATABASE) as admin:
        for number in itertools.count():
            admin.execute(BINDINGS.add, row_of(numbered(number)))


@contextmanager
def cut(place: Place) -> Iterator[None]:
    """Nothing arrives in either direction: neither RST nor FIN."""
    there = f"ibcm-db-{os.getpid()}"
    ip("-n", there, "link", "set", "bridge", "down")
    try:
        yield
    finally:
        ip("-n", there, "link", "set", "bridge", "up")


@dataclass(frozen=True)
class Fault:
    """A failure of a database, and a server that can have it."""

    place: Callable[[Path, LabPki], AbstractContextManager[Place]]
    meanwhile: Callable[[Place], AbstractContextManager[None]]
    can_be_read: bool = False


FAULTS = {
    "stopped": Fault(at_a_socket, stopped),
    "frozen": Fault(at_a_socket, frozen),
    "read-only": Fault(at_a_socket, read_only, can_be_read=True),
    "full": Fault(on_a_small_disk, full_disk, can_be_read=True),
    "full, and its log, too": Fault(with_its_log_on_a_small_disk, full_log),
    "cut off": Fault(in_another_namespace, cut),
}
