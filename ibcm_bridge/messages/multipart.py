"""multipart/mixed as ConfigMgr sends it (RFC 2046 §5.1; protocol.md §1.3; HTTP-MULTIPART).

The parser is strict: no preamble, no epilogue except a CRLF, no nested multipart, and no part
header except Content-Type. A body that another parser could split in another way is refused.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field

from ibcm_bridge.decisions import rules
from ibcm_bridge.decisions.denial import Deny, Reason
from ibcm_bridge.messages.limits import MAX_PART_HEAD, MAX_PARTS

_BOUNDARY_PARAMETER = re.compile(
    rb"multipart/mixed[ \t]*;[ \t]*boundary=(?:\"([^\"]+)\"|([^\s;\"]+))[ \t]*", re.IGNORECASE
)
_BOUNDARY = re.compile(rb"[0-9A-Za-z'()+_,\-./:=? ]{0,69}[0-9A-Za-z'()+_,\-./:=?]")
"""RFC 2046 §5.1.1: 1 to 70 characters, the last not a space."""


@dataclass(frozen=True, slots=True)
class Part:
    """A body part and its bytes as sent."""

    media_type: bytes
    """With parameters, in lower case."""
    body: bytes
    offset: int = field(default=0, compare=False)
    """The offset of `body` in the whole."""


def read_multipart(content_type: bytes, body: bytes) -> tuple[Part, ...] | Deny:
    """Split a multipart/mixed body into its parts."""
    parameter = _BOUNDARY_PARAMETER.fullmatch(content_type)
    if parameter is None:
        return _broken(
            rules.MULTIPART_BOUNDARY, "the Content-Type does not have exactly one boundary"
        )
    boundary = parameter[1] or parameter[2]
    if not _BOUNDARY.fullmatch(boundary):
        return _broken(rules.MULTIPART_BOUNDARY, "an invalid boundary (RFC 2046)")
    delimiter = b"--" + boundary
    if not body.startswith(delimiter):
        return _broken(rules.MULTIPART_PREAMBLE, "data before the first delimiter")
    pieces = body[len(delimiter) :].split(b"\r\n" + delimiter, MAX_PARTS + 1)
    if pieces[-1] not in (b"--", b"--\r\n"):
        return _broken(
            rules.MULTIPART_CLOSE, "no closing delimiter, or data after the closing delimiter"
        )
    if body.count(delimiter) != len(pieces):
        # For example after a bare LF: other parsers split there, against RFC 2046 §5.1.1.
        return _broken(rules.MULTIPART_DELIMITER, "a delimiter that does not follow a CRLF")
    if not 1 < len(pieces) <= MAX_PARTS + 1:
        return _broken(rules.MULTIPART_PARTS, "no parts, or too many")
    parts = []
    offset = len(delimiter)
    for piece in pieces[:-1]:
        part = _read_part(piece, offset)
        if isinstance(part, Deny):
            return part
        parts.append(part)
        offset += len(piece) + len(b"\r\n") + len(delimiter)
    return tuple(parts)


def _read_part(piece: bytes, offset: int) -> Part | Deny:
    end = piece.find(b"\r\n\r\n", 0, MAX_PART_HEAD)
    if not piece.startswith(b"\r\n") or end < 2:
        return _broken(rules.MULTIPART_PART_HEAD, "a part without a Content-Type line")
    name, _, value = piece[2:end].partition(b":")
    # Other fields (a transfer encoding, a disposition) would change the meaning of the body.
    if b"\r" in value or b"\n" in value or name.lower() != b"content-type":
        return _broken(rules.MULTIPART_PART_HEAD, "a part with a field other than Content-Type")
    return Part(value.strip(b" \t").lower(), piece[end + 4 :], offset + end + 4)


def _broken(rule: rules.Rule, detail: str) -> Deny:
    return Deny(Reason.MULTIPART, rule, detail)
