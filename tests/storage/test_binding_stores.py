"""The operations on bindings, in every kind of database."""

from __future__ import annotations

import contextlib
import datetime
import threading
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from ibcm_bridge.identity.bindings import Binding, Source, confirms
from ibcm_bridge.storage.binding_registry import Registry, RegistryError
from ibcm_bridge.storage.binding_table import BindingTable
from ibcm_bridge.storage.postgresql_stores import SharedRegistry
from ibcm_bridge.storage.stores import Imported

NOW = datetime.datetime(2026, 1, 1, 12, 30, 15, 250, tzinfo=datetime.UTC)
GUID = "GUID:11111111-2222-3333-4444-555555555555"
PC1 = Binding(GUID, Source.REGISTRATION, NOW, "a" * 64, "b" * 64, "pc1.corp.example", b"\x30\x82")
PC2 = replace(PC1, key="c" * 64, name="pc2.corp.example")

Open = Callable[[], BindingTable]


def numbered(number: int) -> Binding:
    guid = f"GUID:{number:08X}-0000-0000-0000-000000000000"
    return Binding(guid, Source.IMPORT, NOW, name=f"pc{number}")


@pytest.fixture(
    params=["sqlite", pytest.param("postgresql", marks=pytest.mark.needs("postgresql"))]
)
def open_registry(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Open]:
    """Open the same bindings again each time."""
    if request.param == "sqlite":
        path = tmp_path / "bindings.sqlite"

        def make() -> BindingTable:
            return stack.enter_context(Registry(path))

    else:
        state = request.getfixturevalue("postgresql").new_database()

        def make() -> BindingTable:
            return stack.enter_context(SharedRegistry(state, limit_seconds=None))

    with contextlib.ExitStack() as stack:
        yield make


@pytest.fixture
def registry(open_registry: Open) -> BindingTable:
    return open_registry()


# Stored bindings


def test_an_added_binding_is_found(registry: BindingTable) -> None:
    assert registry.find(GUID) is None
    assert registry.add(PC1) == PC1
    assert registry.find(GUID) == PC1


def test_bindings_persist_across_a_restart(open_registry: Open) -> None:
    with open_registry() as before:
        before.add(PC1)
    assert open_registry().find(GUID) == PC1


def test_add_does_not_replace_a_binding(registry: BindingTable) -> None:
    registry.add(PC1)
    assert registry.add(PC2) == PC1
    assert registry.find(GUID) == PC1


def test_replace_replaces_the_expected_binding(registry: BindingTable) -> None:
    registry.add(PC1)
    assert registry.replace(PC1, PC2) == PC2
    assert registry.find(GUID) == PC2


def test_replace_does_not_replace_an_unexpected_binding(registry: BindingTable) -> None:
    registry.add(PC1)
    assert registry.replace(PC2, replace(PC2, name="pc3")) == PC1
    assert registry.find(GUID) == PC1


def test_replace_does_not_restore_a_removed_binding(registry: BindingTable) -> None:
    registry.add(PC1)
    assert registry.forget(GUID) is True
    assert registry.replace(PC1, PC2) is None
    assert registry.find(GUID) is None
    assert registry.forget(GUID) is False


def test_replace_refuses_another_client_guid(registry: BindingTable) -> None:
    registry.add(PC1)
    with pytest.raises(ValueError, match="different client GUIDs"):
        registry.replace(PC1, numbered(1))


def test_all_bindings_are_ordered_by_client_guid(registry: BindingTable) -> None:
    bindings = [numbered(number) for number in range(1_200)]
    registry.import_all(reversed(bindings))
    assert list(registry.all()) == bindings


def test_iterating_over_all_bindings_blocks_nothing(
    registry: BindingTable, open_registry: Open
) -> None:
    registry.import_all(numbered(number) for number in range(1_200))
    going = registry.all()
    next(going)
    with open_registry() as other:
        other.forget(numbered(1_100).guid)
        other.add(PC1)
    assert registry.find(GUID) == PC1
    assert registry.find(numbered(1_100).guid) is None
    assert len([*going]) == 1_199


# Imports


def test_an_import_adds_new_bindings(registry: BindingTable) -> None:
    assert registry.import_all([numbered(1), numbered(2)]) == Imported(2, 0, 0, ())
    assert list(registry.all()) == [numbered(1), numbered(2)]


