"""A download in ranges that can resume in another network (CLIENT-RESUME).

As BITS does (protocol.md 7): HEAD returns the size and the version of the file, then come ranges.
If the version is the same at another server, the download resumes; otherwise it starts again.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable

from ibcm_bridge.lab.protocol.client import LabClient, Request, Response

AGENT = ("User-Agent", "Microsoft BITS/7.8")
PART = 1024 * 1024
"""Bytes of one range."""


class DownloadError(Exception):
    """A response that does not match the request."""


class Download:
    """One file. Only its digest is stored."""

    def __init__(self) -> None:
        self.size: int | None = None
        """Bytes; None before the first response."""
        self.position = 0
        """Received bytes."""
        self.restarted = False
        """True if the download started again because the file was different."""
        self._version: tuple[str | None, ...] = ()
        self._digest = hashlib.sha256()

    @property
    def whole(self) -> bool:
        """True if all bytes were received."""
        return self.position == self.size

    @property
    def sha256(self) -> str:
        """The digest of the received bytes."""
        return self._digest.hexdigest()

    def resume(
        self, client: LabClient, target: str, proceed: Callable[[int], bool] = lambda _: True
    ) -> None:
        """Download the missing bytes while `proceed(position)` returns True.

        DownloadError if a response does not match the request.
        """
        self._read_head(client.send(Request("HEAD", target, (AGENT,))))
        while not self.whole and proceed(self.position):
            self._receive_range(client, target, proceed)

    def _read_head(self, head: Response) -> None:
        if head.status != 200 or not (head.header("Content-Length") or "").isdecimal():
            raise DownloadError(f"HEAD got status {head.status} {head.reason}")
        size = int(head.header("Content-Length") or "")
        now = (head.header("ETag"), head.header("Last-Modified"))
        if (size, now) == (self.size, self._version):
            return
        self.restarted = self.position > 0
        self.size, self._version, self.position = size, now, 0
        self._digest = hashlib.sha256()

    def _receive_range(
        self, client: LabClient, target: str, proceed: Callable[[int], bool]
    ) -> None:
        assert self.size is not None
        last = min(self.position + PART, self.size) - 1
        fields = [AGENT, ("Range", f"bytes={self.position}-{last}")]
        if (etag := self._version[0]) is not None:
            fields.append(("If-Range", etag))
        with client.receiving(target, fields) as (response, pieces):
            content_range = response.header("Content-Range") or ""
            if response.status != 206 or not re.fullmatch(
                rf"bytes {self.position}-{last}/{self.size}", content_range
            ):
                raise DownloadError(
                    f"a range got status {response.status} {response.reason} {content_range}"
                )
            for piece in pieces:
                self._digest.update(piece)
                self.position += len(piece)
                if not proceed(self.position):
                    return
