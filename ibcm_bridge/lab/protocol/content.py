"""The content of the simulated distribution point: deterministic pseudorandom bytes."""

from __future__ import annotations

import re
from collections.abc import Iterator
from enum import StrEnum
from hashlib import shake_256
from typing import NamedTuple
from urllib.parse import quote, unquote

from tornado.httputil import HTTPHeaders

CHUNK = 256 * 1024
ETAG = '"lab-1"'
VALIDATORS = {  # BITS compares these between the ranges of a download (protocol.md 7)
    "Content-Type": "application/octet-stream",
    "Accept-Ranges": "bytes",
    "Last-Modified": "Thu, 01 Jan 2026 00:00:00 GMT",
    "ETag": ETAG,
}
NOISE = shake_256(b"ibcm-bridge lab").digest(2 * CHUNK)


SETUP = "setup.exe"
NAMED = (
    "themes/100%.theme",
    "Espa\u00f1ol.txt",
    "C#/readme.txt",
    "a;b.txt",
    "backup/report~2024.xlsx",
    "sources/sxs/microsoft-windows-netfx3-ondemand-package~31bf3856ad364e35~amd64~~.cab",
)
"""The other files of each package, with difficult names as on a real file system. The content of
each file is its name, so that a client can verify which file it received."""


class Pace(StrEnum):
    """How a site system sends a response."""

    AT_ONCE = "at-once"
    SILENT = "silent"
    """Not at all."""
    STALLED = "stalled"
    """The head and half of the body."""
    TRICKLED = "trickled"
    """In `PIECES`, with a pause after each."""


PIECES, PAUSE_SECONDS = 8, 0.5
PACED_SIZE = 4_096
"""Bytes of a file with a pace."""


class ServerResponse(NamedTuple):
    """A response of a simulated site system; a range as `body` means these bytes of `content`."""

    status: int
    body: bytes | range
    fields: dict[str, str]
    pace: Pace = Pace.AT_ONCE


def content(start: int, stop: int) -> bytes:
    """Return these bytes of a download. Each block has its number and rotated random bytes."""
    pieces: list[bytes] = []
    while start < stop:
        block, offset = divmod(start, CHUNK)
        rotation = block * 7919 % CHUNK
        data = block.to_bytes(8, "big") + NOISE[rotation : rotation + CHUNK - 8]
        pieces.append(data[offset : offset + stop - start])
        start += len(pieces[-1])
    return b"".join(pieces)


def named(query: str) -> ServerResponse | None:
    """Return the file that a query names (protocol.md 7): decoded once, UTF-8, case-insensitive."""
    wanted = unquote(query, errors="strict").removeprefix("/").lower()
    found = next((name for name in NAMED if name.lower() == wanted), None)
    return None if found is None else ServerResponse(200, found.encode(), VALIDATORS)


def paced_name(pace: Pace) -> str:
    """Return the name of a file that a distribution point sends at this pace."""
    return f"paced-{pace}.bin"


def paced(query: str) -> ServerResponse | None:
    """Return the response for a file with a pace, in any folder."""
    name = query.rpartition("/")[2]
    found = next((pace for pace in Pace if paced_name(pace) == name), None)
    if found is None:
        return None
    return ServerResponse(200, range(PACED_SIZE), VALIDATORS, found)


def listed(download_bytes: int) -> Iterator[tuple[str, int]]:
    """Yield the query and the length in bytes of each file of a package."""
    yield f"/{SETUP}", download_bytes
    for name in NAMED:
        yield f"/{quote(name)}", len(name.encode())


MAX_RANGES, MAX_PARTS = 500, 16 * 1024 * 1024
"""Limits of ranges in a request, and of bytes in a multipart response. BITS requests several ranges
if it lacks several parts of a file (protocol.md 7)."""

BOUNDARY = "lab-part"


def part(response: ServerResponse, headers: HTTPHeaders) -> ServerResponse:
    """Apply Range (RFC 9110, 14): one or more byte ranges; other values are ignored."""
    size = len(response.body)
    unit, _, wanted = headers.get("Range", "").partition("=")
    given = [_range(text.strip(), size) for text in wanted.split(",")]
    if unit != "bytes" or None in given or len(given) > MAX_RANGES:
        return response
    if headers.get("If-Range", ETAG) != ETAG:
        return response
    ranges = [byte_range for byte_range in given if byte_range]
    if not ranges:
        return ServerResponse(416, b"", {"Content-Range": f"bytes */{size}"})
    if len(ranges) > 1:
        return _parts(response, ranges)
    (byte_range,) = ranges
    content_range = f"bytes {byte_range.start}-{byte_range.stop - 1}/{size}"
    fields = response.fields | {"Content-Range": content_range}
    return ServerResponse(206, response.body[byte_range.start : byte_range.stop], fields)


def _range(text: str, size: int) -> range | None:
    """Return the satisfiable part of a range, possibly empty; None if it is invalid."""
    wanted = re.fullmatch(r"(\d*)-(\d*)", text)
    if not wanted or text == "-":
        return None
    first, last = wanted.groups()
    start = int(first) if first else max(0, size - int(last))
    return range(start, min(size, int(last) + 1) if first and last else size)


def _parts(response: ServerResponse, ranges: list[range]) -> ServerResponse:
    """RFC 9110, 14.6. BITS accepts at most 180 bytes before each part (protocol.md 7)."""
    if sum(map(len, ranges)) > MAX_PARTS:
        return response
    kind = response.fields.get("Content-Type", "application/octet-stream")
    written = bytearray()
    for byte_range in ranges:
        content_range = f"bytes {byte_range.start}-{byte_range.stop - 1}/{len(response.body)}"
        head = f"--{BOUNDARY}\r\nContent-Type: {kind}\r\nContent-Range: {content_range}\r\n\r\n"
        piece = response.body[byte_range.start : byte_range.stop]
        written += head.encode() + b"".join(chunks(piece)) + b"\r\n"
    written += f"--{BOUNDARY}--\r\n".encode()
    several = {"Content-Type": f"multipart/byteranges; boundary={BOUNDARY}"}
    return ServerResponse(206, bytes(written), response.fields | several)


def chunks(body: bytes | range) -> Iterator[bytes]:
    """Yield a body in pieces; generated content is created on demand."""
    if isinstance(body, bytes):
        yield body
    else:
        for start in range(body.start, body.stop, CHUNK):
            yield content(start, min(start + CHUNK, body.stop))