@pytest.mark.parametrize("name", ["pc1.corp.example", "pc1"])
def test_an_import_of_stored_values_changes_nothing(registry: BindingTable, name: str) -> None:
    registry.add(PC1)
    imported = Binding(GUID, Source.IMPORT, NOW, name=name)
    assert registry.import_all([imported], replace=True) == Imported(0, 0, 1, ())
    assert registry.find(GUID) == PC1


@pytest.mark.parametrize(
    "other", [{"name": "pc2"}, {"name": "", "certificate": "d" * 64}, {"signing_key": b"other"}]
)
def test_a_conflicting_import_replaces_only_if_requested(
    registry: BindingTable, other: dict[str, object]
) -> None:
    registry.add(PC1)
    imported = replace(Binding(GUID, Source.IMPORT, NOW, name="pc1"), **other)  # type: ignore[arg-type]
    assert registry.import_all([imported]) == Imported(0, 0, 0, ((PC1, imported),))
    assert registry.find(GUID) == PC1
    assert registry.import_all([imported], replace=True) == Imported(0, 1, 0, ())
    assert registry.find(GUID) == imported


def test_a_client_guid_that_is_imported_twice_keeps_the_first(registry: BindingTable) -> None:
    assert registry.import_all([PC1, PC1, numbered(1), PC2]) == Imported(2, 0, 1, ((PC1, PC2),))
    assert registry.import_all([PC2, PC1, PC1], replace=True) == Imported(0, 2, 1, ())
    assert registry.find(GUID) == PC1


def test_a_longer_name_than_the_stored_one_is_a_conflict() -> None:
    short = Binding(GUID, Source.IMPORT, NOW, name="pc1")
    assert confirms(PC1, short)
    assert not confirms(short, PC1)
    assert not confirms(replace(PC1, name=""), short)


def test_an_import_with_an_invalid_binding_changes_nothing(registry: BindingTable) -> None:
    with pytest.raises(RegistryError, match="'PC9' is not a valid name"):
        registry.import_all([numbered(1), replace(PC1, name="PC9")])
    assert list(registry.all()) == []


# Concurrency


def test_others_see_committed_changes_at_once(registry: BindingTable, open_registry: Open) -> None:
    other = open_registry()
    assert other.find(GUID) is None
    registry.add(PC1)
    assert other.find(GUID) == PC1
    other.forget(GUID)
    assert registry.find(GUID) is None


def test_if_several_learn_at_once_one_wins_and_all_get_its_binding(open_registry: Open) -> None:
    heard: list[list[str]] = [[] for _ in range(4)]
    registries = [open_registry() for _ in heard]
    start = threading.Barrier(len(heard))

    def learn(number: int) -> None:
        start.wait()
        for guid in range(50):
            binding = replace(numbered(guid), name=f"pc{number}")
            heard[number].append(registries[number].add(binding).name)

    threads = [threading.Thread(target=learn, args=(number,)) for number in range(len(heard))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(heard[0]) == 50
    assert all(names == heard[0] for names in heard)
    assert [binding.name for binding in registries[0].all()] == heard[0]


def test_if_several_replace_at_once_one_wins(open_registry: Open) -> None:
    registries = [open_registry() for _ in range(4)]
    registries[0].add(PC1)
    start = threading.Barrier(len(registries))
    stored: list[Binding | None] = []

    def change(number: int) -> None:
        start.wait()
        new = replace(PC1, key=f"{number}" * 64)
        stored.append(registries[number].replace(PC1, new))

    threads = [threading.Thread(target=change, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert stored == [registries[0].find(GUID)] * 4
    assert stored[0] != PC1


# Values


@pytest.mark.parametrize(
    "binding",
    [
        replace(PC1, guid=GUID.removeprefix("GUID:")),
        replace(PC1, guid=GUID.lower()),
        replace(PC1, since=NOW.replace(tzinfo=None)),
        replace(PC1, key="A" * 64),
        replace(PC1, key="a" * 63),
        replace(PC1, name="PC1"),
        replace(PC1, name="pc1\n"),
        replace(PC1, name="p" * 513),
        replace(PC1, name="\udcff"),
    ],
)
def test_a_binding_that_could_not_be_read_again_is_not_stored(
    registry: BindingTable, binding: Binding
) -> None:
    with pytest.raises(RegistryError, match="cannot store a binding: "):
        registry.add(binding)
    assert list(registry.all()) == []


def test_times_are_stored_in_utc(registry: BindingTable) -> None:
    summer = datetime.timezone(datetime.timedelta(hours=2))
    kept = registry.add(replace(PC1, since=NOW.astimezone(summer)))
    assert kept == PC1
    assert kept.since.tzinfo is datetime.UTC
