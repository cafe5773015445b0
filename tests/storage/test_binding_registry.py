"""Several processes share the bindings, and damage is never read as an unbound client GUID."""

from __future__ import annotations

import datetime
import errno
import os
import sqlite3
import stat
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import NoReturn

import pytest

from ibcm_bridge.identity.bindings import Binding, Source
from ibcm_bridge.storage.binding_registry import APPLICATION, Registry, RegistryError

NOW = datetime.datetime(2026, 1, 1, 12, 30, 15, 250, tzinfo=datetime.UTC)
GUID = "GUID:11111111-2222-3333-4444-555555555555"
PC1 = Binding(GUID, Source.REGISTRATION, NOW, "a" * 64, "b" * 64, "pc1.corp.example", b"\x30\x82")
PC2 = replace(PC1, key="c" * 64, name="pc2.corp.example")


def numbered(number: int) -> Binding:
    guid = f"GUID:{number:08X}-0000-0000-0000-000000000000"
    return Binding(guid, Source.IMPORT, NOW, name=f"pc{number}")


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "bindings.sqlite"


@pytest.fixture
def registry(path: Path) -> Iterator[Registry]:
    with Registry(path) as registry:
        yield registry


def test_a_registry_in_memory_does_not_persist() -> None:
    with Registry(None) as registry:
        assert registry.add(PC1) == PC1
        assert registry.find(GUID) == PC1
    with Registry(None) as registry:
        assert registry.find(GUID) is None


# Concurrency


_RACE = """
import datetime, sys
from pathlib import Path
from ibcm_bridge.identity.bindings import Binding, Source
from ibcm_bridge.storage.binding_registry import Registry
sys.stdin.readline()
now = datetime.datetime(2026, 1, 1, tzinfo=datetime.UTC)
with Registry(Path(sys.argv[1])) as registry:
    for number in range(50):
        guid = f"GUID:{number:08X}-0000-0000-0000-000000000000"
        print(registry.add(Binding(guid, Source.IMPORT, now, name=sys.argv[2])).name)
"""


