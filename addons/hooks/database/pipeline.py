"""One connection to the shared database, whose queries wait for no result of another.

psycopg opens the connection. After that, libpq's pipeline mode is used without a cursor, a task and
a timer for each query (`psycopg.pq`): they cost more than the query itself.

https://www.postgresql.org/docs/current/libpq-pipeline-mode.html
"""

from __future__ import annotations

import asyncio
from collections import deque
from typing import Any

import psycopg
from psycopg.adapt import Transformer
from psycopg.pq import ExecStatus, Format
from psycopg.pq.abc import PGresult

from ibcm_bridge.storage.postgresql import Unresponsive

type Rows = list[tuple[Any, ...]]

_ENDS_THE_SESSION = frozenset({"FATAL", "PANIC"})


class ConnectionLost(psycopg.OperationalError):
    """The connection has ended, and another one may get the query."""


class Pipeline:
    """The executions of a prepared query, in their order. Any failure ends the connection."""

    def __init__(
        self, connection: psycopg.AsyncConnection[Any], prepared: str, limit_seconds: float
    ) -> None:
        """`prepared`: the name of a query with one parameter of type text."""
        # psycopg closes a connection that nothing refers to.
        self._connection = connection
        self._libpq = connection.pgconn
        self._prepared = prepared.encode("ascii")
        self._limit = limit_seconds
        self._loop = asyncio.get_running_loop()
        self._sent: deque[tuple[float, asyncio.Future[Rows]]] = deque()
        """The time and the rows of each query without a result; the oldest first."""
        self._result: PGresult | None = None
        """Of the oldest, whose end has not arrived."""
        self._convert = Transformer(connection)
        self._knows_columns = False
        self._timer: asyncio.TimerHandle | None = None
        self._writes = False
        """Whether the socket has not taken everything."""
        self.ended = False
        # A server that reads nothing must not stop the event loop.
        self._libpq.nonblocking = 1
        self._libpq.enter_pipeline_mode()
        # libpq has no number any longer when it has closed the socket after a failure.
        self._socket = self._libpq.socket
        self._loop.add_reader(self._socket, self._read)

    def send(self, parameter: str) -> asyncio.Future[Rows]:
        """Begin an execution. Its rows raise psycopg.Error, and Unresponsive at the time limit."""
        values = [parameter.encode()]
        rows: asyncio.Future[Rows] = self._loop.create_future()
        self._sent.append((self._loop.time(), rows))
        try:
            self._libpq.send_query_prepared(self._prepared, values, result_format=Format.BINARY)
            # The end of a transaction.
            self._libpq.pipeline_sync()
        except psycopg.Error as error:
            self._lose(error)
            return rows
        if self._timer is None:
            self._timer = self._loop.call_later(self._limit, self._watch)
        self._write()
        return rows

    def end(self, error: psycopg.Error) -> None:
        """Close the connection; queries under way fail with this error."""
        if not self.ended:
            self.ended = True
            self._loop.remove_reader(self._socket)
            self._loop.remove_writer(self._socket)
            self._libpq.finish()
        if self._timer is not None:
            self._timer.cancel()
        while self._sent:
            self._fail_oldest(error)

    def _write(self) -> None:
        """Send what the socket takes now, and the rest when it takes more."""
        try:
            is_left = self._libpq.flush() == 1
        except psycopg.OperationalError as error:
            self._lose(error)
            return
        if is_left and not self._writes:
            self._loop.add_writer(self._socket, self._write)
        elif self._writes and not is_left:
            self._loop.remove_writer(self._socket)
        self._writes = is_left

    def _read(self) -> None:
        try:
            self._libpq.consume_input()
            while self._sent and not self._libpq.is_busy():
                result = self._libpq.get_result()
                if result is None:
                    if self._result is None:
                        return
                elif result.status == ExecStatus.TUPLES_OK:
                    self._result = result
                elif result.status == ExecStatus.PIPELINE_SYNC:
                    self._finish_oldest()
                else:
                    self._fail(psycopg.errors.error_from_result(result))
                    return
        except Exception as error:
            # Whatever it is: no request waits for ever.
            self._lose(error)

    def _finish_oldest(self) -> None:
        result, self._result = self._result, None
        assert result is not None, "an execution has a result"
        # The types of the columns are looked up once.
        self._convert.set_pgresult(result, set_loaders=not self._knows_columns)
        self._knows_columns = True
        found = self._convert.load_rows(0, result.ntuples, tuple)
        _, rows = self._sent.popleft()
        if not rows.done():
            rows.set_result(found)

    def _fail(self, error: psycopg.Error) -> None:
        """Fail the oldest query with its error, unless that is the end of the session."""
        if error.diag.severity_nonlocalized not in _ENDS_THE_SESSION:
            self._fail_oldest(error)
        self._lose(error)

    def _fail_oldest(self, error: psycopg.Error) -> None:
        _, rows = self._sent.popleft()
        if not rows.done():
            rows.set_exception(error)

    def _lose(self, error: Exception) -> None:
        self.end(ConnectionLost(str(error)))

    def _watch(self) -> None:
        """Look at the oldest query. One timer for all costs less than one for each."""
        self._timer = None
        if not self._sent:
            return
        left = self._sent[0][0] + self._limit - self._loop.time()
        if left > 0:
            self._timer = self._loop.call_later(left, self._watch)
            return
        # Without a cancel request: a server that is frozen does not respond to that either.
        error = Unresponsive(self._limit)
        self._fail_oldest(error)
        self._lose(error)
