"""The head of an HTTP/1.1 request, read strictly from its bytes (HTTP-1.1).

1. The head is everything up to and including the first CRLF CRLF; its size is bounded by the
   caller. A bare LF or CR anywhere is malformed, never a line end (RFC 9112 §2.2 lets a server
   be lenient; a proxy in front of another parser must not be).
2. The request line is ``method SP request-target SP HTTP-version``, single spaces (§3).
3. Every other line is ``field-name ":" OWS field-value OWS``; a line that begins with a space or
   a tab (obs-fold, §5.2) is malformed.
4. Framing is settled here and nowhere else (§6): one Content-Length of digits or none, and no
   Transfer-Encoding at all. ConfigMgr clients send a length with every body (protocol.md §1.2), so
   a coding on a request is refused rather than understood.

The order and the case of the fields are kept: what is forwarded is what was sent. The one field
that may come to it is a Content-Length of 0 (`RequestHead.stating_no_body`).
"""

from __future__ import annotations

import re
from dataclasses import dataclass, replace

from ibcm_bridge.decisions import rules
from ibcm_bridge.decisions.denial import Deny, Reason
from ibcm_bridge.request.target import SentTarget, sent_target

TOKEN = re.compile(rb"[!#$%&'*+\-.^_`|~0-9A-Za-z]+")
"""RFC 9110 §5.6.2."""

FIELD_VALUE = re.compile(rb"[\t\x20-\x7e\x80-\xff]*")
"""RFC 9110 §5.5: visible characters, SP and HTAB; obs-text is opaque to us."""

TARGET = re.compile(rb"[\x21-\x7e]+")
"""Visible ASCII. RFC 3986 allows less, but real clients send ``{`` and ``}`` raw (§3.3)."""

LENGTH = re.compile(rb"0|[1-9][0-9]{0,18}")
"""Digits without sign, space or leading zero; 19 digits stay below 2^63 by the check below."""

MAX_LENGTH = 2**63 - 1


@dataclass(frozen=True, slots=True)
class RequestHead:
    """A well-formed head.

    `method` is the bytes as sent. `fields` are (name, value) in order, as sent. `length` is the
    Content-Length in bytes, or None when the field is absent.
    """

    method: bytes
    target: SentTarget
    fields: tuple[tuple[bytes, bytes], ...]
    length: int | None

    def values(self, lower_name: bytes) -> list[bytes]:
        """All values of a field, by its lower-case name."""
        return [value for name, value in self.fields if name.lower() == lower_name]

    def value(self, lower_name: bytes) -> bytes | None:
        """The value of a field that occurs once; None when absent or repeated."""
        found = self.values(lower_name)
        return found[0] if len(found) == 1 else None

    def keeping(self, lower_names: frozenset[bytes]) -> tuple[RequestHead, tuple[str, ...]]:
        """This head with only the named fields, and the names of those left out."""
        kept = tuple(field for field in self.fields if field[0].lower() in lower_names)
        if len(kept) == len(self.fields):
            return self, ()
        dropped = tuple(
            name.decode("ascii") for name, _ in self.fields if name.lower() not in lower_names
        )
        return replace(self, fields=kept), dropped

    def stating_no_body(self) -> RequestHead:
        """This head, which has no length, with the Content-Length that says the same.

        A request without one has no body (RFC 9112 §6.3), so this is the same message.
        """
        assert self.length is None
        return replace(self, fields=(*self.fields, (b"Content-Length", b"0")), length=0)

    def to_bytes(self) -> bytes:
        """The head as it goes on the wire, with the empty line that ends it."""
        lines = [b"%b %b HTTP/1.1" % (self.method, self.target.raw)]
        lines += [b"%b: %b" % field for field in self.fields]
        return b"\r\n".join(lines) + b"\r\n\r\n"


def content_type_parts(value: bytes) -> tuple[bytes, bytes]:
    """Media type and parameters of a Content-Type, in lower case and without quotes."""
    media_type, _, parameters = value.lower().partition(b";")
    return media_type.strip(), parameters.strip().replace(b'"', b"")


def read_request_head(raw: bytes) -> RequestHead | Deny:
    """Read one complete head, CRLF CRLF included."""
    if not raw.endswith(b"\r\n\r\n"):
        return _malformed(rules.HEAD_END, "the head does not end with CRLF CRLF")
    lines = raw[:-4].split(b"\r\n")
    if any(b"\n" in line or b"\r" in line for line in lines):
        return _malformed(rules.HEAD_LINE_END, "a bare CR or LF")

    parts = lines[0].split(b" ")
    if len(parts) != 3:
        return _malformed(rules.HEAD_REQUEST_LINE, "not exactly: method SP target SP version")
    method, target, version = parts
    if not TOKEN.fullmatch(method):
        return _malformed(rules.HEAD_METHOD, "the method is not a token")
    if not TARGET.fullmatch(target):
        return _malformed(
            rules.HEAD_TARGET, "the request target has a character that is not visible ASCII"
        )
    if version != b"HTTP/1.1":
        if re.fullmatch(rb"HTTP/[0-9]\.[0-9]", version):
            return Deny(Reason.HTTP_VERSION, rules.HEAD_VERSION, version.decode("ascii"))
        return _malformed(rules.HEAD_VERSION, "not an HTTP version")

    fields = []
    for line in lines[1:]:
        name, colon, value = line.partition(b":")
        if not colon or not TOKEN.fullmatch(name):
            return _malformed(rules.HEAD_FIELD_NAME, "a line that is not field-name: value")
        value = value.strip(b" \t")
        if not FIELD_VALUE.fullmatch(value):
            return _malformed(rules.HEAD_FIELD_VALUE, f"a control character in {_text(name)}")
        fields.append((name, value))

    return _with_framing(method, target, tuple(fields))


def _with_framing(
    method: bytes, target: bytes, fields: tuple[tuple[bytes, bytes], ...]
) -> RequestHead | Deny:
    lengths = []
    for name, value in fields:
        lower = name.lower()
        if lower == b"content-length":
            lengths.append(value)
        elif lower == b"transfer-encoding":
            # RFC 9112 §6.1: with Content-Length beside it this is a smuggling attempt.
            reason = Reason.LENGTH_REQUIRED
            if any(n.lower() == b"content-length" for n, _ in fields):
                reason = Reason.FRAMING
            return Deny(reason, rules.HEAD_TRANSFER_ENCODING, "Transfer-Encoding on a request")
    if not lengths:
        return RequestHead(method, sent_target(target), fields, None)
    # RFC 9112 §6.3: differing lengths are an error; equal ones may be merged, and we do not.
    if len(lengths) > 1:
        return Deny(Reason.FRAMING, rules.HEAD_CONTENT_LENGTH, "more than one Content-Length")
    if not LENGTH.fullmatch(lengths[0]) or int(lengths[0]) > MAX_LENGTH:
        return Deny(Reason.FRAMING, rules.HEAD_CONTENT_LENGTH, "Content-Length is not a number")
    return RequestHead(method, sent_target(target), fields, int(lengths[0]))


def _malformed(rule: rules.Rule, detail: str) -> Deny:
    return Deny(Reason.MALFORMED_HEAD, rule, detail)


def _text(name: bytes) -> str:
    return name[:64].decode("ascii")
