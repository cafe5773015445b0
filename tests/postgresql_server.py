"""A PostgreSQL server of the tests, from Debian's package, at a UNIX socket.

The server does not run as root, so a test that does starts it as the user `postgres`.
"""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psycopg
import pytest
from cryptography.x509 import Certificate

from ibcm_bridge.lab.pki.certificates import LabCredential, pem
from ibcm_bridge.policy.policy import StateDatabase
from ibcm_bridge.storage.postgresql_schema import SCHEMA

from .needs import demand, postgresql_programs

_TLS = (("cert", "pem"), ("key", "key"))

USER = "postgres"
DATABASE = "state"


class PostgresqlServer:
    """A server with one database, which is emptied for each test."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.socket = folder / "socket"
        self.data = folder / "data"
        self.port = 5432
        """Of the socket's name, and of TCP if a test sets `listen_addresses`."""
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def pid(self) -> int:
        """The process id of the running server."""
        assert self._process is not None
        return self._process.pid

    @property
    def address(self) -> str:
        """The address of its database, as `state` of a policy has it."""
        return f"postgresql:///{DATABASE}?host={self.socket}&user={USER}"

    def create(self) -> None:
        """Make the files of the server."""
        self._make_folders()
        command = [
            _program("initdb"), "--no-sync", "--auth=trust", f"--username={USER}",
            "--encoding=UTF8", "--locale=C", str(self.data),
        ]  # fmt: skip
        subprocess.run(command, check=True, capture_output=True, timeout=120, **as_user())

    def create_standby(self, primary: PostgresqlServer) -> None:
        """Make the files of a standby of a running server."""
        self._make_folders()
        command = [
            _program("pg_basebackup"), "--host", str(primary.socket), "--username", USER,
            "--pgdata", str(self.data), "--write-recovery-conf", "--checkpoint=fast", "--no-sync",
        ]  # fmt: skip
        subprocess.run(command, check=True, capture_output=True, timeout=120, **as_user())

    def _make_folders(self) -> None:
        self.socket.mkdir()
        if os.geteuid() == 0:
            shutil.chown(self.folder, USER, USER)
            shutil.chown(self.socket, USER, USER)

    def with_tls(self, credential: LabCredential, issuing: Certificate) -> list[str]:
        """Write a certificate and its issuer. Return the settings to start with."""
        for name in ("tls.key", "tls.pem"):
            (self.folder / name).unlink(missing_ok=True)
        credential.write(self.folder, "tls")
        with (self.folder / "tls.pem").open("ab") as chain:
            chain.write(pem(issuing))
        if os.geteuid() == 0:
            shutil.chown(self.folder / "tls.key", USER, USER)
        return ["ssl=on", *(f"ssl_{kind}_file={self.folder}/tls.{end}" for kind, end in _TLS)]

    def start(self, *settings: str, prefix: Sequence[str] = ()) -> None:
        """Start it, and wait until it accepts connections. A `prefix` begins as root."""
        options = [
            "listen_addresses=", f"port={self.port}", f"unix_socket_directories={self.socket}",
            "fsync=off", "max_connections=60", "shared_buffers=16MB", *settings,
        ]  # fmt: skip
        command = [_program("postgres"), "-D", str(self.data)]
        for option in options:
            command += ["-c", option]
        log = (self.folder / "log").open("ab")
        with log:
            user = as_user()
            if prefix:
                become = f"--reuid={USER}", f"--regid={USER}", "--clear-groups"
                command, user = [*prefix, "setpriv", *become, *command], {}
            self._process = subprocess.Popen(
                command, stdout=log, stderr=log, cwd=self.folder, **user
            )
        end = time.monotonic() + 60
        while True:
            try:
                self.connect("postgres").close()
                return
            except psycopg.OperationalError:
                if time.monotonic() > end or self._process.poll() is not None:
                    raise
                time.sleep(0.05)

    def stop(self) -> None:
        """End it at once, with all connections."""
        process, self._process = self._process, None
        if process is not None:
            process.send_signal(signal.SIGCONT)
            process.send_signal(signal.SIGQUIT)
            process.wait(30)

    def has_ended(self) -> bool:
        """Whether it has ended by itself."""
        return self._process is None or self._process.poll() is not None

    def kill(self) -> None:
        """End all of its processes by SIGKILL."""
        process, self._process = self._process, None
        assert process is not None
        # One that is left would keep the next server away.
        pids = [process.pid, *_stopped(process.pid)]
        for pid in pids:
            os.kill(pid, signal.SIGKILL)
        process.wait(30)
        end = time.monotonic() + 30
        while any(map(_is_running, pids)):
            assert time.monotonic() < end, "killed, but still running"
            time.sleep(0.01)

    @contextmanager
    def frozen(self) -> Iterator[None]:
        """Stop all processes of the server: connections stay open, and nothing responds."""
        assert self._process is not None
        parent = self._process.pid
        children = _stopped(parent)
        for child in children:
            os.kill(child, signal.SIGSTOP)
        try:
            yield
        finally:
            # The parent last: until then, the process id of a child that has ended is its own.
            for pid in (*children, parent):
                os.kill(pid, signal.SIGCONT)

    @contextmanager
    def read_only(self) -> Iterator[None]:
        """End all connections, and refuse changes in those from now on, which stay open."""
        with self.connect("postgres") as admin:
            admin.execute(f"ALTER DATABASE {DATABASE} SET default_transaction_read_only = on")
            try:
                admin.execute(
                    "SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity "
                    f"WHERE datname = '{DATABASE}'"
                )
                yield
            finally:
                admin.execute(f"ALTER DATABASE {DATABASE} RESET default_transaction_read_only")

    def connect(self, database: str) -> psycopg.Connection[Any]:
        """Connect as the administrator."""
        return psycopg.connect(
            host=str(self.socket),
            port=self.port,
            user=USER,
            dbname=database,
            autocommit=True,
            connect_timeout=5,
        )

    def new_database(self) -> StateDatabase:
        """The database with its tables, without rows, as `identity init` leaves it."""
        state = self.empty_database()
        with self.connect(DATABASE) as connection:
            SCHEMA.migrate(connection)
        return state

    def empty_database(self) -> StateDatabase:
        """Empty the database. To make another one for each test would take half a second each."""
        with self.connect(DATABASE) as connection:
            connection.execute("DROP SCHEMA IF EXISTS ibcm_bridge CASCADE")
        parameters = (("host", str(self.socket)), ("user", USER), ("dbname", DATABASE))
        return StateDatabase(f"postgresql:///{DATABASE}", parameters)


