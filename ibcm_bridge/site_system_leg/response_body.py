"""The body of a response, piece by piece, out of what a site system sends (RFC 9112 §6.3)."""

from __future__ import annotations

import h11

from ibcm_bridge.request.byte_ranges import PART_BYTES
from ibcm_bridge.site_system_leg.partial_body import PartialBody
from ibcm_bridge.site_system_leg.response_head import BodyEnd, content_length


class IncompleteBodyError(Exception):
    """The body ended before it was whole, or is not as its coding must be."""


class ResponseBody:
    """What `reader` has not read of a response yet, as far as it may pass. Sans-IO."""

    def __init__(
        self,
        reader: h11.Connection,
        response: h11.Response,
        end: BodyEnd,
        partial: PartialBody | None = None,
    ) -> None:
        self.end = end
        self._partial = partial
        self.problem = "the response of the site system ended before it was whole"
        """What there is to say of a body that is not whole."""
        self.length = content_length(response) if end is BodyEnd.COUNTED else None
        """Bytes, where it is said before."""
        self._reader = reader
        self._remaining = self.length or 0
        # Past the head a counted body needs no parser: a download goes straight through.
        self._came: bytes = reader.trailing_data[0] if end is BodyEnd.COUNTED else b""
        self._put_back = b""
        self._broken = False
        self._ended = end is BodyEnd.NO_BODY

    @property
    def surplus(self) -> bool:
        """Of a body that is whole: whether more came than it."""
        counted = self.end is BodyEnd.COUNTED
        return bool(self._came if counted else self._reader.trailing_data[0])

    def receive(self, data: bytes | None) -> None:
        """More from the site system; empty at its clean end, None where it was cut off."""
        if data is None or (self.end is BodyEnd.COUNTED and not data):
            self._broken = True
        elif self.end is BodyEnd.COUNTED:
            self._came = data
        else:
            self._reader.receive_data(data)

    def put_back(self, data: bytes) -> None:
        """Have what has been taken be taken once more."""
        self._put_back = data

    def take(self) -> bytes | None:
        """The next piece; empty at the end of the body, None until there is more.

        IncompleteBodyError where there will be no more.
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
        passing = self._partial.passing(piece)
        if len(passing) < len(piece):
            self._broken = True
            most = f"{self._partial.most} bytes, which Range asks for with {PART_BYTES} a part"
            self.problem = f"the site system sent more than {most}; it was cut off there"
        if not passing:
            raise IncompleteBodyError
        return passing

    def _take_counted(self) -> bytes | None:
        if not self._remaining:
            return b""
        # What is more than was announced is not ours to pass on.
        piece = self._came[: self._remaining]
        self._came = self._came[len(piece) :]
        self._remaining -= len(piece)
        return piece or None

    def _take_read(self) -> bytes | None:
        try:
            event = self._reader.next_event()
        except h11.RemoteProtocolError as error:
            self._broken = True
            raise IncompleteBodyError from error
        if isinstance(event, h11.Data):
            return bytes(event.data)
        self._ended = event is not h11.NEED_DATA
        return b"" if self._ended else None
