"""Uploads when something fails: the spool, the site system, or the bridge's own Cancel-Session."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import replace
from typing import Any

import pytest
from mitmproxy.http import HTTPFlow

from ibcm_bridge.addons.layers import exchange, withdrawal
from ibcm_bridge.addons.layers.exchange import Exchange
from ibcm_bridge.addons.layers.site_system_legs import SiteSystemLegs
from ibcm_bridge.addons.stages import DECISIONS, BodyInspected, HeadRead
from ibcm_bridge.lab.cases.requests import eicar
from ibcm_bridge.lab.protocol.client import ConnectionEnded, LabClient, Request, Response
from ibcm_bridge.lab.protocol.content import ServerResponse
from ibcm_bridge.lab.protocol.uploads import SESSION, Upload, UploadServer
from ibcm_bridge.storage.upload_spool import Spool, SpoolError
from tests.addons.conftest import SOON, Panic, Running, wait_for

GOOD_DATA = b"\xff\x00 nothing in particular " * 20
BAD_DATA = bytes(200) + eicar().encode() + bytes(200)


class Sender:
    """A client with an upload of two fragments."""

    def __init__(self, running: Running, client: LabClient, data: bytes) -> None:
        self.running, self.client = running, client
        self.upload = Upload("/CCM_Incoming/x.msg", data)
        self.session = ""

    def send(self, request: Request) -> Response | None:
        fields = [
            (name, self.session if value == SESSION else value) for name, value in request.headers
        ]
        try:
            reply = self.client.send(replace(request, headers=tuple(fields)))
        except ConnectionEnded:
            return None
        self.session = reply.header("BITS-Session-Id") or self.session
        return reply

    def begin(self) -> None:
        for packet in (self.upload.create(), self.upload.fragments(2)[0]):
            reply = self.send(packet)
            assert reply is not None
            assert reply.status == 200

    def end(self) -> Response | None:
        return self.send(self.upload.fragments(2)[1])


Senders = Callable[[bytes], Sender]


@pytest.fixture
def sender(running: Running) -> Iterator[Senders]:
    running.lab.site.uploads.clear()
    with ExitStack() as stack:
        yield lambda data: Sender(running, stack.enter_context(running.client()), data)


def records(running: Running, count: int) -> list[dict[str, Any]]:
    wait_for(lambda: len(running.audit()) >= count)
    found = running.audit()
    assert len(found) == count, found
    assert len({one["reference"] for one in found}) == count
    return found


def fail(*_: object) -> None:
    raise SpoolError("made to fail")


# The spool


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


# The bridge's own Cancel-Session


def answering(
    monkeypatch: pytest.MonkeyPatch, kind: str, answer: Callable[[ServerResponse], ServerResponse]
) -> None:
    """Have the site system answer this kind of packet so."""
    real = UploadServer.respond

    def changed(self: UploadServer, path: str, headers: Any, body: bytes) -> ServerResponse:
        found = real(self, path, headers, body)
        return answer(found) if headers["bits-packet-type"].lower() == kind else found

    monkeypatch.setattr(UploadServer, "respond", changed)


@pytest.mark.parametrize("status", [200, 403, 500])
def test_a_refused_upload_is_withdrawn_once_whatever_is_answered(
    running: Running, sender: Senders, monkeypatch: pytest.MonkeyPatch, status: int
) -> None:
    answering(
        monkeypatch, "cancel-session", lambda _: ServerResponse(status, b"an explanation", {})
    )
    one = sender(BAD_DATA)
    one.begin()
    reply = one.end()
    assert reply is not None
    assert reply.status == 403
    *_, cancelled, refused = records(running, 4)
    assert refused["reason"] == "malicious-content"
    assert (cancelled["status"], cancelled["forwarded"]) == (status, True)


def test_a_site_system_that_stays_silent_does_not_keep_a_client_from_its_refusal(
    running: Running, sender: Senders, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(withdrawal, "WITHDRAW_SECONDS", 0.2)
    one = sender(BAD_DATA)
    one.begin()
    released = threading.Event()

    def late(found: ServerResponse) -> ServerResponse:
        released.wait(SOON * 2)
        return found

    answering(monkeypatch, "cancel-session", late)
    began = time.monotonic()
    reply = one.end()
    took = time.monotonic() - began
    released.set()
    assert reply is not None
    assert reply.status == 403
    assert took < SOON
    *_, cancelled, refused = records(running, 4)
    assert refused["reason"] == "malicious-content"
    assert cancelled["reason"] == "site-system-slow"


def test_a_site_system_that_is_gone_does_not_keep_a_client_from_its_refusal(
    running: Running, sender: Senders, monkeypatch: pytest.MonkeyPatch
) -> None:
    one = sender(BAD_DATA)
    one.begin()

    async def nobody(*_: object, **__: object) -> None:
        raise OSError("nobody is there")

    monkeypatch.setattr(asyncio, "open_connection", nobody)
    # On another connection, so that a leg has to be opened first.
    again = sender(BAD_DATA)
    again.session = one.session
    reply = again.end()
    assert reply is not None
    assert reply.status == 403
    *_, cancelled, refused = records(running, 4)
    assert refused["reason"] == "malicious-content"
    assert cancelled["reason"] == "site-system-unreachable"


def test_what_is_left_of_a_refused_answer_is_not_taken_for_that_to_the_cancellation(
    running: Running, sender: Senders, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A site system that has more than was ever sent, and says so at length."""
    rest = b"HTTP/1.1 222 Smuggled\r\nContent-Length: 0\r\n\r\n" * 20_000
    fields = {"BITS-Packet-Type": "Ack", "BITS-Received-Content-Range": "9999"}
    answering(monkeypatch, "fragment", lambda _: ServerResponse(200, rest, fields))
    one = sender(GOOD_DATA)
    assert one.send(one.upload.create()) is not None
    reply = one.send(one.upload.fragments(2)[0])
    assert reply is not None
    assert reply.status == 500
    _, cancelled, refused = records(running, 3)
    assert (refused["reason"], refused["rule"]) == ("upload-session", "uploads.acknowledged")
    assert (cancelled["verdict"], cancelled["status"]) == ("allow", 200)
    assert running.lab.site.uploads.under_way == 0


