"""What an operator wants to know of the database of a policy, without a change in it.

1. Each host of several is asked for its role.
2. A connection as the bridge opens it: certificate and name verified, not to a standby.
3. The version of the schema. Without one, it is created in a transaction that is rolled back.
4. A row is written to each table, in a transaction that is rolled back.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from enum import Enum
from typing import Any

import psycopg

from ibcm_bridge.policy.policy import StateDatabase
from ibcm_bridge.storage.postgresql import (
    LIMIT_SECONDS,
    cause,
    configure,
    connection_parameters,
    limited,
)
from ibcm_bridge.storage.postgresql_schema import VERSION, migrate, newer, schema_version
from ibcm_bridge.storage.postgresql_statements import BINDINGS, UPLOADS


class Severity(Enum):
    """How much a `Found` matters."""

    GOOD = "good"
    RISK = "risk"
    """The bridge works, but not in every case."""
    BROKEN = "broken"
    """The bridge does not work."""


@dataclass(frozen=True, slots=True)
class Found:
    """One sentence about the database, which continues its address."""

    severity: Severity
    text: str


def examine(state: StateDatabase, limit_seconds: float = LIMIT_SECONDS) -> Iterator[Found]:
    """Yield what is found. It ends with the first problem of the database.

    A statement has `limit_seconds`, and so has a connection (libpq: two seconds for an address).
    """
    parameters = connection_parameters(state)
    hosts = _hosts(parameters)
    if len(hosts) > 1:
        for host in hosts:
            yield _role(parameters | host, limit_seconds)
    try:
        with psycopg.connect(**parameters) as connection, limited(connection, limit_seconds):
            configure(connection)
            yield Found(Severity.GOOD, _connected(connection))
            yield from _schema(connection)
    except psycopg.Error as error:
        yield Found(Severity.BROKEN, cause(error))


def _hosts(parameters: dict[str, Any]) -> list[dict[str, str]]:
    """The parameters of each host; libpq has one port for all, or one for each."""
    hosts = parameters["host"].split(",")
    ports = parameters.get("port", "").split(",")
    each = ports * len(hosts) if len(ports) == 1 else ports
    return [{"host": host, "port": port} for host, port in zip(hosts, each, strict=False)]


def _role(parameters: dict[str, Any], limit_seconds: float) -> Found:
    host = parameters["host"] + (f":{parameters['port']}" if parameters["port"] else "")
    try:
        with (
            psycopg.connect(**{**parameters, "target_session_attrs": "any"}) as connection,
            limited(connection, limit_seconds),
        ):
            found = connection.execute("SELECT pg_is_in_recovery()").fetchone()
    except psycopg.Error as error:
        return Found(Severity.RISK, f"{host} {cause(error)}")
    assert found is not None
    role = "a standby; it is used only after its promotion" if found[0] else "the primary"
    return Found(Severity.GOOD, f"{host} is {role}")


def _connected(connection: psycopg.Connection) -> str:
    found = connection.execute(
        "SELECT current_setting('server_version'), (SELECT version FROM pg_stat_ssl WHERE pid = "
        "pg_backend_pid())"
    ).fetchone()
    assert found is not None
    version, tls = found
    how = f"over {tls}, its certificate verified" if tls else "at a UNIX socket, without TLS"
    return f"PostgreSQL {version} at {connection.info.host}, connected {how}"


def _schema(connection: psycopg.Connection) -> Iterator[Found]:
    version = schema_version(connection)
    if version > VERSION:
        yield Found(Severity.BROKEN, newer(version))
        return
    if 0 < version < VERSION:
        # A trial of the migration would lock tables that bridges use.
        text = f"the schema has version {version}; `run` migrates it to {VERSION}, and then bridges"
        yield Found(Severity.RISK, f"{text} of an older version cannot start")
        return
    with connection.transaction(force_rollback=True):
        if not version and (problem := migrate(connection)) is not None:
            yield Found(Severity.BROKEN, problem)
            return
        _write(connection)
    text = f"the schema has version {version}" if version else "no schema yet; `run` creates it"
    yield Found(Severity.GOOD, f"{text}; bindings and uploads can be written")


def _write(connection: psycopg.Connection) -> None:
    """Write a row to each table. Nobody else can see them."""
    name = "ibcm-bridge check"
    binding = (name, "", "", "", "", "", b"")
    session = (name, name, name, name, name, 0.0)
    for statement, values in (
        (BINDINGS.add, binding),
        (UPLOADS.add, session),
        (UPLOADS.keep, (name, 0, b"")),
    ):
        connection.execute(statement, values)
