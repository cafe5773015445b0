"""A strict parser for the head of an HTTP/1.1 request (HTTP-1.1).

1. The head ends with the first CRLF CRLF. The caller limits its size. A bare LF or CR is malformed,
   and never a line end (RFC 9112 §2.2 allows a lenient server, but a proxy in front of another
   parser must be strict).
2. The request line is ``method SP request-target SP HTTP-version``, with single spaces (§3).
3. Every other line is ``field-name ":" OWS field-value OWS``. A line that begins with a space or a
   tab (obs-fold, §5.2) is malformed.
4. Only this module decides the framing (§6): at most one Content-Length, of digits, and no
   Transfer-Encoding. ConfigMgr clients send a length with every body (protocol.md §1.2), so any
   transfer coding of a request is refused.

The fields keep their order and case when they are forwarded. The bridge adds only one field, a
Content-Length of 0 (`RequestHead.with_zero_length`).
"""

from __future__ import annotations

import re
from collections.abc import KeysView
from dataclasses import dataclass, field, replace

from ibcm_bridge.decisions import rules
from ibcm_bridge.decisions.denial import Deny, Reason
from ibcm_bridge.request.target import SentTarget, sent_target

TOKEN = re.compile(rb"[!#$%&'*+\-.^_`|~0-9A-Za-z]+")
"""RFC 9110 §5.6.2."""

FIELD_VALUE = re.compile(rb"[\t\x20-\x7e\x80-\xff]*")
"""RFC 9110 §5.5: visible characters, SP, HTAB and obs-text, which is opaque."""

TARGET = re.compile(rb"[\x21-\x7e]+")
"""Visible ASCII. RFC 3986 §3.3 allows less, but clients send ``{`` and ``}`` unescaped."""

_FIELD_LINES = re.compile(
    # Possessive: nothing in a line can match in two ways.
    rb"(?:%b+:%b+\r\n)*+" % (TOKEN.pattern, FIELD_VALUE.pattern)
)

LENGTH = re.compile(rb"0|[1-9][0-9]{0,18}")
"""Digits without a sign, space or leading zero. MAX_LENGTH limits the 19 digits."""

MAX_LENGTH = 2**63 - 1

MAX_FIELDS = 100
"""The default of `limits.header_fields`."""


@dataclass(frozen=True, slots=True)
class RequestHead:
    """A well-formed head.

    `method` and `fields` (name, value) are as sent, and in order. `length` is the Content-Length in
    bytes, or None if the field is absent.
    """

    method: bytes
    target: SentTarget
    fields: tuple[tuple[bytes, bytes], ...]
    length: int | None
    _by_name: dict[bytes, tuple[bytes, ...]] = field(init=False, repr=False, compare=False)
    """All values of each field, by its lower-case name."""

    def __post_init__(self) -> None:
        """Index the fields, because many checks need some of them."""
        by_name: dict[bytes, tuple[bytes, ...]] = {}
        for name, value in self.fields:
            lower = name.lower()
            by_name[lower] = (*by_name[lower], value) if lower in by_name else (value,)
        object.__setattr__(self, "_by_name", by_name)

    @property
    def names(self) -> KeysView[bytes]:
        """The different names of fields, in lower case."""
        return self._by_name.keys()

    def values(self, lower_name: bytes) -> tuple[bytes, ...]:
        """All values of a field, by its lower-case name."""
        return self._by_name.get(lower_name, ())

    def value(self, lower_name: bytes) -> bytes | None:
        """The value of a field that occurs once; None if it is absent or repeated."""
        found = self.values(lower_name)
        return found[0] if len(found) == 1 else None

    def keeping(self, lower_names: frozenset[bytes]) -> tuple[RequestHead, tuple[str, ...]]:
        """This head with only these fields, and the names of the dropped fields."""
        if self.names <= lower_names:
            return self, ()
        kept, dropped = [], []
        for name, value in self.fields:
            if name.lower() in lower_names:
                kept.append((name, value))
            else:
                dropped.append(name.decode("ascii"))
        return replace(self, fields=tuple(kept)), tuple(dropped)

    def with_zero_length(self) -> RequestHead:
        """This head, which has no Content-Length, with a Content-Length of 0.

        A request without Content-Length has no body (RFC 9112 §6.3), so the message is the same.
        """
        assert self.length is None
        return replace(self, fields=(*self.fields, (b"Content-Length", b"0")), length=0)

    def to_bytes(self) -> bytes:
        """The head in wire format, with the empty line at its end."""
        lines = [b"%b %b HTTP/1.1" % (self.method, self.target.raw)]
        lines += [b"%b: %b" % field for field in self.fields]
        return b"\r\n".join(lines) + b"\r\n\r\n"


