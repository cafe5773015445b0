"""What the stand-in distribution point hands out: any amount of noise, the same each time."""

from __future__ import annotations

import re
from collections.abc import Iterator
from hashlib import shake_256
from typing import NamedTuple

from tornado.httputil import HTTPHeaders

CHUNK = 256 * 1024
ETAG = '"lab-1"'
VALIDATORS = {  # what BITS compares between the parts of a download (protocol.md 7)
    "Content-Type": "application/octet-stream",
    "Accept-Ranges": "bytes",
    "Last-Modified": "Thu, 01 Jan 2026 00:00:00 GMT",
    "ETag": ETAG,
}
NOISE = shake_256(b"ibcm-bridge lab").digest(2 * CHUNK)


class Answer(NamedTuple):
    """What a stand-in answers; `body` as a range stands for that part of `content`."""

    status: int
    body: bytes | range
    fields: dict[str, str]


def content(start: int, stop: int) -> bytes:
    """These bytes of any download. Each block has its number and another turn of the noise."""
    pieces: list[bytes] = []
    while start < stop:
        block, offset = divmod(start, CHUNK)
        turn = block * 7919 % CHUNK
        whole = block.to_bytes(8, "big") + NOISE[turn : turn + CHUNK - 8]
        pieces.append(whole[offset : offset + stop - start])
        start += len(pieces[-1])
    return b"".join(pieces)


def part(answer: Answer, asked: HTTPHeaders) -> Answer:
    """RFC 9110, 14: one range; anything else that Range may say is ignored, as it may be."""
    size = len(answer.body)
    wanted = re.fullmatch(r"bytes=(\d*)-(\d*)", asked.get("Range", ""))
    if not wanted or asked.get("If-Range", ETAG) != ETAG or wanted[0] == "bytes=-":
        return answer
    first, last = wanted.groups()
    start = int(first) if first else max(0, size - int(last))
    stop = min(size, int(last) + 1) if first and last else size
    if start >= stop:
        return Answer(416, b"", {"Content-Range": f"bytes */{size}"})
    fields = answer.fields | {"Content-Range": f"bytes {start}-{stop - 1}/{size}"}
    return Answer(206, answer.body[start:stop], fields)


def chunks(body: bytes | range) -> Iterator[bytes]:
    """A body in pieces; what a range stands for is made as it is sent."""
    if isinstance(body, bytes):
        yield body
    else:
        for start in range(body.start, body.stop, CHUNK):
            yield content(start, min(start + CHUNK, body.stop))
