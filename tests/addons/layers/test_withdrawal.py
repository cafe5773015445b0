"""The bridge's own Cancel-Session, if a site system or the bridge itself fails."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from mitmproxy.http import HTTPFlow

from ibcm_bridge.addons.connections import ExchangeEnded
from ibcm_bridge.addons.layers import exchange, withdrawal
from ibcm_bridge.addons.layers.exchange import Exchange
from ibcm_bridge.addons.layers.site_system_legs import SiteSystemLegs
from ibcm_bridge.addons.stages import DECISIONS, BodyInspected, HeadRead
from ibcm_bridge.lab.protocol.content import ServerResponse
from ibcm_bridge.lab.protocol.uploads import UploadServer
from tests.addons.stand_ins.running import SOON, Panic, Running
from tests.addons.upload_samples import BAD_DATA, GOOD_DATA, Senders, records, senders


@pytest.fixture
def sender(running: Running) -> Iterator[Senders]:
    with senders(running) as made:
        yield made


def respond_with(
    monkeypatch: pytest.MonkeyPatch, kind: str, change: Callable[[ServerResponse], ServerResponse]
) -> None:
    """Change the site system's response to this kind of packet."""
    real = UploadServer.respond

    def changed(self: UploadServer, path: str, headers: Any, body: bytes) -> ServerResponse:
        found = real(self, path, headers, body)
        return change(found) if headers["bits-packet-type"].lower() == kind else found

    monkeypatch.setattr(UploadServer, "respond", changed)


@pytest.mark.parametrize("status", [200, 403, 500])
def test_a_refused_upload_is_withdrawn_once_for_any_response(
    running: Running, sender: Senders, monkeypatch: pytest.MonkeyPatch, status: int
) -> None:
    respond_with(
        monkeypatch, "cancel-session", lambda _: ServerResponse(status, b"an explanation", {})
    )
    client = sender(BAD_DATA)
    client.begin()
    reply = client.end()
    assert reply is not None
    assert reply.status == 403
    *_, cancelled, refused = records(running, 4)
    assert refused["reason"] == "malicious-content"
    assert (cancelled["status"], cancelled["forwarded"]) == (status, True)


