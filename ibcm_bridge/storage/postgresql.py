"""A PostgreSQL database that the bridges of several machines share.

1. The schema has a version (`postgresql_schema`). A bridge with a newer one migrates it when it
   starts; a bridge with an older one is refused, unless the schema is compatible with it.
2. A statement has a time limit. At its end the connection is shut down at the socket: a server that
   does not respond cannot be asked to cancel a statement, as psycopg does at other times.
3. Every error message has the address, without a password, and the cause.

psycopg and psycopg_pool are the extra `postgresql`.
"""

from __future__ import annotations

import contextlib
import os
import socket
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any

import psycopg
from psycopg_pool import ConnectionPool, PoolTimeout

from ibcm_bridge.policy.policy import StateDatabase
from ibcm_bridge.storage.database import DatabaseError
from ibcm_bridge.storage.postgresql_schema import NO_TABLES, SCHEMA, TablesInUse, stored_schema

LIMIT_SECONDS = 2.0
"""The time limit of a statement, and of the wait for a connection."""

LOCK_SECONDS = 1.5
"""How long a statement waits for rows or a table that another transaction has locked."""

_CONNECTION: Mapping[str, object] = {
    # libpq's least timeout.
    "connect_timeout": 2,
    "application_name": "ibcm-bridge",
    "client_encoding": "utf-8",
    "gssencmode": "disable",
    # Of several hosts: the one that is not a standby.
    "target_session_attrs": "primary",
    "keepalives_idle": 10,
    "keepalives_interval": 5,
    "keepalives_count": 2,
    # libpq and the server give up a connection whose other end does not acknowledge data (ms).
    "tcp_user_timeout": 10_000,
}

STORED = (
    # Only what is stored is acknowledged. Off would lose changes when the server is killed.
    "SELECT set_config('synchronous_commit', 'on', false)"
    " WHERE current_setting('synchronous_commit') = 'off'"
)

SESSION = (
    # The server itself ends a statement that takes long, and a transaction of a machine that died.
    "SET statement_timeout = '5s'",
    f"SET lock_timeout = '{LOCK_SECONDS * 1000:.0f}ms'",
    "SET idle_in_transaction_session_timeout = '10s'",
    "SET tcp_user_timeout = '10s'",
    STORED,
)


def connection_parameters(state: StateDatabase) -> dict[str, Any]:
    """The parameters of every connection. libpq reads the password from a file or PGPASSWORD."""
    return {**_CONNECTION, **dict(state.parameters), "autocommit": True}


class PostgresqlDatabase:
    """An open database (`stores.Database`), for several threads."""

    def __init__(
        self,
        state: StateDatabase,
        error: type[DatabaseError],
        *,
        connections: int,
        limit_seconds: float | None = LIMIT_SECONDS,
        locks_rows: bool = False,
        migrates: bool = True,
        creates: bool = False,
    ) -> None:
        """Connect, and migrate the schema. `limit_seconds` is None for the command line.

        A migration has no time limit. An older schema is an error, unless this `migrates`, and so
        is a database without tables, unless this `creates` them.
        `locks_rows`: another transaction only locks rows, and never a whole table.
        """
        self._place = state.address
        self._error = error
        self._limit = limit_seconds
        self._locks_rows = locks_rows
        try:
            with psycopg.connect(**connection_parameters(state)) as connection:
                with limited(connection, limit_seconds):
                    stored = stored_schema(connection)
                self.created = not stored.version
                if self.created and not creates:
                    raise self.error(NO_TABLES)
                if migrates and stored.version < SCHEMA.version:
                    stored = SCHEMA.migrate(connection)
        except psycopg.Error as found:
            raise self.explained(found) from found
        if (problem := SCHEMA.refusal(stored)) is not None:
            raise self.error(problem)
        self._pool = ConnectionPool(
            kwargs=connection_parameters(state),
            min_size=0,
            max_size=connections,
            configure=configure if limit_seconds is not None else _store_what_is_acknowledged,
            timeout=LIMIT_SECONDS if limit_seconds is None else limit_seconds,
            # A failed attempt to connect is not repeated in the background: the next one begins it.
            reconnect_timeout=0,
            open=True,
        )

    def problem(self) -> str | None:
        """Return None: the database outlives this process."""
        return None

    def close(self) -> None:
        """Close all connections."""
        self._pool.close(timeout=LIMIT_SECONDS)

    def one(self, statement: str, values: Any = ()) -> tuple[Any, ...] | None:
        """The first row of a result; None without rows."""
        with self._connection() as connection:
            return connection.execute(statement, values, binary=True).fetchone()

    def all(self, statement: str, values: Any = ()) -> list[tuple[Any, ...]]:
        """All rows of a result."""
        with self._connection() as connection:
            return connection.execute(statement, values, binary=True).fetchall()

    @contextlib.contextmanager
    def transaction(self) -> Iterator[PostgresqlTransaction]:
        """An atomic transaction."""
        with self._connection() as connection, connection.transaction():
            yield PostgresqlTransaction(connection)

    def explained(self, error: psycopg.Error | ValueError) -> DatabaseError:
        """Convert an error to one with a place and a cause. A ValueError is from an invalid row."""
        if isinstance(error, ValueError):
            return self.error(f"is damaged: {error}")
        found = self.error(cause(error))
        found.of_statement = _is_of_statement(error, locks_rows=self._locks_rows)
        return found

    def error(self, words: str) -> DatabaseError:
        """An error with the address of this database, about some rows of it."""
        found = self._error(f"{self._place} {words}")
        found.of_statement = True
        return found

    @contextlib.contextmanager
    def _connection(self) -> Iterator[psycopg.Connection]:
        try:
            connection = self._usable()
            try:
                with limited(connection, self._limit):
                    yield connection
            except psycopg.errors.ReadOnlySqlTransaction:
                # A new connection has the settings of then, and the other hosts are tried, too.
                connection.close()
                raise
            finally:
                self._pool.putconn(connection)
        except psycopg.Error as error:
            raise self.explained(error) from error

    def _usable(self) -> psycopg.Connection:
        """Take a connection that the server has not closed, as it does when it restarts."""
        # After a restart of the server each connection of the pool is closed, and found so here.
        for left in reversed(range(self._pool.max_size + 1)):
            connection = self._pool.getconn()
            try:
                # The check of the pool itself has no time limit.
                with limited(connection, self._limit):
                    connection.execute("SELECT 1")
                return connection
            except BaseException as error:
                closed = connection.closed and not isinstance(error, Unresponsive)
                self._pool.putconn(connection)
                if not closed or not left or not isinstance(error, psycopg.OperationalError):
                    raise
        raise AssertionError("the last attempt returns or raises")


