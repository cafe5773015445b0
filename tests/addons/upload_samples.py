"""Sample uploads of two fragments."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from typing import Any

from ibcm_bridge.lab.cases.requests import eicar
from ibcm_bridge.lab.protocol.client import ConnectionEnded, LabClient, Request, Response
from ibcm_bridge.lab.protocol.uploads import SESSION, Upload
from tests.addons.stand_ins.running import Running, wait_for

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


@contextmanager
def senders(running: Running) -> Iterator[Senders]:
    """Yield a function that makes a client with an upload of this data."""
    running.lab.site.uploads.clear()
    with ExitStack() as stack:
        yield lambda data: Sender(running, stack.enter_context(running.client()), data)


def records(running: Running, count: int) -> list[dict[str, Any]]:
    wait_for(lambda: len(running.audit()) >= count)
    found = running.audit()
    assert len(found) == count, found
    assert len({record["reference"] for record in found}) == count
    return found