def test_a_silent_site_system_does_not_prevent_the_refusal(
    running: Running, sender: Senders, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(withdrawal, "WITHDRAW_SECONDS", 0.2)
    client = sender(BAD_DATA)
    client.begin()
    released = threading.Event()

    def late(found: ServerResponse) -> ServerResponse:
        released.wait(SOON * 2)
        return found

    respond_with(monkeypatch, "cancel-session", late)
    began = time.monotonic()
    reply = client.end()
    took = time.monotonic() - began
    released.set()
    assert reply is not None
    assert reply.status == 403
    assert took < SOON
    *_, cancelled, refused = records(running, 4)
    assert refused["reason"] == "malicious-content"
    assert cancelled["reason"] == "site-system-slow"


def test_an_unreachable_site_system_does_not_prevent_the_refusal(
    running: Running, sender: Senders, monkeypatch: pytest.MonkeyPatch
) -> None:
    client = sender(BAD_DATA)
    client.begin()

    async def nobody(*_: object, **__: object) -> None:
        raise OSError("not reachable")

    monkeypatch.setattr(asyncio.BaseEventLoop, "create_connection", nobody)
    # On another connection, so that a leg must be opened first.
    again = sender(BAD_DATA)
    again.session = client.session
    reply = again.end()
    assert reply is not None
    assert reply.status == 403
    *_, cancelled, refused = records(running, 4)
    assert refused["reason"] == "malicious-content"
    assert cancelled["reason"] == "site-system-unreachable"


def test_the_rest_of_a_refused_response_is_not_the_response_to_the_cancellation(
    running: Running, sender: Senders, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A site system that acknowledges more than was sent, in a very long response."""
    rest = b"HTTP/1.1 222 Smuggled\r\nContent-Length: 0\r\n\r\n" * 20_000
    fields = {"BITS-Packet-Type": "Ack", "BITS-Received-Content-Range": "9999"}
    respond_with(monkeypatch, "fragment", lambda _: ServerResponse(200, rest, fields))
    client = sender(GOOD_DATA)
    assert client.send(client.upload.create()) is not None
    reply = client.send(client.upload.fragments(2)[0])
    assert reply is not None
    assert reply.status == 500
    _, cancelled, refused = records(running, 3)
    assert (refused["reason"], refused["rule"]) == ("upload-session", "uploads.acknowledged")
    assert (cancelled["verdict"], cancelled["status"]) == ("allow", 200)
    assert running.lab.site.uploads.open_sessions == 0


PLACES = [
    (withdrawal, "withdrawal"),
    (Exchange, "decide_on_head"),
    (SiteSystemLegs, "send"),
    (exchange, "gate"),
]


@pytest.mark.parametrize("error", [RuntimeError, Panic, asyncio.CancelledError])
@pytest.mark.parametrize(("owner", "name"), PLACES)
def test_a_failed_withdrawal_closes_the_connection_and_every_request_is_recorded(
    running: Running,
    sender: Senders,
    monkeypatch: pytest.MonkeyPatch,
    owner: Any,
    name: str,
    error: type[BaseException],
) -> None:
    client = sender(BAD_DATA)
    client.begin()
    real, calls = getattr(owner, name), iter(range(10))
    # The refused request itself also calls these, before the withdrawal.
    allowed = 1 if name == "decide_on_head" else 0
    running.lab.site.clear()

    def fail_in_withdrawal(*given: Any, **named: Any) -> Any:
        if next(calls) < allowed:
            return real(*given, **named)
        raise error("made to fail")

    if name == "gate":

        def fail_in_withdrawal(*given: Any, **_: Any) -> Any:  # type: ignore[no-redef]
            if given[1].value(b"bits-packet-type") == b"Cancel-Session":
                raise error("made to fail")
            return real(*given)

    with monkeypatch.context() as patch:
        patch.setattr(owner, name, fail_in_withdrawal)
        assert client.end() is None
        written = running.wait_for_reason("bridge-defect")
    assert not running.lab.site.received()
    assert written["verdict"] == "deny"
    own = ["malicious-content"] * (name != "withdrawal")
    found = records(running, 3 + len(own))
    assert [record["reason"] for record in found[2:]] == ["bridge-defect", *own]
    assert running.lab.site.uploads.files == {}


HOOKS = ["requestheaders", "request", "responseheaders"]
HOOKS += ["head_read", "packet_announced", "packet_read", "body_read", "body_inspected"]
HOOKS += ["packet_response_read"]


def is_cancel(known: Any) -> bool:
    """Return whether a hook or a decision is about a Cancel-Session."""
    if isinstance(known, HTTPFlow):
        return known.request.headers.get("BITS-Packet-Type") == "Cancel-Session"
    if isinstance(known, HeadRead):
        head = known.head
    elif isinstance(known, BodyInspected):
        head = known.inspected.authorized.head
    else:
        head = known.authorized.head
    return head.value(b"bits-packet-type") == b"Cancel-Session"


@pytest.mark.parametrize("error", [RuntimeError, Panic, asyncio.CancelledError])
@pytest.mark.parametrize("hook", HOOKS)
def test_a_hook_that_fails_on_a_withdrawal_leaves_every_request_recorded(
    running: Running, sender: Senders, hook: str, error: type[BaseException]
) -> None:
    client = sender(BAD_DATA)
    client.begin()

    def fail_on_cancel(known: Any) -> Any:
        if is_cancel(known):
            raise error("made to fail")
        return known if hook in DECISIONS else None

    running.add_hook(hook, fail_on_cancel, first=True)
    reply = client.end()
    if error is not asyncio.CancelledError:
        assert reply is not None
        assert reply.status == 403
    found = records(running, 4)
    assert sorted(record.get("reason") or "" for record in found) == [
        "",
        "",
        "bridge-defect",
        "malicious-content",
    ]


@pytest.mark.parametrize("error", [RuntimeError, Panic, asyncio.CancelledError])
def test_a_watcher_that_fails_after_a_withdrawal_does_not_hide_the_refusal(
    running: Running, sender: Senders, error: type[BaseException]
) -> None:
    client = sender(BAD_DATA)
    client.begin()

    def fail_on_cancel(ended: ExchangeEnded) -> None:
        if ended.note:
            raise error("made to fail")

    running.add_hook("exchange_ended", fail_on_cancel)
    assert client.end() is None
    *_, cancelled, refused = records(running, 4)
    assert (cancelled["verdict"], refused["reason"]) == ("allow", "malicious-content")
