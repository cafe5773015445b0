"""TLS to a PostgreSQL server: its certificate and its name are verified."""

from __future__ import annotations

import shutil
import socket
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import psycopg
import pytest

from ibcm_bridge.lab.pki.authorities import LabPki
from ibcm_bridge.lab.pki.certificates import pem
from ibcm_bridge.lab.pki.files import shipped_policy
from ibcm_bridge.policy.policy import StateDatabase
from ibcm_bridge.policy_file import load_policy
from ibcm_bridge.storage.binding_registry import RegistryError
from ibcm_bridge.storage.postgresql_check import Severity, examine
from ibcm_bridge.storage.postgresql_stores import SharedRegistry
from tests.postgresql_server import DATABASE, USER, PostgresqlServer
from tests.storage.test_binding_stores import PC1

pytestmark = pytest.mark.needs("postgresql")


@pytest.fixture(scope="module")
def authorities() -> LabPki:
    """Valid now: the server and libpq use the clock."""
    return LabPki.make(now=datetime.now(UTC))


@pytest.fixture
def server(postgresql: PostgresqlServer, authorities: LabPki) -> Iterator[PostgresqlServer]:
    """The server, on loopback with a certificate for localhost."""
    credential = authorities.server("localhost", "localhost")
    settings = postgresql.with_tls(credential, authorities.issuing)
    before = postgresql.port
    postgresql.stop()
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        postgresql.port = int(free.getsockname()[1])
    postgresql.start("listen_addresses=127.0.0.1", *settings)
    yield postgresql
    postgresql.stop()
    postgresql.port = before
    postgresql.start()


def state_of(directory: Path, server: PostgresqlServer, host: str, authority: str) -> StateDatabase:
    """The database of a policy with this host and this authority."""
    server.new_database()
    address = f"postgresql://{USER}@{host}:{server.port}/{DATABASE}?sslrootcert={authority}"
    path = directory / "state.yaml"
    path.write_text(f"{shipped_policy()}\nstate: {address}\n", "utf-8")
    state = load_policy(path).state
    assert state is not None
    return state


@pytest.fixture
def directory(tmp_path: Path, pki_files: Path, authorities: LabPki) -> Path:
    shutil.copytree(pki_files, tmp_path / "pki")
    (tmp_path / "authority.pem").write_bytes(pem(authorities.root))
    (tmp_path / "foreign.pem").write_bytes(pem(authorities.foreign_root))
    return tmp_path


def test_a_server_with_its_name_is_accepted(directory: Path, server: PostgresqlServer) -> None:
    with SharedRegistry(state_of(directory, server, "localhost", "authority.pem")) as registry:
        assert registry.add(PC1) == PC1
        used = "SELECT ssl FROM pg_stat_ssl WHERE pid = pg_backend_pid()"
        assert registry._database.one(used) == (True,)


def test_check_names_the_version_of_tls(directory: Path, server: PostgresqlServer) -> None:
    connected, _ = examine(state_of(directory, server, "localhost", "authority.pem"))
    assert "at localhost, connected over TLSv1.3, its certificate verified" in connected.text
    (refused,) = examine(state_of(directory, server, "localhost", "foreign.pem"))
    assert refused.severity is Severity.BROKEN
    assert "certificate verify failed" in refused.text


def test_check_does_not_take_the_tls_of_a_pooler_for_its_own(
    directory: Path, server: PostgresqlServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    # A pooler has numbers of its own for the processes of the server.
    monkeypatch.setattr(psycopg.ConnectionInfo, "backend_pid", -1)
    connected, _ = examine(state_of(directory, server, "localhost", "authority.pem"))
    assert "at localhost, connected over TLS, its certificate verified" in connected.text


@pytest.mark.parametrize(
    ("host", "authority", "problem"),
    [
        ("127.0.0.1", "authority.pem", "does not match host name"),
        ("localhost", "foreign.pem", "certificate verify failed"),
    ],
)
def test_another_name_or_authority_is_refused(
    directory: Path, server: PostgresqlServer, host: str, authority: str, problem: str
) -> None:
    with pytest.raises(RegistryError, match=problem):
        SharedRegistry(state_of(directory, server, host, authority))


def test_a_server_without_tls_is_refused(
    directory: Path, postgresql: PostgresqlServer, server: PostgresqlServer
) -> None:
    server.stop()
    server.start("listen_addresses=127.0.0.1")
    with pytest.raises(RegistryError, match="server does not support SSL"):
        SharedRegistry(state_of(directory, server, "localhost", "authority.pem"))
