"""Families of heads that two HTTP parsers can read differently, generated from tables.

Each family varies one property of two requests that the bridge forwards: a GET without a body and a
CCM_POST with one. A shape has the reason of its refusal, or None if it is a valid request; a valid
shape is the allowed twin of its family. RFC 9112 §11.2 describes request smuggling.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import product

from ibcm_bridge.decisions.denial import Reason
from ibcm_bridge.lab.protocol import ccm, documents

R = Reason

_GUID = "00000000-0000-0000-0000-00000000000a"
BODY = ccm.ccm_post_body(
    endpoint="MP_HinvEndpoint", body_xml=documents.inventory_report(_GUID), client_guid=_GUID
)
LENGTH = len(BODY)

LIST = b"/SMS_MP/.sms_aut?MPLIST"
HOST = b"Host: bridge.internet.example"
TYPE = f"Content-Type: {ccm.CONTENT_TYPE}".encode()
SIZE = b"Content-Length: %d" % LENGTH
GET_LINE = b"GET " + LIST + b" HTTP/1.1"
POST_LINE = b"CCM_POST /ccm_system/request HTTP/1.1"
GET = (GET_LINE, HOST)
POST = (POST_LINE, HOST, TYPE, SIZE)

SMUGGLED = b"GET /SMS_MP/.sms_aut?MPCERT HTTP/1.1\r\n" + HOST + b"\r\nX-Smuggled: yes\r\n\r\n"
"""A valid request that follows each shape. If a shape is refused, it must not be served."""


@dataclass(frozen=True)
class Shape:
    """Bytes that a client sends, and the reason of the refusal; None if it is forwarded."""

    sent: bytes
    reason: Reason | None


def head(*lines: bytes) -> bytes:
    return b"\r\n".join(lines) + b"\r\n\r\n"


def get(*fields: bytes) -> bytes:
    return head(*GET, *fields)


def post(*fields: bytes, body: bytes = BODY) -> bytes:
    return head(*POST, *fields) + body


def unsized(*fields: bytes, body: bytes = BODY) -> bytes:
    """Return a CCM_POST without its Content-Length."""
    return head(*POST[:-1], *fields) + body


def refused(reason: Reason, *sent: bytes) -> Iterator[Shape]:
    return (Shape(data, reason) for data in sent)


def forwarded(*sent: bytes) -> Iterator[Shape]:
    return (Shape(data, None) for data in sent)


# Lines: their ends, folding, spaces (RFC 9112 §2.2, §5.1, §5.2)

CONTROLS = [bytes([code]) for code in (*range(0x20), 0x7F) if code != 0x09]
ENDS = (b"\n", b"\r", b"\n\r", b"\r\r\n", b"\n\n", b"\r\n\n", b"\0\r\n", b"\r\0\n")
NOT_ENDS = (b"\x0b", b"\x0c", b"\x1c", b"\x1d", b"\x1e", b"\x00", b"\x85", b"\xe2\x80\xa8")
"""Line ends of Unicode (Python's `str.splitlines`), which HTTP does not have."""
FOLDS = (b"\r\n ", b"\r\n\t", b"\r\n  ", b"\r\n \t", b"\n ", b"\r ")


def line_ends() -> Iterator[Shape]:
    """Every line end of both requests, replaced by another one."""
    for lines, body in ((GET, b""), (POST, BODY)):
        for at, end in product(range(len(lines) + 1), ENDS):
            ends = [b"\r\n"] * (len(lines) + 1)
            ends[at] = end
            joined = b"".join(line + end for line, end in zip((*lines, b""), ends, strict=True))
            # CRLF LF at the end is a valid end, and a LF in front of the body or the next request.
            if b"\r\n\r\n" not in joined:
                yield Shape(joined + body, R.MALFORMED_HEAD)
    yield from refused(R.MALFORMED_HEAD, *(before + get() for before in (*ENDS, b"\r\n")))
    yield from forwarded(get(), post())


def merged_lines() -> Iterator[Shape]:
    """Lines joined by characters that some parsers take for a line end."""
    hidden = b"Transfer-Encoding: chunked"
    for end in NOT_ENDS:
        control = end < b"\x20"
        hidden_in = R.MALFORMED_HEAD if control else None
        # In an unlisted field, obs-text is opaque (RFC 9110 §5.5), and dropped with its field.
        yield Shape(get(b"X-A: y" + end + hidden), hidden_in)
        yield Shape(post(b"X-A: y" + end + hidden), hidden_in)
        yield Shape(get(b"X-A: y" + end), hidden_in)
        yield Shape(post(b"X-A:" + end + b"y"), hidden_in)
        yield Shape(
            head(GET_LINE, HOST + end + hidden), R.MALFORMED_HEAD if control else R.HOST_MISMATCH
        )
        yield Shape(
            head(POST_LINE, HOST, TYPE, SIZE + end + hidden) + BODY,
            R.MALFORMED_HEAD if control else R.FRAMING,
        )
        yield Shape(head(GET_LINE + end + HOST), R.MALFORMED_HEAD)
        yield Shape(head(GET_LINE, end + HOST), R.MALFORMED_HEAD)


def folding() -> Iterator[Shape]:
    """obs-fold in every field, at the start, in the middle and at the end of its value."""
    for lines, body in ((GET, b""), (POST, BODY)):
        for at, fold in product(range(1, len(lines)), FOLDS):
            name, _, value = lines[at].partition(b": ")
            for folded in (
                name + b":" + fold + value,
                name + b": " + value[:3] + fold + value[3:],
                name + b": " + value + fold,
                name + b": " + value + fold + b"x",
            ):
                changed = [*lines]
                changed[at] = folded
                yield Shape(head(*changed) + body, R.MALFORMED_HEAD)
        # The first line after the request line has no field to continue (RFC 9112 §2.2).
        for fold in (b" ", b"\t", b"  "):
            yield Shape(head(lines[0], fold + lines[1], *lines[2:]) + body, R.MALFORMED_HEAD)
            yield Shape(head(lines[0], fold, *lines[1:]) + body, R.MALFORMED_HEAD)
            yield Shape(head(*lines, fold) + body, R.MALFORMED_HEAD)
    for hidden in (b"Transfer-Encoding: chunked", b"Content-Length: 0", b"Host: mp01.corp.example"):
        for space in (b" ", b"\t"):
            yield Shape(post(b"X-A: y", space + hidden), R.MALFORMED_HEAD)
            yield Shape(get(b"X-A: y", space + hidden), R.MALFORMED_HEAD)
            # On one line, it is only the value of an unlisted field.
            yield Shape(post(b"X-A: y" + space + hidden), None)


BESIDE_A_VALUE = {
    b"Host": (R.HOST_MISMATCH, R.HOST_MISMATCH),
    b"Content-Type": (R.MEDIA_TYPE, R.MULTIPART),
    b"Content-Length": (R.FRAMING, R.FRAMING),
}
"""The reasons for obs-text before and after a value. White space does not belong to the value."""


def spaces() -> Iterator[Shape]:
    """White space around names, colons and the parts of the request line (RFC 9112 §3, §5.1)."""
    for lines, body in ((GET, b""), (POST, BODY)):
        for at, space in product(range(1, len(lines)), (b" ", b"\t", b"  ", b"\xa0", b"\xc2\xa0")):
            name, _, value = lines[at].partition(b": ")
            before, after = (None, None) if space.isspace() else BESIDE_A_VALUE[name]
            for field, reason in (
                (name + space + b": " + value, R.MALFORMED_HEAD),
                (space + name + b": " + value, R.MALFORMED_HEAD),
                (name[:4] + space + name[4:] + b": " + value, R.MALFORMED_HEAD),
                (name + b":" + space + value, before),
                (name + b": " + value + space, after),
            ):
                changed = [*lines]
                changed[at] = field
                yield Shape(head(*changed) + body, reason)
        method, target, version = lines[0].split(b" ")
        for space in (b"  ", b"\t", b" \t", b"\x0b", b"\x0c", b"\xa0", b"\r", b"\0", b""):
            for line in (
                method + space + target + b" " + version,
                method + b" " + target + space + version,
            ):
                yield Shape(head(line, *lines[1:]) + body, R.MALFORMED_HEAD)
        for space in (b" ", b"\t", b"\x0b", b"\0", b"\xa0"):
            yield Shape(head(space + lines[0], *lines[1:]) + body, R.MALFORMED_HEAD)
            yield Shape(head(lines[0] + space, *lines[1:]) + body, R.MALFORMED_HEAD)
        without = lines[1].replace(b": ", b":")
        yield Shape(head(lines[0], without, *lines[2:]) + body, None)


def controls() -> Iterator[Shape]:
    """Each control character in each part of a head (RFC 9110 §5.5)."""
    for code in (*CONTROLS, b"\x80", b"\xff"):
        obs_text = code >= b"\x80"
        yield from refused(
            R.MALFORMED_HEAD,
            head(b"G" + code + b"ET " + LIST + b" HTTP/1.1", HOST),
            head(b"GET /SMS_MP" + code + b"/.sms_aut?MPLIST HTTP/1.1", HOST),
            head(b"GET " + LIST + code + b" HTTP/1.1", HOST),
            head(b"GET " + LIST + b" HTTP/1" + code + b".1", HOST),
            get(b"X" + code + b"-A: y"),
            head(GET_LINE, HOST, code),
        )
        yield Shape(get(b"X-A: y" + code + b"z"), None if obs_text else R.MALFORMED_HEAD)
        yield Shape(
            head(POST_LINE, HOST, TYPE, SIZE + code) + BODY,
            R.FRAMING if obs_text else R.MALFORMED_HEAD,
        )
        yield Shape(
            head(GET_LINE, HOST[:-3] + code + HOST[-3:]),
            R.HOST_MISMATCH if obs_text else R.MALFORMED_HEAD,
        )
    yield from forwarded(get(b"X-A: y\tz"))


# Lengths (RFC 9112 §6.2, §6.3)

NAMES = (b"Content-Length", b"content-length", b"CONTENT-LENGTH")


def two_lengths() -> Iterator[Shape]:
    """Two Content-Length fields: equal or not, in either order, in other letters, apart."""
    values = (
        b"%d" % LENGTH,
        b"%d" % (LENGTH + 1),
        b"0",
        b"%d" % (LENGTH + len(SMUGGLED)),
        b"",
        b"x",
    )
    for first, second, name in product(values, values, NAMES):
        one, other = b"Content-Length: " + first, name + b": " + second
        yield Shape(unsized(one, other), R.FRAMING)
        yield Shape(head(POST_LINE, one, HOST, TYPE, other) + BODY, R.FRAMING)
    for value in (b"0", b"1"):
        field = b"Content-Length: " + value
        yield Shape(get(field, field), R.FRAMING)
    yield from (Shape(unsized(name + b": %d" % LENGTH), None) for name in NAMES)


def lengths() -> Iterator[Shape]:
    """Values of Content-Length that parsers of numbers accept and HTTP does not."""
    digits = b"%d" % LENGTH
    wrong = [sign + digits for sign in (b"+", b"-", b"0", b"00", b"0x", b"0b", b"0o", b"_", b"=")]
    wrong += [digits + end for end in (b".", b".0", b"e0", b"h", b"L", b";", b",", b";x=y", b"_")]
    wrong += [digits[:1] + middle + digits[1:] for middle in (b" ", b"\t", b"_", b",", b".", b"'")]
    wrong += [quote + digits + quote for quote in (b'"', b"'", b"`", b"(", b"<", b"[", b"{")]
    wrong += [digits + b", " + digits, digits + b"," + digits, b"0, " + digits, b"," + digits]
    wrong += [b"%x" % LENGTH + b"h", b"0x%x" % LENGTH, b"0%o" % LENGTH, b"", b"-0", b"+0", b"NaN"]
    # Digits of other scripts, which Python's int() accepts, and superscripts.
    wrong += [
        str(LENGTH).translate(digits_from(zero)).encode() for zero in (0x660, 0xFF10, 0x1D7CE)
    ]
    wrong += [b"\xb2", b"\xc2\xb2", b"Infinity", b"true", b"null", b"%31", b"1e3", b"1 000"]
    # Beyond 32, 63 and 64 bits: a reader that wraps around would read another length.
    wrong += [b"%d" % (2**bits + LENGTH) for bits in (63, 64, 65, 128, 256)]
    for value in wrong:
        yield Shape(unsized(b"Content-Length: " + value), R.FRAMING)
        yield Shape(get(b"Content-Length: " + value), R.FRAMING)
    for bits in (31, 32, 33, 62):
        yield Shape(unsized(b"Content-Length: %d" % (2**bits + LENGTH)), R.BODY_TOO_LARGE)
    # A length that cuts the body, or takes the next request into it: the boundary does not end it.
    yield Shape(unsized(b"Content-Length: %d" % (LENGTH - 1), body=BODY[:-1]), R.MULTIPART)
    yield Shape(unsized(b"Content-Length: %d" % (LENGTH + 1), body=BODY), R.MULTIPART)
    yield Shape(unsized(b"Content-Length: %d" % (LENGTH + len(SMUGGLED))), R.MULTIPART)
    yield from refused(R.LENGTH_REQUIRED, unsized(), unsized(b"X-Content-Length: %d" % LENGTH))
    yield from forwarded(unsized(SIZE), get(b"Content-Length: 0"))


def digits_from(zero: int) -> dict[int, int]:
    return {ord("0") + digit: zero + digit for digit in range(10)}


def bodies_of_get() -> Iterator[Shape]:
    """Lengths and codings on methods that have no body (RFC 9110 §9.3.1)."""
    for method in (b"GET", b"HEAD"):
        line = method + GET_LINE[3:]
        for length in (1, 5, len(SMUGGLED), LENGTH, 65_536, 2**31, 2**62):
            sized = b"Content-Length: %d" % length
            yield Shape(head(line, HOST, sized), R.BODY_NOT_ALLOWED)
            yield Shape(head(line, HOST, sized) + SMUGGLED, R.BODY_NOT_ALLOWED)
            yield Shape(head(line, sized, HOST, TYPE) + BODY, R.BODY_NOT_ALLOWED)
        yield Shape(head(line, HOST, b"Transfer-Encoding: chunked"), R.LENGTH_REQUIRED)
        yield Shape(head(line, HOST, b"Content-Length: 0"), None)
        yield Shape(head(line, HOST), None)


# Transfer-Encoding (RFC 9112 §6.1)

CODINGS = (
    b"chunked|Chunked|CHUNKED|xchunked|x-chunked|chunkedx|chunke|chunked,|,chunked|"
    b"chunked, chunked|chunked,identity|identity, chunked|gzip, chunked|br, chunked|identity|"
    b"deflate|trailers|cow|0||,|chunked;q=1|chunked; x=y|\"chunked\"|'chunked'|(chunked)|"
    b"chunked identity|chunked\tx|\tchunked|  chunked|chunked |chunked\t|\xff|chunked\x80|"
    b"\xc4\xb1chunked"
).split(b"|")
CODING_NAMES = (
    b"Transfer-Encoding",
    b"transfer-encoding",
    b"TRANSFER-ENCODING",
    b"tRANSFER-eNCODING",
)
CHUNKED = b"%x\r\n" % LENGTH + BODY + b"\r\n0\r\n\r\n"


def transfer_codings() -> Iterator[Shape]:
    """Each coding in each spelling: before a length, after one, and without one."""
    for name, coding in product(CODING_NAMES, CODINGS):
        field = name + b": " + coding
        yield Shape(unsized(field, body=CHUNKED), R.LENGTH_REQUIRED)
        yield Shape(post(field, body=CHUNKED), R.FRAMING)
        yield Shape(head(POST_LINE, field, HOST, TYPE, SIZE) + CHUNKED, R.FRAMING)
    for first, second in product((b"chunked", b"identity", b"x", b""), repeat=2):
        fields = b"Transfer-Encoding: " + first, b"transfer-encoding: " + second
        yield Shape(unsized(*fields, body=CHUNKED), R.LENGTH_REQUIRED)
        yield Shape(post(*fields, body=CHUNKED), R.FRAMING)
    yield from forwarded(post(b"X-Coding: chunked"))


NOT_TOKENS = [
    bytes([code]) for code in b" \t\0\x0b\x0c\r\n\x1f\x7f\x80\xa0\xad" + b'"(),/;<=>?@[\\]{}'
]
OTHER_NAMES = (
    b"Transfer_Encoding|TransferEncoding|Transfer-Encoding-|-Transfer-Encoding|X-Transfer-Encoding|"
    b"Transfer--Encoding|Transfer.Encoding|Transfer-Encoding1|Content-Transfer-Encoding|TE|Trailer|"
    b"Transfer-Encodin|ransfer-Encoding|Transfer~Encoding|!Transfer-Encoding|Transfer-Encoding'|"
    b"Content_Length|ContentLength|X-Content-Length|Content-Length1|Content--Length|Content.Length"
).split(b"|")


def disguised_names() -> Iterator[Shape]:
    """Names that a lenient parser takes for a framing field."""
    for name, value in ((b"Transfer-Encoding", b"chunked"), (b"Content-Length", b"0")):
        for code in NOT_TOKENS:
            for disguised in (code + name, name[:8] + code + name[8:], name + code):
                field = disguised + b": " + value
                yield Shape(post(field), R.MALFORMED_HEAD)
                yield Shape(get(field), R.MALFORMED_HEAD)
        for line in (b": " + value, name, name + b" " + value, b":" + name + b": " + value, b":"):
            yield Shape(post(line), R.MALFORMED_HEAD)
    # A token is the name of another field: it is dropped, and says nothing about the length.
    for name in OTHER_NAMES:
        for value in (b"chunked", b"0"):
            yield Shape(post(name + b": " + value), None)
            yield Shape(get(name + b": " + value), None)


CHUNKS = (
    b'0\r\n\r\n|0;x\r\n\r\n|0;x=y\r\n\r\n|0;x="y\r\n"\r\n\r\n|0 \r\n\r\n|00\r\n\r\n|0;\r\n\r\n|'
    b"0\n\n|0\r\r\n\r\n|0;\n\r\n\r\n|0;x\nGET / HTTP/1.1\r\n\r\n|0x0\r\n\r\n|+0\r\n\r\n|-0\r\n\r\n|"
    b"\r\n0\r\n\r\n| 0\r\n\r\n|0\r\nHost: x\r\n\r\n|0\r\nContent-Length: 5\r\n\r\n|0\r\n||"
    b"0\r\nTransfer-Encoding: chunked\r\n\r\n|5\r\nhello0\r\n\r\n|5\r\nhello\n0\r\n\r\n|"
    b"5\r\nhelloXX0\r\n\r\n|5\t\r\nhello\r\n0\r\n\r\n|5,\r\nhello\r\n0\r\n\r\n|0\x0b\r\n\r\n|"
    b"ffffffffffffffff\r\n|10000000000000000\r\n"
).split(b"|")
LONG_CHUNKS = (b"0" * 4_096 + b"\r\n\r\n", b"5;" + b"x" * 4_096 + b"\r\nhello\r\n0\r\n\r\n")


def chunks() -> Iterator[Shape]:
    """Chunk sizes, extensions and trailers: the bridge reads none (RFC 9112 §7.1)."""
    for chunk in (*CHUNKS, *LONG_CHUNKS):
        for body in (chunk, CHUNKED[:-5] + chunk):
            chunked = b"Transfer-Encoding: chunked"
            yield Shape(unsized(chunked, body=body), R.LENGTH_REQUIRED)
            yield Shape(unsized(chunked, b"Content-Length: %d" % len(body), body=body), R.FRAMING)
            sized = unsized(b"Content-Length: %d" % len(body), body=body)
            # Without the coding, chunks are only bytes, and not a message.
            yield Shape(sized, R.MULTIPART)
        yield Shape(head(*GET, b"Transfer-Encoding: chunked") + chunk, R.LENGTH_REQUIRED)
    yield from forwarded(post())


# Who is addressed (RFC 9112 §3.2, RFC 9110 §7.2, §7.6.1, §10.1.1)


def targets() -> Iterator[Shape]:
    """Forms of a target other than the origin form."""
    schemes = (b"http", b"https", b"HTTPS", b"ftp", b"file", b"ws", b"gopher", b"x")
    hosts = (b"bridge.internet.example", b"mp01.corp.example", b"127.0.0.1", b"[::1]", b"a@b", b"")
    for scheme, name in product(schemes, hosts):
        target = scheme + b"://" + name + LIST
        yield Shape(head(b"GET " + target + b" HTTP/1.1", HOST), R.TARGET_FORM)
    others = (
        b"*",
        b"mp01.corp.example:443",
        b"mp01.corp.example",
        b"SMS_MP/.sms_aut?MPLIST",
        b"?x",
    )
    for method, target in product((b"GET", b"CONNECT", b"OPTIONS", b"CCM_POST"), others):
        yield Shape(head(method + b" " + target + b" HTTP/1.1", HOST), R.TARGET_FORM)
    for path in (b"/" + LIST, b"//mp01.corp.example" + LIST, b"\\" + LIST, b"/SMS_MP\\.sms_aut"):
        reason = R.TARGET_FORM if path[:1] == b"\\" else R.TARGET_UNSAFE
        yield Shape(head(b"GET " + path + b" HTTP/1.1", HOST), reason)
    for fragment in (b"#", b"#x", b"#\\..\\x", b"%00", b"%0d%0aHost:x", b"%0a", b"%23/../x"):
        yield Shape(head(b"GET /SMS_MP/.sms_aut" + fragment + b" HTTP/1.1", HOST), R.TARGET_UNSAFE)
    yield from forwarded(get())


def hosts() -> Iterator[Shape]:
    """Hosts other than that of the connection, none, and several."""
    name = HOST[6:]
    wrong = (
        *(b"", b"mp01.corp.example", name + b".", b"." + name, name + b",", name + b", " + name),
        *(b"x@" + name, name + b"@x", name + b"/x", b"https://" + name, name + b" x", name + b"#"),
        *(name + b":443:443", name + b":x", name + b":-1", name + b":443443", b"[" + name + b"]"),
        *(
            name[:-1],
            b"x" + name,
            name + b"\xa0",
            b"\xef\xbb\xbf" + name,
            name + b"%00",
            b"*",
            name * 2,
        ),
    )
    for value in wrong:
        yield Shape(head(GET_LINE, b"Host: " + value), R.HOST_MISMATCH)
        for first, second in ((HOST, b"Host: " + value), (b"host: " + value, HOST)):
            yield Shape(head(GET_LINE, first, second), R.HOST_MISMATCH)
    yield from refused(R.HOST_MISMATCH, head(GET_LINE), head(GET_LINE, HOST, HOST), head(POST_LINE))
    yield from refused(R.HOST_MISMATCH, head(GET_LINE, b"X-Host: " + name, b"Hos: " + name))
    yield from forwarded(
        head(GET_LINE, b"host: " + name.upper()),
        head(GET_LINE, HOST + b":443"),
        head(GET_LINE, b"HOST:" + name, b"X-Forwarded-Host: mp01.corp.example"),
    )


FORWARDED = (
    *(b"Content-Length", b"Content-Type", b"Host", b"Accept", b"Range", b"User-Agent", b"If-Range"),
    *(b"CCMClientID", b"ClientToken", b"Date", b"Pragma", b"Transfer-Encoding", b"Trailer"),
)


def connection_options() -> Iterator[Shape]:
    """Connection options that would remove a field that the site system needs."""
    for name in FORWARDED:
        for options in (
            name,
            name.lower(),
            name.upper(),
            b"close, " + name,
            name + b", close",
            b"keep-alive," + name + b",x",
            b",," + name,
            b"\t" + name + b" ,",
        ):
            yield Shape(post(b"Connection: " + options), R.HEADER)
            yield Shape(post(b"Connection: x", b"connection: " + options), R.HEADER)
    for options in (
        b'"close"',
        b"close;q=1",
        b"close=x",
        b"clo se",
        b"(x)",
        b"x:y",
        b"\xff",
        b"a/b",
    ):
        yield Shape(get(b"Connection: " + options), R.HEADER)
    for options in (b"", b",", b"keep-alive", b"Upgrade, HTTP2-Settings", b"TE", b"X-A", b"x, , y"):
        yield Shape(get(b"Connection: " + options, b"X-A: y", b"Upgrade: h2c"), None)
        yield Shape(post(b"Proxy-Connection: Content-Length", b"Connection: " + options), None)


def expectations() -> Iterator[Shape]:
    """Values of Expect. Only 100-continue has a meaning (RFC 9110 §10.1.1)."""
    for value in (
        *(b"", b"100", b"100-continue, 100-continue", b"100-continue;x=y", b"200-ok", b"x=y"),
        *(b"100-continu", b"100-continue,", b"100 -continue", b'"100-continue"', b"101-upgrade"),
    ):
        yield Shape(post(b"Expect: " + value), R.EXPECTATION)
        yield Shape(get(b"Expect: " + value), R.EXPECTATION)
    yield Shape(post(b"Expect: 100-continue", b"Expect: 100-continue"), R.EXPECTATION)
    yield Shape(get(b"Expect: 100-continue", b"expect: x"), R.EXPECTATION)
    yield from forwarded(
        *(
            post(b"Expect: " + value)
            for value in (b"100-continue", b"100-Continue ", b"\t100-CONTINUE")
        ),
        get(b"Expect: 100-continue"),
    )


# The request line (RFC 9112 §2.3, §3)


def request_lines() -> Iterator[Shape]:
    """Versions, methods and request lines with more or fewer parts."""
    for version in (
        *(b"http/1.1", b"HTTP/1.10", b"HTTP/01.1", b"HTTP/1", b"HTTP/1.", b"HTTP/.1", b"HTTP/1,1"),
        *(
            b"HTTP/+1.1",
            b"HTTP/1.1x",
            b"XHTTP/1.1",
            b"HTTP 1.1",
            b"HTTP/1.1 x",
            b"HTTPS/1.1",
            b"1.1",
        ),
        *(b"HTTP/\xb9.1", b"RTSP/1.1", b"HTTP/1.1,HTTP/1.0", b"HTTP/11", b"", b"HTTP/1.1 HTTP/1.1"),
    ):
        yield Shape(head(b"GET " + LIST + b" " + version, HOST), R.MALFORMED_HEAD)
        yield Shape(head(b"CCM_POST /ccm_system/request " + version, *POST[1:]), R.MALFORMED_HEAD)
    for version in (b"0.9", b"1.0", b"1.2", b"1.9", b"2.0", b"3.0", b"9.9", b"0.0"):
        yield Shape(head(b"GET " + LIST + b" HTTP/" + version, HOST), R.HTTP_VERSION)
        yield Shape(head(POST_LINE[:-3] + version, *POST[1:]) + BODY, R.HTTP_VERSION)
    yield from refused(R.HTTP_VERSION, b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n")
    yield from refused(
        R.MALFORMED_HEAD,
        head(b"GET " + LIST),
        head(b"GET"),
        head(HOST, GET_LINE),
        head(b"GET " + GET_LINE, HOST),
        head(GET_LINE + b" " + GET_LINE, HOST),
        head(b"GET, CCM_POST " + LIST + b" HTTP/1.1", HOST),
        head(b"GET/ " + LIST + b" HTTP/1.1", HOST),
        head(b" ".join((GET_LINE, b"Host:", HOST[6:]))),
        head(b"{GET} " + LIST + b" HTTP/1.1", HOST),
    )
    for method in (
        b"get",
        b"Get",
        b"GETT",
        b"G",
        b"X-GET",
        b"GET!",
        b"POST",
        b"PUT",
        b"TRACE",
        b"0",
    ):
        yield Shape(head(method + GET_LINE[3:], HOST), R.VERB)
    for field in (
        b"X-HTTP-Method-Override: CCM_POST",
        b"X-HTTP-Method: PUT",
        b"X-Original-URL: /x",
    ):
        yield Shape(get(field), None)


FAMILIES: dict[str, Callable[[], Iterator[Shape]]] = {
    family.__name__.replace("_", " "): family
    for family in (
        line_ends,
        merged_lines,
        folding,
        spaces,
        controls,
        two_lengths,
        lengths,
        bodies_of_get,
        transfer_codings,
        disguised_names,
        chunks,
        targets,
        hosts,
        connection_options,
        expectations,
        request_lines,
    )
}
