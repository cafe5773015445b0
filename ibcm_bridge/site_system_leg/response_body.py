"""The body of a response, in pieces, from the bytes of a site system (RFC 9112 §6.3)."""

from __future__ import annotations

import h11

from ibcm_bridge.request.byte_ranges import PART_BYTES
from ibcm_bridge.site_system_leg.partial_body import PartialBody
from ibcm_bridge.site_system_leg.received_head import ReceivedHead
from ibcm_bridge.site_system_leg.response_head import BodyEnd
from ibcm_bridge.site_system_leg.response_reader import ResponseReader


class IncompleteBodyError(Exception):
    """The body is incomplete, or its transfer coding is malformed."""


class ResponseBody:
    """The body of a response whose head `reader` has read. Sans-IO."""

    def __init__(
        self,
        reader: ResponseReader,
        response: ReceivedHead,
        end: BodyEnd,
        partial: PartialBody | None = None,
    ) -> None:
        self.end = end
        self._partial = partial
        self.problem = "the site system's response is incomplete"
        """The reason for an IncompleteBodyError, for the audit."""
        self.length = response.length if end is BodyEnd.COUNTED else None
        """Bytes, if the head has the length."""
        self._reader = reader
        self._remaining = self.length or 0
        # A body with a Content-Length needs no parser, which makes downloads fast.
        self._came: bytes = reader.rest if end is BodyEnd.COUNTED else b""
        self._put_back = b""
        self._broken = False
        self._ended = end is BodyEnd.NO_BODY
        self._incomplete = False
        """True if it was replaced before all of it was taken."""

    @property
    def surplus(self) -> bool:
        """True if the connection has more bytes than the complete body."""
        if self._incomplete:
            return True
        counted = self.end is BodyEnd.COUNTED
        return bool(self._came if counted else self._reader.rest)

    def receive(self, data: bytes | None) -> None:
        """Add bytes of the site system: empty at a clean end, None if the connection was cut."""
        if data is None or (self.end is BodyEnd.COUNTED and not data):
            self._broken = True
        elif self.end is BodyEnd.COUNTED:
            self._came = data
        else:
            self._reader.receive_data(data)

    def put_back(self, data: bytes) -> None:
        """Return a taken piece, so that the next `take` returns it again."""
        self._put_back = data

    def replace(self, page: bytes) -> None:
        """Replace the body by this page. The rest of the old body counts as surplus."""
        taken = self._ended or (self.end is BodyEnd.COUNTED and not self._remaining)
        self._incomplete = not taken or self.surplus
        self.end, self.length = BodyEnd.COUNTED, len(page)
        self._put_back, self._ended, self._broken = page, True, False

    def take(self) -> bytes | None:
        """Return the next piece: empty at the end of the body, None if more bytes are needed.

        IncompleteBodyError if the body ends early.
        """
        if self._put_back:
            piece, self._put_back = self._put_back, b""
            return piece
        if self._broken:
            raise IncompleteBodyError
        if self._ended:
            return b""
        taken = self._take_counted() if self.end is BodyEnd.COUNTED else self._take_read()
        return self._bounded(taken) if taken and self._partial is not None else taken

    def _bounded(self, piece: bytes) -> bytes:
        assert self._partial is not None
        allowed = self._partial.within_limit(piece)
        if len(allowed) < len(piece):
            self._broken = True
            self.problem = (
                f"the site system sent more than {self._partial.limit} bytes (the requested ranges "
                f"and {PART_BYTES} bytes per part); the response was cut there"
            )
        if not allowed:
            raise IncompleteBodyError
        return allowed

    def _take_counted(self) -> bytes | None:
        if not self._remaining:
            return b""
        # Bytes after Content-Length are not part of the response, and are not forwarded.
        piece = self._came[: self._remaining]
        self._came = self._came[len(piece) :]
        self._remaining -= len(piece)
        return piece or None

    def _take_read(self) -> bytes | None:
        try:
            event = self._reader.parser.next_event()
        except h11.RemoteProtocolError as error:
            self._broken = True
            raise IncompleteBodyError from error
        if isinstance(event, h11.Data):
            return bytes(event.data)
        self._ended = event is not h11.NEED_DATA
        return b"" if self._ended else None
