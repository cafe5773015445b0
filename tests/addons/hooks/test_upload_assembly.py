"""Uploads when the spool fails."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from ibcm_bridge.storage.upload_spool import Spool
from ibcm_bridge.storage.upload_table import SpoolError
from tests.addons.stand_ins.running import Running
from tests.addons.upload_samples import GOOD_DATA, Senders, records, senders


@pytest.fixture
def sender(running: Running) -> Iterator[Senders]:
    with senders(running) as made:
        yield made


def fail(*_: object) -> None:
    raise SpoolError("made to fail")


@pytest.mark.parametrize("method", ["consider", "take"])
@pytest.mark.parametrize("packet", ["create", "fragment", "last", "close", "cancel"])
def test_a_packet_is_not_sent_if_the_spool_fails(
    running: Running, sender: Senders, monkeypatch: pytest.MonkeyPatch, method: str, packet: str
) -> None:
    client = sender(GOOD_DATA)
    client.begin()
    upload = client.upload
    packets = {
        "create": upload.create(),
        "fragment": upload.fragments(2)[0],
        "last": upload.fragments(2)[1],
        "close": upload.close(),
        "cancel": upload.cancel(),
    }
    sent = 2
    if packet == "close":
        assert client.end() is not None
        sent = 3
    records(running, sent)
    running.lab.site.clear()
    with monkeypatch.context() as patch:
        patch.setattr(Spool, method, fail)
        reply = client.send(packets[packet])
    assert reply is not None
    assert reply.status == 503
    assert not running.lab.site.received()
    assert records(running, sent + 1)[-1]["reason"] == "upload-unavailable"
    # The upload can continue when the spool is usable again.
    assert running.lab.site.uploads.open_sessions == 1


@pytest.mark.parametrize(("method", "packet"), [("begin", "create"), ("acknowledge", "fragment")])
def test_a_response_is_not_forwarded_if_the_spool_fails(
    running: Running, sender: Senders, monkeypatch: pytest.MonkeyPatch, method: str, packet: str
) -> None:
    client = sender(GOOD_DATA)
    if packet != "create":
        assert client.send(client.upload.create()) is not None
        records(running, 1)
    with monkeypatch.context() as patch:
        patch.setattr(Spool, method, fail)
        made = client.upload.create() if packet == "create" else client.upload.fragments(2)[0]
        reply = client.send(made)
    assert reply is not None
    assert reply.status == 503
    assert reply.header("BITS-Session-Id") is None
    assert records(running, 1 + (packet != "create"))[-1]["reason"] == "upload-unavailable"