def test_if_processes_learn_at_once_one_wins_and_all_see_its_binding(path: Path) -> None:
    processes = [
        subprocess.Popen(
            [sys.executable, "-c", _RACE, str(path), f"pc{number}"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        for number in range(4)
    ]
    for process in processes:
        assert process.stdin is not None
        process.stdin.write("\n")
        process.stdin.flush()
    heard = [process.communicate()[0].split() for process in processes]
    assert [process.returncode for process in processes] == [0] * 4
    assert len(heard[0]) == 50
    assert all(binding == heard[0] for binding in heard)
    with Registry(path) as registry:
        assert [binding.name for binding in registry.all()] == heard[0]


def test_readers_do_not_wait_for_a_writer_and_writers_only_for_a_second(
    registry: Registry, path: Path
) -> None:
    registry.add(PC1)
    other = sqlite3.connect(path, isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    try:
        assert registry.find(GUID) == PC1
        with pytest.raises(RegistryError, match="locked by another process for 1 s"):
            registry.forget(GUID)
        other.execute("ROLLBACK")
        assert registry.forget(GUID) is True
    finally:
        other.close()


# The file


@pytest.mark.skipif(sys.platform == "win32", reason="modes are POSIX's")
def test_only_the_owner_can_read_the_file(path: Path, registry: Registry) -> None:
    registry.add(PC1)
    files = list(path.parent.iterdir())
    assert {file.name for file in files} >= {path.name, f"{path.name}-wal"}
    assert {stat.S_IMODE(file.stat().st_mode) for file in files} == {0o600}


def refused(path: Path) -> str:
    with pytest.raises(RegistryError) as caught:
        Registry(path)
    assert str(caught.value).startswith(str(path))
    return str(caught.value).removeprefix(f"{path} ")


def test_an_empty_file_becomes_a_registry(path: Path) -> None:
    path.touch()
    with Registry(path) as registry:
        assert registry.add(PC1) == PC1


def test_another_file_is_refused_and_unchanged(path: Path) -> None:
    text = "audit lines are not a database, however many there may be\n" * 20
    path.write_text(text)
    assert refused(path) == "is not a database"
    assert path.read_text() == text


def test_the_database_of_another_application_is_refused_and_unchanged(path: Path) -> None:
    with sqlite3.connect(path) as database:
        database.execute("CREATE TABLE theirs (one)")
    database.close()
    before = path.read_bytes()
    assert refused(path) == "is a database of another application"
    assert path.read_bytes() == before


def change(path: Path, *statements: str) -> None:
    database = sqlite3.connect(path, isolation_level=None)
    for statement in statements:
        database.execute(statement)
    database.close()


def test_the_file_of_a_newer_version_is_refused(path: Path) -> None:
    Registry(path).close()
    change(path, "PRAGMA user_version = 2")
    assert "a newer ibcm-bridge: its tables have version 2, this one supports 1" in refused(path)
    change(path, "PRAGMA user_version = 1")
    Registry(path).close()


def test_a_file_without_its_table_is_damaged(path: Path) -> None:
    change(path, f"PRAGMA application_id = {APPLICATION}", "PRAGMA user_version = 1")
    with Registry(path) as registry, pytest.raises(RegistryError, match="no such table"):
        registry.find(GUID)


def test_a_damaged_file_is_refused(path: Path) -> None:
    with Registry(path) as registry:
        registry.import_all(numbered(number) for number in range(500))
    data = bytearray(path.read_bytes())
    data[8192:12288] = bytes(4096)
    path.write_bytes(data)
    assert refused(path).startswith("is damaged")


@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE bindings SET source = 'rumour'",
        "UPDATE bindings SET since = '2026-13-01T00:00:00+00:00'",
        "UPDATE bindings SET since = '2026-01-01T00:00:00'",
        "UPDATE bindings SET since = 5",
        "UPDATE bindings SET key = 'abc'",
        "UPDATE bindings SET key = upper(key)",
        "UPDATE bindings SET certificate = x'00'",
        "UPDATE bindings SET name = 'PC1'",
        "UPDATE bindings SET name = 'pc 1'",
        "UPDATE bindings SET name = CAST(x'ff' AS TEXT)",
        "UPDATE bindings SET signing_key = 'text'",
        "UPDATE bindings SET key = '', certificate = '', name = ''",
        "ALTER TABLE bindings ADD COLUMN more",
    ],
)
def test_an_invalid_row_is_an_error_and_not_an_unbound_client_guid(
    path: Path, registry: Registry, statement: str
) -> None:
    registry.add(PC1)
    change(path, statement)
    for read in (lambda: registry.find(GUID), lambda: list(registry.all())):
        with pytest.raises(RegistryError):
            read()
    for write in (lambda: registry.add(PC2), lambda: registry.replace(PC1, PC2)):
        with pytest.raises(RegistryError):
            write()
    assert registry.forget(GUID) is True


def test_a_missing_folder_is_reported(tmp_path: Path) -> None:
    assert refused(tmp_path / "no" / "where") == (
        "cannot be created: No such file or directory; its folder must exist and be writable"
    )


def test_a_folder_is_refused(tmp_path: Path) -> None:
    assert refused(tmp_path).startswith("cannot be opened")


def test_a_file_that_can_be_opened_but_not_checked_is_refused(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def stale(self: Path) -> NoReturn:
        raise OSError(errno.ESTALE, os.strerror(errno.ESTALE), str(self))

    monkeypatch.setattr(Path, "stat", stale)
    assert refused(path) == f"cannot be checked: {os.strerror(errno.ESTALE)}"


def test_a_read_only_file_is_reported(registry: Registry) -> None:
    registry.add(PC1)
    registry._database.one("PRAGMA query_only = ON")
    assert registry.find(GUID) == PC1
    with pytest.raises(RegistryError, match="is read-only; file and folder must be writable"):
        registry.forget(GUID)


def test_a_full_disk_is_reported_and_no_change_is_partial(registry: Registry) -> None:
    registry.add(PC1)
    registry._database.one("PRAGMA max_page_count = 4")
    bindings = [numbered(number) for number in range(500)]
    with pytest.raises(RegistryError, match="the disk is full"):
        registry.import_all(bindings)
    assert list(registry.all()) == [PC1]
    registry._database.one("PRAGMA max_page_count = 400")
    assert registry.import_all(bindings).added == 500


@pytest.mark.parametrize(
    "use",
    [
        lambda registry: registry.find(GUID),
        lambda registry: registry.add(PC1),
        lambda registry: list(registry.all()),
    ],
)
def test_the_use_of_a_closed_registry_is_an_error(
    path: Path, use: Callable[[Registry], object]
) -> None:
    registry = Registry(path)
    registry.close()
    with pytest.raises(RegistryError, match="closed"):
        use(registry)
