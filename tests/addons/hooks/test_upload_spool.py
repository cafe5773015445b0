"""Uploads when the spool fails."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from ibcm_bridge.storage.upload_spool import Spool, SpoolError
from tests.addons.conftest import Running
from tests.addons.upload_samples import GOOD_DATA, Senders, records, senders


@pytest.fixture
def sender(running: Running) -> Iterator[Senders]:
    with senders(running) as made:
        yield made


def fail(*_: object) -> None:
    raise SpoolError("made to fail")


@pytest.mark.parametrize("method", ["judge_head", "take"])
@pytest.mark.parametrize("packet", ["create", "fragment", "last", "close", "cancel"])
def test_what_cannot_be_kept_or_looked_up_is_not_sent(
    running: Running, sender: Senders, monkeypatch: pytest.MonkeyPatch, method: str, packet: str
) -> None:
    one = sender(GOOD_DATA)
    one.begin()
    upload = one.upload
    packets = {
        "create": upload.create(),
        "fragment": upload.fragments(2)[0],
        "last": upload.fragments(2)[1],
        "close": upload.close(),
        "cancel": upload.cancel(),
    }
    sent = 2
    if packet == "close":
        assert one.end() is not None
        sent = 3
    records(running, sent)
    running.lab.site.clear()
    with monkeypatch.context() as patch:
        patch.setattr(Spool, method, fail)
        reply = one.send(packets[packet])
    assert reply is not None
    assert reply.status == 503
    assert not running.lab.site.received()
    assert records(running, sent + 1)[-1]["reason"] == "upload-unavailable"
    # It may go on when the spool can be used again.
    assert running.lab.site.uploads.under_way == 1


@pytest.mark.parametrize(("method", "packet"), [("begin", "create"), ("acknowledge", "fragment")])
def test_an_answer_that_cannot_be_followed_is_not_passed_on(
    running: Running, sender: Senders, monkeypatch: pytest.MonkeyPatch, method: str, packet: str
) -> None:
    one = sender(GOOD_DATA)
    if packet != "create":
        assert one.send(one.upload.create()) is not None
        records(running, 1)
    with monkeypatch.context() as patch:
        patch.setattr(Spool, method, fail)
        made = one.upload.create() if packet == "create" else one.upload.fragments(2)[0]
        reply = one.send(made)
    assert reply is not None
    assert reply.status == 503
    assert reply.header("BITS-Session-Id") is None
    assert records(running, 1 + (packet != "create"))[-1]["reason"] == "upload-unavailable"