PLACES = [
    (withdrawal, "withdrawal"),
    (Exchange, "decide_on_head"),
    (SiteSystemLegs, "ask"),
    (exchange, "gate"),
]


@pytest.mark.parametrize("error", [RuntimeError, Panic, asyncio.CancelledError])
@pytest.mark.parametrize(("owner", "name"), PLACES)
def test_a_withdrawal_that_raises_closes_the_connection_and_leaves_no_request_unwritten(
    running: Running,
    sender: Senders,
    monkeypatch: pytest.MonkeyPatch,
    owner: Any,
    name: str,
    error: type[BaseException],
) -> None:
    one = sender(BAD_DATA)
    one.begin()
    real, calls = getattr(owner, name), iter(range(10))
    # The refused request itself comes by these first.
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
        assert one.end() is None
        written = running.wait_for_reason("bridge-defect")
    assert not running.lab.site.received()
    assert written["verdict"] == "deny"
    own = ["malicious-content"] * (name != "withdrawal")
    found = records(running, 3 + len(own))
    assert [one["reason"] for one in found[2:]] == ["bridge-defect", *own]
    assert running.lab.site.uploads.files == {}


HOOKS = ["requestheaders", "request", "responseheaders"]
HOOKS += ["head_read", "packet_announced", "packet_read", "body_read", "body_inspected"]
HOOKS += ["packet_answered"]


def is_cancel(known: Any) -> bool:
    """Whether a hook or a decision is about a Cancel-Session."""
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
def test_a_hook_that_fails_on_a_withdrawal_leaves_no_request_unwritten(
    running: Running, sender: Senders, hook: str, error: type[BaseException]
) -> None:
    one = sender(BAD_DATA)
    one.begin()

    def fail_on_cancel(known: Any) -> Any:
        if is_cancel(known):
            raise error("made to fail")
        return known if hook in DECISIONS else None

    running.add_hook(hook, fail_on_cancel, first=True)
    reply = one.end()
    if error is not asyncio.CancelledError:
        assert reply is not None
        assert reply.status == 403
    found = records(running, 4)
    assert sorted(one.get("reason") or "" for one in found) == [
        "",
        "",
        "bridge-defect",
        "malicious-content",
    ]