class PostgresqlTransaction:
    """See `stores.Transaction`."""

    def __init__(self, connection: psycopg.Connection) -> None:
        self._connection = connection

    def execute(self, statement: str, values: Any = (), /) -> psycopg.Cursor[Any]:
        """Execute a statement. bytea is transferred as it is, not as digits."""
        return self._connection.execute(statement, values, binary=True)

    def copy(self, statement: str, rows: Iterable[Sequence[object]]) -> None:
        """Send rows to a COPY statement."""
        with self._connection.cursor() as cursor, cursor.copy(statement) as copy:
            for row in rows:
                copy.write_row(row)


def cause(error: psycopg.Error) -> str:
    """The cause of an error, for the operator: one line, without values of a statement."""
    if isinstance(error, PoolTimeout):
        return "cannot be connected to, or all connections are in use"
    if isinstance(error, (Unresponsive, TablesInUse)):
        return str(error)
    words = _WORDS.get(error.sqlstate or "")
    if words is not None:
        return words
    if error.diag.message_primary is not None:
        return f"refuses a statement: {error.diag.message_primary}"
    lines = str(error).strip().splitlines()
    return f"cannot be used: {lines[0] if lines else type(error).__name__}"


_OF_STATEMENT = (
    psycopg.DataError,
    psycopg.IntegrityError,
    psycopg.errors.DeadlockDetected,
    psycopg.errors.SerializationFailure,
)
"""The rows of a statement are the cause. Others are of the whole database."""


def _is_of_statement(error: psycopg.Error, *, locks_rows: bool) -> bool:
    if isinstance(error, psycopg.errors.LockNotAvailable):
        # Of those that wait for one row, the server names it only to the first.
        return locks_rows or error.diag.context is not None
    return isinstance(error, _OF_STATEMENT)


# https://www.postgresql.org/docs/current/errcodes-appendix.html
# None is about the start of a connection: libpq has no code for that, only the words of the server.
_WORDS = {
    "25006": "is read-only: a standby, or default_transaction_read_only is set",
    "53100": "cannot grow: the disk is full; free some space",
    "55P03": f"has had these rows locked by another transaction for {LOCK_SECONDS:g} s",
    "57014": "ended a statement that took 5 s",
    "57P01": "is being shut down",
}


@contextlib.contextmanager
def limited(connection: psycopg.Connection, seconds: float | None) -> Iterator[Callable[[], None]]:
    """Shut down a connection after a time, in whatever statement it is. None: no limit.

    The function that it yields begins the time again.
    """
    if seconds is None:
        yield lambda: None
        return
    with cut_of(connection, seconds) as cut:
        timer = _started(seconds, cut)

        def renew() -> None:
            nonlocal timer
            timer.cancel()
            timer = _started(seconds, cut)

        try:
            yield renew
        finally:
            timer.cancel()


def _started(seconds: float, cut: Cut) -> threading.Timer:
    timer = threading.Timer(seconds, cut)
    timer.daemon = True
    timer.start()
    return timer


@contextlib.contextmanager
def cut_of(connection: psycopg.BaseConnection[Any], seconds: float) -> Iterator[Cut]:
    """Yield the function that shuts down a connection. Raise Unresponsive if that was called."""
    cut = Cut(connection.fileno())
    try:
        yield cut
    except psycopg.OperationalError as error:
        if cut.done:
            raise Unresponsive(seconds) from error
        raise
    finally:
        cut.end()


class Unresponsive(psycopg.OperationalError):
    """The connection was shut down at the time limit."""

    def __init__(self, seconds: float) -> None:
        super().__init__(f"has not responded for {seconds:g} s")


class Cut:
    """Shuts down the socket of a connection, unless that ended before. In any thread.

    The other end gets no cancel request, and nothing waits for it.
    """

    def __init__(self, fileno: int) -> None:
        """Raise psycopg.OperationalError if the process has no file descriptor left."""
        # A number of its own, because that of the connection can be another file's at that time.
        try:
            self._socket = socket.socket(fileno=os.dup(fileno))
        except OSError as error:
            raise psycopg.OperationalError(str(error.strerror)) from error
        self._lock = threading.Lock()
        self.done = False

    def __call__(self) -> None:
        """Shut down the socket."""
        with self._lock, contextlib.suppress(OSError):
            self.done = True
            self._socket.shutdown(socket.SHUT_RDWR)

    def end(self) -> None:
        """Do not shut it down any longer."""
        with self._lock:
            self._socket.close()


def _store_what_is_acknowledged(connection: psycopg.Connection) -> None:
    connection.execute(STORED)


def configure(connection: psycopg.Connection) -> None:
    """Set up the session of a bridge."""
    for statement in SESSION:
        connection.execute(statement)
