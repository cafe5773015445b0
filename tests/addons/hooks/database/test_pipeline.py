"""Queries on one connection: their results, their failures and their limit, with PostgreSQL."""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import Awaitable, Callable
from typing import Any

import psycopg
import pytest

from ibcm_bridge.addons.hooks.database.pipeline import ConnectionLost, Pipeline
from ibcm_bridge.storage.postgresql import Unresponsive, connection_parameters
from tests.addons.hooks.database.test_shared_bindings import until
from tests.postgresql_server import PostgresqlServer

pytestmark = pytest.mark.needs("postgresql")

NAME = "tested"
ECHO = "SELECT $1, 7::bigint"
EVERY_NUMBER = "SELECT number FROM generate_series(1, $1::int) AS number"
DIVIDE = "SELECT 12 / $1::int"
SLEEP = "SELECT $1 FROM pg_sleep($1::float)"


def run(
    postgresql: PostgresqlServer,
    query: str,
    work: Callable[[Pipeline], Awaitable[None]],
    limit_seconds: float = 20.0,
) -> None:
    """Do something with a connection that has prepared a query."""
    parameters = connection_parameters(postgresql.new_database())

    async def running() -> None:
        connection = await psycopg.AsyncConnection.connect(**parameters)
        await connection.execute(f"PREPARE {NAME} (text) AS {query}")
        pipeline = Pipeline(connection, NAME, limit_seconds)
        try:
            await work(pipeline)
        finally:
            pipeline.end(psycopg.OperationalError("the end of the test"))

    asyncio.run(running())
    # The server notices the end of a connection only after its query, and other tests count them.
    end_connections(postgresql)


async def outcomes(*futures: asyncio.Future[Any]) -> list[Any]:
    """Wait for rows or errors. Of an error, the type."""
    found = await asyncio.gather(*futures, return_exceptions=True)
    return [type(each) if isinstance(each, BaseException) else each for each in found]


def end_connections(postgresql: PostgresqlServer) -> None:
    """Let the server end each connection of the bridge."""
    with postgresql.connect("postgres") as admin:
        admin.execute(
            "SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity "
            "WHERE application_name = 'ibcm-bridge'"
        )


def test_each_query_gets_its_own_rows(postgresql: PostgresqlServer) -> None:
    async def work(pipeline: Pipeline) -> None:
        sent = [pipeline.send(f"text {number} äß") for number in range(300)]
        assert await outcomes(*sent) == [[(f"text {number} äß", 7)] for number in range(300)]
        assert await pipeline.send("later") == [("later", 7)]

    run(postgresql, ECHO, work)


def test_rows_of_any_number_are_read(postgresql: PostgresqlServer) -> None:
    async def work(pipeline: Pipeline) -> None:
        sent = [pipeline.send(str(count)) for count in (0, 1, 50_000, 0, 2)]
        found = await outcomes(*sent)
        assert [len(rows) for rows in found] == [0, 1, 50_000, 0, 2]
        assert found[2][-1] == (50_000,)

    run(postgresql, EVERY_NUMBER, work)


def test_a_query_that_nobody_waits_for_does_not_move_the_rows_of_others(
    postgresql: PostgresqlServer,
) -> None:
    async def work(pipeline: Pipeline) -> None:
        first, gone, last = (pipeline.send(name) for name in ("first", "gone", "last"))
        gone.cancel()
        assert await outcomes(first, last) == [[("first", 7)], [("last", 7)]]

    run(postgresql, ECHO, work)


def test_a_query_that_fails_has_its_error_and_ends_the_connection(
    postgresql: PostgresqlServer,
) -> None:
    async def work(pipeline: Pipeline) -> None:
        sent = [pipeline.send(divisor) for divisor in ("3", "0", "4")]
        assert await outcomes(*sent) == [
            [(4,)],
            psycopg.errors.DivisionByZero,
            ConnectionLost,
        ]
        assert pipeline.ended

    run(postgresql, DIVIDE, work)


def test_an_idle_connection_that_the_server_closes_has_ended(postgresql: PostgresqlServer) -> None:
    async def work(pipeline: Pipeline) -> None:
        assert await pipeline.send("before") == [("before", 7)]
        end_connections(postgresql)
        await until(lambda: pipeline.ended)

    run(postgresql, ECHO, work)