def content_type_parts(value: bytes) -> tuple[bytes, bytes]:
    """Media type and parameters of a Content-Type, in lower case and without quotes."""
    media_type, _, parameters = value.lower().partition(b";")
    return media_type.strip(), parameters.strip().replace(b'"', b"")


def read_request_head(raw: bytes, max_fields: int = MAX_FIELDS) -> RequestHead | Deny:
    """Parse a complete head, including its CRLF CRLF, with at most `max_fields` fields."""
    if not raw.endswith(b"\r\n\r\n"):
        return _malformed(rules.HEAD_END, "the head does not end with CRLF CRLF")
    if not raw.count(b"\r\n") == raw.count(b"\r") == raw.count(b"\n"):
        return _malformed(rules.HEAD_LINE_END, "a bare CR or LF")
    request_line, *lines = raw[:-4].split(b"\r\n")
    if len(lines) > max_fields:
        detail = f"{len(lines)} header fields; the limit is {max_fields}"
        return Deny(Reason.HEAD_TOO_LARGE, rules.LIMITS_HEADER_FIELDS, detail)

    parts = request_line.split(b" ")
    if len(parts) != 3:
        return _malformed(
            rules.HEAD_REQUEST_LINE, "the request line is not: method SP target SP version"
        )
    method, target, version = parts
    if not TOKEN.fullmatch(method):
        return _malformed(rules.HEAD_METHOD, "the method is not a token")
    if not TARGET.fullmatch(target):
        return _malformed(
            rules.HEAD_TARGET, "the request target contains a character other than visible ASCII"
        )
    if version != b"HTTP/1.1":
        if re.fullmatch(rb"HTTP/[0-9]\.[0-9]", version):
            return Deny(Reason.HTTP_VERSION, rules.HEAD_VERSION, version.decode("ascii"))
        return _malformed(rules.HEAD_VERSION, "not an HTTP version")

    if not _FIELD_LINES.fullmatch(raw, len(request_line) + 2, len(raw) - 2):
        return _malformed_field(lines)
    parted = [line.partition(b":") for line in lines]
    fields = tuple((name, value.strip(b" \t")) for name, _, value in parted)
    return _with_framing(method, target, fields)


def _malformed_field(lines: list[bytes]) -> Deny:
    """Return the refusal of the first line that is not a field."""
    for line in lines:
        name, colon, value = line.partition(b":")
        if colon and TOKEN.fullmatch(name) and not FIELD_VALUE.fullmatch(value):
            return _malformed(rules.HEAD_FIELD_VALUE, f"a control character in {_text(name)}")
        if not colon or not TOKEN.fullmatch(name):
            break
    form = "a header line is not in the form field-name: value"
    return _malformed(rules.HEAD_FIELD_NAME, form)


def _with_framing(
    method: bytes, target: bytes, fields: tuple[tuple[bytes, bytes], ...]
) -> RequestHead | Deny:
    names = [name.lower() for name, _ in fields]
    lengths = [fields[at][1] for at, name in enumerate(names) if name == b"content-length"]
    if b"transfer-encoding" in names:
        # RFC 9112 §6.1: together with Content-Length, this can be request smuggling.
        reason = Reason.FRAMING if lengths else Reason.LENGTH_REQUIRED
        return Deny(reason, rules.HEAD_TRANSFER_ENCODING, "the request has Transfer-Encoding")
    if not lengths:
        return RequestHead(method, sent_target(target), fields, None)
    # RFC 9112 §6.3: different lengths are an error. It allows merging equal ones, but does not
    # require it.
    if len(lengths) > 1:
        return Deny(Reason.FRAMING, rules.HEAD_CONTENT_LENGTH, "more than one Content-Length")
    if not LENGTH.fullmatch(lengths[0]) or int(lengths[0]) > MAX_LENGTH:
        return Deny(Reason.FRAMING, rules.HEAD_CONTENT_LENGTH, "Content-Length is not a number")
    return RequestHead(method, sent_target(target), fields, int(lengths[0]))


def _malformed(rule: rules.Rule, detail: str) -> Deny:
    return Deny(Reason.MALFORMED_HEAD, rule, detail)


def _text(name: bytes) -> str:
    return name[:64].decode("ascii")
