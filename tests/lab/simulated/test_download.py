"""A download that goes on elsewhere (CLIENT-RESUME), from servers that are not always the same."""

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
    """A file, and what was asked of it."""

    data: bytes = DATA
    etag: str = '"1"'
    head: int = 200
    ignores_ranges: bool = False
    asked: list[str] = field(default_factory=list)

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
        self.asked.append(given["Range"])
        first, last = map(int, re.findall(r"\d+", given["Range"]))
        if self.ignores_ranges:
            yield Response(200, "OK", (), b""), iter((self.data,))
            return
        part = self.data[first : last + 1]
        said = f"bytes {first}-{last}/{len(self.data)}"
        pieces = (part[at : at + PIECE] for at in range(0, len(part), PIECE))
        yield Response(206, "", (("Content-Range", said),), b""), pieces


def go_on(download: Download, server: Server, until: int = len(DATA)) -> None:
    download.go_on(server, "/x", lambda position: position < until)  # type: ignore[arg-type]


def sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def test_it_is_the_same_file_however_it_was_cut() -> None:
    download = Download()
    addresses = [Server() for _ in range(4)]
    for until, server in zip((1, 1_234_567, 1_300_001, len(DATA)), addresses, strict=True):
        go_on(download, server, until)
    assert download.whole
    assert download.sha256 == sha256(DATA)
    assert not download.begun_again
    # Nothing is asked for twice, and each place goes on where the last one was left.
    assert [server.asked[0] for server in addresses] == [
        f"bytes=0-{PART - 1}",
        f"bytes={PIECE}-{PIECE + PART - 1}",
        f"bytes={PART + 2 * PIECE}-{2 * PART + 2 * PIECE - 1}",
        f"bytes={PART + 3 * PIECE}-{2 * PART + 3 * PIECE - 1}",
    ]


@pytest.mark.parametrize("other", [Server(etag='"2"'), Server(data=DATA[:-1])])
def test_of_another_file_nothing_is_kept(other: Server) -> None:
    download = Download()
    go_on(download, Server(), PART)
    go_on(download, other)
    assert download.begun_again
    assert other.asked[0] == f"bytes=0-{PART - 1}"
    assert download.sha256 == sha256(other.data)


def test_a_server_that_ignores_ranges_is_refused() -> None:
    download = Download()
    go_on(download, Server(), PART)
    with pytest.raises(DownloadError, match="a range was answered 200"):
        go_on(download, Server(ignores_ranges=True))
    assert download.position >= PART


def test_and_one_that_has_no_such_file() -> None:
    with pytest.raises(DownloadError, match="HEAD was answered 404"):
        go_on(Download(), Server(head=404))
