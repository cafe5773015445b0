"""The head of a response as received, and a strict parser for its usual form.

Usual is HTTP/1.1 with a final status, well-formed fields, at most one Content-Length, and no
Transfer-Encoding. Any other head is for h11 (`response_reader`). The parser accepts only what h11
reads in the same way: a test and a fuzzing target compare both.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field

from ibcm_bridge.request.head import FIELD_VALUE, LENGTH, TOKEN


@dataclass(frozen=True, slots=True)
class ReceivedHead:
    """A well-formed head of a final response."""

    status: int
    reason: bytes
    fields: tuple[tuple[bytes, bytes, bytes], ...]
    """The name in lower case, the name as received, and the value."""
    http_1_0: bool = False
    _by_name: dict[bytes, tuple[bytes, ...]] = field(init=False, repr=False, compare=False)
    """All values of each field, by its lower-case name."""

    def __post_init__(self) -> None:
        """Index the fields, as for the head of a request."""
        by_name: dict[bytes, tuple[bytes, ...]] = {}
        for lower, _, value in self.fields:
            by_name[lower] = (*by_name[lower], value) if lower in by_name else (value,)
        object.__setattr__(self, "_by_name", by_name)

    def values(self, lower_name: bytes) -> tuple[bytes, ...]:
        """All values of a field, by its lower-case name."""
        return self._by_name.get(lower_name, ())

    @property
    def length(self) -> int | None:
        """The Content-Length in bytes. No parser accepts a repeated or malformed one."""
        lengths = self.values(b"content-length")
        return int(lengths[0]) if lengths else None


_USUAL = re.compile(
    # Possessive: nothing in a line can match in two ways.
    rb"HTTP/1\.1 ([2-5][0-9]{2})(?: (%b+))?+\r\n((?:%b+:%b+\r\n)*+)\r\n"
    % (FIELD_VALUE.pattern, TOKEN.pattern, FIELD_VALUE.pattern)
)


def read_usual_head(raw: bytes) -> ReceivedHead | None:
    """Parse a complete head, including its empty line. Return None if it is not a usual head."""
    if (usual := _USUAL.fullmatch(raw)) is None:
        return None
    status, reason, lines = usual.groups()
    fields = []
    length = None
    for line in lines.split(b"\r\n")[:-1]:
        name, _, value = line.partition(b":")
        lower, value = name.lower(), value.strip(b" \t")
        if lower == b"content-length":
            if length is not None or not LENGTH.fullmatch(value):
                return None
            length = value
        elif lower == b"transfer-encoding":
            return None
        fields.append((lower, name, value))
    return ReceivedHead(int(status), reason or b"", tuple(fields))
