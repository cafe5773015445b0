"""A file that is downloaded part by part, from wherever the client is (CLIENT-RESUME).

As BITS does (protocol.md 7): HEAD says how large the file is and which one it is, then come ranges.
What has arrived is good elsewhere as long as it is the same file there; if not, it is thrown away.
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
    """An answer that is none to what was asked."""


class Download:
    """One file. Only its digest is kept, of the bytes as they came."""

    def __init__(self) -> None:
        self.size: int | None = None
        """Bytes; None as long as nobody has said."""
        self.position = 0
        """Bytes that have arrived."""
        self.begun_again = False
        """Whether what had arrived was of another file."""
        self._is: tuple[str | None, ...] = ()
        self._digest = hashlib.sha256()

    @property
    def whole(self) -> bool:
        """Whether all has arrived."""
        return self.position == self.size

    @property
    def sha256(self) -> str:
        """Of what has arrived."""
        return self._digest.hexdigest()

    def go_on(
        self, client: LabClient, target: str, goes_on: Callable[[int], bool] = lambda _: True
    ) -> None:
        """Get what is missing, until `goes_on`, asked with the position, says no.

        DownloadError where an answer is not what was asked for.
        """
        self._ask(client.send(Request("HEAD", target, (AGENT,))))
        while not self.whole and goes_on(self.position):
            self._part(client, target, goes_on)

    def _ask(self, head: Response) -> None:
        if head.status != 200 or not (head.header("Content-Length") or "").isdecimal():
            raise DownloadError(f"HEAD was answered {head.status} {head.reason}")
        size = int(head.header("Content-Length") or "")
        now = (head.header("ETag"), head.header("Last-Modified"))
        if (size, now) == (self.size, self._is):
            return
        self.begun_again = self.position > 0
        self.size, self._is, self.position = size, now, 0
        self._digest = hashlib.sha256()

    def _part(self, client: LabClient, target: str, goes_on: Callable[[int], bool]) -> None:
        assert self.size is not None
        last = min(self.position + PART, self.size) - 1
        fields = [AGENT, ("Range", f"bytes={self.position}-{last}")]
        if (etag := self._is[0]) is not None:
            fields.append(("If-Range", etag))
        with client.receiving(target, fields) as (response, pieces):
            content_range = response.header("Content-Range") or ""
            if response.status != 206 or not re.fullmatch(
                rf"bytes {self.position}-{last}/{self.size}", content_range
            ):
                raise DownloadError(
                    f"a range was answered {response.status} {response.reason} {content_range}"
                )
            for piece in pieces:
                self._digest.update(piece)
                self.position += len(piece)
                if not goes_on(self.position):
                    return
