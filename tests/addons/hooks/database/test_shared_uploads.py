"""Uploads while the shared database can be read but not written."""

from __future__ import annotations

import dataclasses
import logging
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from ibcm_bridge.addons.hooks.database.breaker import RETRY_SECONDS
from ibcm_bridge.lab.protocol.client import Request
from tests.addons.stand_ins.lab import Lab
from tests.addons.stand_ins.running import Running, wait_for
from tests.addons.upload_samples import GOOD_DATA, Sender, senders
from tests.postgresql_server import PostgresqlServer

pytestmark = pytest.mark.needs("postgresql")

AGAIN = "no longer: postgresql://"


@pytest.fixture
def client(lab: Lab, postgresql: PostgresqlServer, tmp_path: Path) -> Iterator[Sender]:
    audit = tmp_path / "audit.jsonl"
    policy = dataclasses.replace(lab.policy, audit_file=audit, state=postgresql.new_database())
    with Running(lab, policy) as running, senders(running) as made:
        yield made(GOOD_DATA)


def status(client: Sender, packet: Request) -> int:
    """Send a packet on another connection, because a refusal closes it."""
    with client.running.client() as client.client:
        reply = client.send(packet)
    assert reply is not None
    return reply.status


def test_a_failure_to_store_ends_only_when_a_packet_is_stored(
    client: Sender, postgresql: PostgresqlServer, caplog: pytest.LogCaptureFixture
) -> None:
    uploads = client.running.bridge.shared.uploads
    client.begin()
    last = client.upload.fragments(2)[1]
    with caplog.at_level(logging.WARNING), postgresql.read_only():
        for _ in range(3):
            # The second is refused by its head, and the third is the next try.
            assert [status(client, last), status(client, last)] == [503, 503]
            assert "is read-only" in (uploads.failure() or "")
            time.sleep(RETRY_SECONDS)
        assert AGAIN not in caplog.text
        assert status(client, client.upload.create()) == 503
    with caplog.at_level(logging.WARNING):
        wait_for(lambda: status(client, last) == 200)
    assert uploads.failure() is None
    assert AGAIN in caplog.text
