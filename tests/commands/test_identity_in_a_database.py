"""`ibcm-bridge identity` with the bindings in a PostgreSQL database."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from ibcm_bridge.commands.main import main
from ibcm_bridge.lab.pki.files import shipped_policy
from ibcm_bridge.storage.postgresql_schema import NO_TABLES
from tests.postgresql_server import DATABASE, PostgresqlServer

pytestmark = pytest.mark.needs("postgresql")

GUID = "GUID:11111111-2222-3333-4444-5555555555AA"
Identity = Callable[..., tuple[int, str]]


@pytest.fixture
def identity(
    directory: Path, postgresql: PostgresqlServer, capsys: pytest.CaptureFixture[str]
) -> Identity:
    postgresql.empty_database()
    address = postgresql.address
    policy = directory / "state.yaml"
    policy.write_text(f"{shipped_policy()}\nstate: {address}\n", "utf-8")

    def run(action: str, *arguments: str) -> tuple[int, str]:
        status = main(["identity", action, "--config", str(policy), *arguments])
        return status, "".join(capsys.readouterr())

    return run


def test_bindings_are_imported_shown_exported_and_removed(
    identity: Identity, tmp_path: Path
) -> None:
    status, text = identity("init")
    assert status == 0
    assert "was created, without bindings.\n" in text
    status, text = identity("init")
    assert status == 1
    assert "already exists, with 0 bindings; nothing was changed" in text
    devices = tmp_path / "devices.csv"
    devices.write_text(f"SMSID,Name\n{GUID},PC1\n", "utf-8")
    assert identity("import", str(devices)) == (0, "1 imported, 0 kept, 0 skipped\n")
    status, text = identity("init")
    assert status == 1
    assert "already exists, with 1 binding; nothing was changed" in text
    assert GUID in identity("list")[1]
    assert "not bound yet" in identity("show", GUID)[1]
    copy = tmp_path / "copy.csv"
    assert identity("export", "--output", str(copy))[0] == 0
    assert identity("forget", GUID)[0] == 0
    assert identity("show", GUID)[0] == 1
    assert identity("import", str(copy))[0] == 0
    assert GUID in identity("list")[1]


@pytest.mark.parametrize("arguments", [["list"], ["show", GUID], ["forget", GUID], ["export"]])
def test_reading_creates_no_tables(
    identity: Identity, postgresql: PostgresqlServer, arguments: list[str]
) -> None:
    status, text = identity(*arguments)
    assert status == 1
    assert text.startswith(f"ibcm-bridge identity: postgresql:///{DATABASE}?host=")
    assert text.endswith(f" {NO_TABLES}\n")
    with postgresql.connect(DATABASE) as admin:
        assert admin.execute("SELECT to_regnamespace('ibcm_bridge')").fetchone() == (None,)


def test_an_import_creates_the_tables(identity: Identity, tmp_path: Path) -> None:
    devices = tmp_path / "devices.csv"
    devices.write_text(f"SMSID,Name\n{GUID},PC1\n", "utf-8")
    assert identity("import", str(devices)) == (0, "1 imported, 0 kept, 0 skipped\n")
    assert GUID in identity("list")[1]


def test_a_database_that_is_stopped_is_reported(
    identity: Identity, postgresql: PostgresqlServer
) -> None:
    postgresql.stop()
    try:
        status, text = identity("list")
    finally:
        postgresql.start()
    assert status == 1
    assert text.startswith(f"ibcm-bridge identity: postgresql:///{DATABASE}?host=")
    assert len(text.splitlines()) == 1