def as_user() -> dict[str, Any]:
    """The arguments of a process that does not run as root."""
    if os.geteuid() != 0:
        return {}
    return {"user": USER, "group": USER, "extra_groups": []}


def _program(name: str) -> str:
    folder = postgresql_programs()
    assert folder is not None
    return str(folder / name)


def _stopped(pid: int) -> list[int]:
    """Stop a process. Return its children: it starts no other, and the ids of all stay theirs."""
    os.kill(pid, signal.SIGSTOP)
    os.waitpid(pid, os.WUNTRACED)
    listed = Path(f"/proc/{pid}/task/{pid}/children").read_text("ascii")
    return [int(child) for child in listed.split()]


def _is_running(pid: int) -> bool:
    """Whether a process has not ended. Without a parent that waits, it stays as a zombie (Z)."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_text("utf-8", "replace")
    except OSError:
        return False
    return stat.rpartition(")")[2].split()[0] not in "ZX"


@contextmanager
def postgresql_server() -> Iterator[PostgresqlServer]:
    """A running server."""
    demand("postgresql")
    with _new_server() as server:
        server.create()
        server.start()
        with server.connect("postgres") as connection:
            connection.execute(f"CREATE DATABASE {DATABASE}")
        yield server


@contextmanager
def standby_of(primary: PostgresqlServer) -> Iterator[PostgresqlServer]:
    """A running standby."""
    with _new_server() as server:
        server.create_standby(primary)
        server.start()
        yield server


@contextmanager
def _new_server() -> Iterator[PostgresqlServer]:
    """A server in a folder with a path short enough for a socket."""
    folder = Path(tempfile.mkdtemp(prefix="ibcm-pg-"))
    server = PostgresqlServer(folder)
    try:
        yield server
    finally:
        server.stop()
        shutil.rmtree(folder)


@pytest.fixture(scope="session")
def postgresql() -> Iterator[PostgresqlServer]:
    with postgresql_server() as server:
        yield server


@pytest.fixture
def state(postgresql: PostgresqlServer) -> StateDatabase:
    """A database without rows."""
    return postgresql.new_database()


@pytest.fixture
def admin(
    postgresql: PostgresqlServer, state: StateDatabase
) -> Iterator[psycopg.Connection[object]]:
    """A connection of the administrator to it."""
    with postgresql.connect(dict(state.parameters)["dbname"]) as connection:
        yield connection
