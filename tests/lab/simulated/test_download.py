"""A download that resumes in another network (CLIENT-RESUME), from equal or different servers."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

import pytest

from ibcm_bridge.lab.protocol.client import Request, Response
from ibcm_bridge.lab.simulated.download import PART, Download, DownloadError

DATA = bytes(range(256)) * (3 * PART // 256) + b"the end"
PIECE = 100_000


@dataclass
class Server:
    """A server with one file, and the requested ranges."""

    data: bytes = DATA
    etag: str = '"1"'
    head: int = 200
    ignores_ranges: bool = False
    requested: list[str] = field(default_factory=list)

    def send(self, request: Request) -> Response:
        assert request.method == "HEAD"
        fields = (("Content-Length", str(len(self.data))), ("ETag", self.etag))
        return Response(self.head, "", fields, b"")

    @contextmanager
    def receiving(
        self, _target: str, headers: list[tuple[str, str]]
    ) -> Iterator[tuple[Response, Iterator[bytes]]]:
        given = dict(headers)
        assert given["If-Range"] == self.etag
        self.requested.append(given["Range"])
        first, last = map(int, re.findall(r"\d+", given["Range"]))
        if self.ignores_ranges:
            yield Response(200, "OK", (), b""), iter((self.data,))
            return
        part = self.data[first : last + 1]
        content_range = f"bytes {first}-{last}/{len(self.data)}"
        pieces = (part[at : at + PIECE] for at in range(0, len(part), PIECE))
        yield Response(206, "", (("Content-Range", content_range),), b""), pieces


def resume(download: Download, server: Server, until: int = len(DATA)) -> None:
    download.resume(server, "/x", lambda position: position < until)  # type: ignore[arg-type]


def sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def test_the_file_is_the_same_after_interruptions() -> None:
    download = Download()
    addresses = [Server() for _ in range(4)]
    for until, server in zip((1, 1_234_567, 1_300_001, len(DATA)), addresses, strict=True):
        resume(download, server, until)
    assert download.whole
    assert download.sha256 == sha256(DATA)
    assert not download.restarted
    # No byte is requested twice: each server continues where the last one stopped.
    assert [server.requested[0] for server in addresses] == [
        f"bytes=0-{PART - 1}",
        f"bytes={PIECE}-{PIECE + PART - 1}",
        f"bytes={PART + 2 * PIECE}-{2 * PART + 2 * PIECE - 1}",
        f"bytes={PART + 3 * PIECE}-{2 * PART + 3 * PIECE - 1}",
    ]


@pytest.mark.parametrize("other", [Server(etag='"2"'), Server(data=DATA[:-1])])
def test_a_different_file_starts_again(other: Server) -> None:
    download = Download()
    resume(download, Server(), PART)
    resume(download, other)
    assert download.restarted
    assert other.requested[0] == f"bytes=0-{PART - 1}"
    assert download.sha256 == sha256(other.data)


def test_a_server_that_ignores_ranges_is_refused() -> None:
    download = Download()
    resume(download, Server(), PART)
    with pytest.raises(DownloadError, match="a range got status 200"):
        resume(download, Server(ignores_ranges=True))
    assert download.position >= PART


def test_a_missing_file_is_refused() -> None:
    with pytest.raises(DownloadError, match="HEAD got status 404"):
        resume(Download(), Server(head=404))