def test_queries_under_way_are_lost_with_the_connection(postgresql: PostgresqlServer) -> None:
    async def work(pipeline: Pipeline) -> None:
        sent = [pipeline.send("20") for _ in range(2)]
        await asyncio.sleep(0.1)
        end_connections(postgresql)
        assert await outcomes(*sent) == [ConnectionLost] * 2

    run(postgresql, SLEEP, work)


@pytest.mark.parametrize("under_way", [0, 2])
def test_a_server_that_is_killed_leaves_no_watched_descriptor(
    postgresql: PostgresqlServer, under_way: int
) -> None:
    """It says no farewell: libpq closes the socket itself, and its number is used again."""

    async def work(pipeline: Pipeline) -> None:
        descriptor = pipeline._libpq.socket
        loop = asyncio.get_running_loop()
        failures: list[dict[str, Any]] = []
        loop.set_exception_handler(lambda _, context: failures.append(context))
        sent = [pipeline.send("20") for _ in range(under_way)]
        await asyncio.sleep(0.1)
        postgresql.kill()
        try:
            found = await asyncio.wait_for(outcomes(*sent), 20)
            assert found == [ConnectionLost] * under_way
            await until(lambda: pipeline.ended)
        finally:
            postgresql.start()
        assert not failures
        # False if it was not watched any longer.
        assert not loop.remove_reader(descriptor)

    run(postgresql, SLEEP, work, limit_seconds=5.0)


def test_a_server_that_does_not_respond_is_left_at_the_limit(postgresql: PostgresqlServer) -> None:
    async def work(pipeline: Pipeline) -> None:
        assert await pipeline.send("before") == [("before", 7)]
        with postgresql.frozen():
            # More than the socket takes, and no send waits.
            began = time.monotonic()
            first = pipeline.send("first")
            others = [pipeline.send("x" * 10_000) for _ in range(300)]
            assert await outcomes(first, *others) == [Unresponsive] + [ConnectionLost] * 300
            assert 0.3 <= time.monotonic() - began < 10
            assert pipeline.ended

    run(postgresql, ECHO, work, limit_seconds=0.3)


def test_the_limit_is_that_of_each_query(postgresql: PostgresqlServer) -> None:
    async def work(pipeline: Pipeline) -> None:
        for _ in range(8):
            assert await pipeline.send("0.25") == [("0.25",)]
        assert not pipeline.ended

    run(postgresql, SLEEP, work, limit_seconds=1.5)


def test_more_than_the_socket_takes_is_sent(postgresql: PostgresqlServer) -> None:
    async def work(pipeline: Pipeline) -> None:
        texts = [str(number) * 50_000 for number in range(200)]
        found = await outcomes(*map(pipeline.send, texts))
        assert found == [[(text, 7)] for text in texts]

    run(postgresql, ECHO, work)


def test_a_query_after_the_end_is_lost(postgresql: PostgresqlServer) -> None:
    async def work(pipeline: Pipeline) -> None:
        pipeline.end(psycopg.OperationalError("the bridge stops"))
        assert await outcomes(pipeline.send("late")) == [ConnectionLost]

    run(postgresql, ECHO, work)


def test_rows_that_cannot_be_read_end_the_connection(postgresql: PostgresqlServer) -> None:
    class Unreadable:
        def set_pgresult(self, _result: object, *, set_loaders: bool) -> None:
            assert set_loaders

        def load_rows(self, *_arguments: object) -> None:
            raise UnicodeDecodeError("utf-8", b"\xff", 0, 1, "invalid start byte")

    async def work(pipeline: Pipeline) -> None:
        pipeline._convert = Unreadable()  # type: ignore[assignment]
        sent = [pipeline.send(name) for name in ("first", "second")]
        assert await outcomes(*sent) == [ConnectionLost] * 2
        assert pipeline.ended

    run(postgresql, ECHO, work)


def test_the_end_closes_the_socket_and_fails_what_is_under_way(
    postgresql: PostgresqlServer,
) -> None:
    async def work(pipeline: Pipeline) -> None:
        descriptor = pipeline._libpq.socket
        sent = pipeline.send("20")
        pipeline.end(psycopg.OperationalError("the bridge stops"))
        with pytest.raises(psycopg.OperationalError, match="the bridge stops"):
            await sent
        with pytest.raises(OSError, match="Bad file descriptor"):
            os.fstat(descriptor)

    run(postgresql, SLEEP, work)
