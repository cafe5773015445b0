"""docs/runbooks: the rows for PostgreSQL have the words of the bridge, in each fault."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager
from dataclasses import replace
from pathlib import Path

import pytest

from ibcm_bridge.lab.pki.authorities import LabPki
from ibcm_bridge.policy.policy import StateDatabase
from ibcm_bridge.storage.postgresql_check import Severity, examine
from tests.integration.database.places import (
    Place,
    at_a_socket,
    frozen,
    full_disk,
    on_a_small_disk,
    read_only,
)
from tests.postgresql_server import DATABASE

pytestmark = pytest.mark.needs("postgresql")

PAGE = Path(__file__).parents[2] / "docs" / "runbooks" / "requests-fail.md"
ROWS = [
    re.findall(r"`([^`]+)`", line.split("|")[1])
    for line in PAGE.read_text("utf-8").split("### PostgreSQL")[1].splitlines()
    if line.startswith("| `")
]

Fault = Callable[[Place], AbstractContextManager[None]]


@contextmanager
def stopped(place: Place) -> Iterator[None]:
    place.server.stop()
    yield
    place.server.start()


@contextmanager
def few_connections(place: Place) -> Iterator[None]:
    """Only those are left that PostgreSQL reserves for superusers."""
    place.server.stop()
    place.server.start("max_connections=8")
    with ExitStack() as others:
        for _ in range(5):
            others.enter_context(place.server.connect("postgres"))
        yield


@contextmanager
def no_connections(place: Place) -> Iterator[None]:
    with few_connections(place), ExitStack() as others:
        for _ in range(3):
            others.enter_context(place.server.connect("postgres"))
        yield


@contextmanager
def without_rights(place: Place) -> Iterator[None]:
    with place.server.connect(DATABASE) as admin:
        admin.execute("REVOKE SELECT ON ibcm_bridge.bindings FROM ibcm")
    yield


@contextmanager
def lost(place: Place) -> Iterator[None]:
    place.server.empty_database()
    yield


FAULTS: dict[str, Fault] = {
    "No such file or directory": stopped,
    "connection slots are reserved": few_connections,
    "too many clients already": no_connections,
    "connection timeout expired": frozen,
    "is read-only": read_only,
    "cannot grow: the disk is full": full_disk,
    "permission denied": without_rights,
    "has no tables in the schema ibcm_bridge": lost,
}


def test_each_row_is_for_a_fault() -> None:
    assert [row for row in ROWS if not set(row) & set(FAULTS)] == []


@pytest.mark.parametrize("words", FAULTS)
def test_check_says_the_words_of_the_row(tmp_path: Path, pki: LabPki, words: str) -> None:
    assert [row for row in ROWS if words in row], "a row for it"
    fault = FAULTS[words]
    kind = on_a_small_disk if fault is full_disk else at_a_socket
    with kind(tmp_path, pki) as place:
        state = place.server.new_database()
        with place.server.connect(DATABASE) as admin:
            admin.execute("CREATE ROLE ibcm LOGIN")
            admin.execute("GRANT USAGE ON SCHEMA ibcm_bridge TO ibcm")
            admin.execute("GRANT ALL ON ALL TABLES IN SCHEMA ibcm_bridge TO ibcm")
        user: StateDatabase = replace(state, parameters=(*state.parameters, ("user", "ibcm")))
        assert Severity.BROKEN not in {found.severity for found in examine(user)}
        with fault(place):
            broken = [each.text for each in examine(user) if each.severity is Severity.BROKEN]
        assert [text for text in broken if words in text], broken
