"""Figures that no benchmark has are measured here."""

from __future__ import annotations

import datetime
import random
import sqlite3
import uuid
from pathlib import Path

import pytest

from ibcm_bridge.commands.capacity.costs import BINDING_BYTES
from ibcm_bridge.identity.bindings import Binding, Source
from ibcm_bridge.storage.binding_rows import TABLE, row_of

BINDINGS = 4_000
NOW = datetime.datetime(2026, 1, 2, 3, 4, 5, 678901, tzinfo=datetime.UTC)


def test_the_size_of_a_binding_is_that_of_the_database(tmp_path: Path) -> None:
    chance = random.Random(0)
    file = tmp_path / "bindings.sqlite"
    database = sqlite3.connect(file)
    database.execute(TABLE)
    for number in range(BINDINGS):
        guid = uuid.UUID(bytes=chance.randbytes(16))
        binding = Binding(
            guid=f"GUID:{str(guid).upper()}",
            source=Source.REGISTRATION,
            since=NOW,
            key=chance.randbytes(32).hex(),
            certificate=chance.randbytes(32).hex(),
            name=f"pc{number}.corp.example",
            signing_key=chance.randbytes(294),  # RSA 2048
        )
        row = row_of(binding)
        marks = ", ".join("?" * len(row))
        database.execute(f"INSERT INTO bindings VALUES ({marks})", row)
    database.commit()
    database.close()
    assert file.stat().st_size / BINDINGS == pytest.approx(BINDING_BYTES, rel=0.15)
