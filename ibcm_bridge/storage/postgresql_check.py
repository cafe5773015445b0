"""What an operator wants to know of the database of a policy, without a change in it.

1. Each host of several is asked for its role.
2. A connection as the bridge opens it: certificate and name verified, not to a standby.
3. The version of the schema. Without one, it is a problem if `run` does not create it. Otherwise it
   is created in a transaction that is rolled back.
4. Each statement of a bridge (`postgresql_trials`), in a transaction that is rolled back.
5. A notification from one connection to another. A pooler can lose it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
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
from ibcm_bridge.storage.postgresql_schema import NO_TABLES, SCHEMA, stored_schema
from ibcm_bridge.storage.postgresql_trials import Trial, failed_trials


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


def examine(
    state: StateDatabase, limit_seconds: float = LIMIT_SECONDS, *, creates: bool = False
) -> Iterator[Found]:
    """Yield what is found: every missing right, or the first other problem of the database.

    `creates`: whether `run` creates the schema in a database without one.
    A step has `limit_seconds`, and so has a connection (libpq: two seconds for an address).
    """
    parameters = connection_parameters(state)
    hosts = _hosts(parameters)
    if len(hosts) > 1:
        for host in hosts:
            yield _role(parameters | host, limit_seconds)
    try:
        with (
            psycopg.connect(**parameters) as connection,
            limited(connection, limit_seconds) as renew,
        ):
            configure(connection)
            yield Found(Severity.GOOD, _connected(connection))
            renew()
            yield from _schema(connection, renew, creates=creates)
        yield from _notifications(parameters, limit_seconds)
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
    # The server knows only its own connection, which is that of a pooler if there is one.
    found = connection.execute(
        "SELECT current_setting('server_version'), (SELECT version FROM pg_stat_ssl"
        " WHERE pid = %s AND pid = pg_backend_pid())",
        (connection.info.backend_pid,),
    ).fetchone()
    assert found is not None
    version, tls = found
    how = "at a UNIX socket, without TLS"
    if connection.pgconn.ssl_in_use:
        how = f"over {tls or 'TLS'}, its certificate verified"
    return f"PostgreSQL {version} at {connection.info.host}, connected {how}"


def _schema(
    connection: psycopg.Connection, renew: Callable[[], None], *, creates: bool
) -> Iterator[Found]:
    stored = stored_schema(connection)
    if 0 < stored.version < SCHEMA.version:
        # A trial of the migration would lock tables that bridges use.
        yield Found(Severity.RISK, _older(stored.version))
        return
    if stored.version and (problem := SCHEMA.refusal(stored)) is not None:
        yield Found(Severity.BROKEN, problem)
        return
    if not stored.version and not creates:
        yield Found(Severity.BROKEN, NO_TABLES)
        return
    with connection.transaction(force_rollback=True):
        if not stored.version:
            SCHEMA.migrate(connection)
        found = [_failed(*failed) for failed in failed_trials(connection, renew)]
    yield from found
    if all(each.severity is not Severity.BROKEN for each in found):
        text = "no schema yet; `run` creates it"
        if stored.version:
            text = f"the schema has version {stored.version}"
        if stored.version > SCHEMA.version:
            text += ", of a newer ibcm-bridge"
        yield Found(Severity.GOOD, f"{text}; bindings and uploads can be read and changed")


def _older(version: int) -> str:
    text = f"the schema has version {version}; `run` migrates it to {SCHEMA.version}"
    if version >= SCHEMA.compatible_since:
        return f"{text}, and bridges that use it now continue"
    return f"{text}, which bridges that use it now cannot use: stop all of them first"


def _failed(trial: Trial, error: psycopg.Error) -> Found:
    is_right = isinstance(error, psycopg.errors.InsufficientPrivilege)
    words = error.diag.message_primary if is_right else f"the database {cause(error)}"
    severity = Severity.RISK if trial.of_command else Severity.BROKEN
    return Found(severity, f"{trial.failure}: {words}")


def _notifications(parameters: dict[str, Any], limit_seconds: float) -> Iterator[Found]:
    """Whether other bridges learn at once of a binding that is changed or removed."""
    with psycopg.connect(**parameters) as listening, psycopg.connect(**parameters) as other:
        with limited(listening, limit_seconds):
            listening.execute(LISTEN)
        with limited(other, limit_seconds):
            other.execute(NOTIFY)
        if next(listening.notifies(timeout=limit_seconds, stop_after=1), None) is None:
            text = "no notification arrives, so a changed binding is used for up to a minute"
            yield Found(Severity.RISK, f"{text}; {_POOLER}")


_POOLER = "a pooler must keep sessions (PgBouncer: pool_mode = session)"

# A channel of its own: no bridge listens to it.
LISTEN = "LISTEN ibcm_bridge_check"
NOTIFY = "NOTIFY ibcm_bridge_check"
