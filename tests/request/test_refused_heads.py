"""A table of heads that two parsers can read differently, each with the reason of its refusal.

`authorize` receives the heads that `read_request_head` accepts. The table has the known ways to
bypass a proxy: request smuggling (RFC 9112 §11.2), other names for a path, hop-by-hop fields,
ranges.
"""

from __future__ import annotations

from collections.abc import Callable

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from ibcm_bridge.decisions.denial import Deny, Reason
from ibcm_bridge.request.authorization import Authorized
from ibcm_bridge.request.head import RequestHead, read_request_head

Decide = Callable[[RequestHead], Authorized | Deny]
R = Reason

HOST = b"Host: bridge.internet.example\r\n"
LIST = b"/SMS_MP/.sms_aut?MPLIST"
PACKAGE = b"/SMS_DP_SMSPKG$/Content_11111111-2222-3333-4444-555555555555.1"
TYPE = b'Content-Type: multipart/mixed; boundary="aAbBcCdDv1234567890VxXyYzZ"\r\n'


def get(target: bytes = LIST, *fields: bytes, method: bytes = b"GET") -> bytes:
    lines = b"".join(field + b"\r\n" for field in fields)
    return b"%b %b HTTP/1.1\r\n" % (method, target) + HOST + lines + b"\r\n"


def post(*fields: bytes) -> bytes:
    return get(b"/ccm_system/request", TYPE[:-2], *fields, method=b"CCM_POST")


OF_FILES = frozenset((b"x;y", b"x%3by", b"x%25y"))
"""Allowed in file names, but not in paths."""


GOOD: dict[str, bytes] = {
    "get": get(),
    "head": get(method=b"HEAD"),
    "file": get(PACKAGE + b"/sccm?/dir/a%20b/setup.exe", b"Range: bytes=0-1023"),
    **{f"file {name!r}": get(PACKAGE + b"/sccm?/" + name) for name in OF_FILES},
    "ranges": get(
        PACKAGE + b"/sccm?/f",
        b"Range: bytes=" + b",".join(b"%d-%d" % (2 * at, 2 * at) for at in range(500)),
    ),
    "document": get(
        b"/SMS_MP/.sms_dcm?Id&DocumentId=ScopeId_1/RequiredApplication_2/10/MANIFEST&Hash=a"
    ),
    "message": post(b"Content-Length: 3000"),
    "length of nothing": get(LIST, b"Content-Length: 0"),
    "an upgrade": get(LIST, b"Upgrade: h2c"),
    "an upgrade with its option": get(
        LIST,
        b"Connection: Upgrade, HTTP2-Settings",
        b"Upgrade: h2c",
        b"HTTP2-Settings: AAMAAABkAAQCAAAAAAIAAAAA",
    ),
    "trailers welcome": get(LIST, b"Connection: close, TE", b"TE: trailers"),
}

FRAMING: dict[str, tuple[bytes, Reason]] = {
    **{
        f"Transfer-Encoding: {value!r}": (
            post(b"Transfer-Encoding: " + value),
            R.LENGTH_REQUIRED,
        )
        for value in (
            b"chunked",
            b"Chunked",
            b"xchunked",
            b"identity",
            b"gzip, chunked",
            b"chunked, identity",
            b'"chunked"',
            b"chunked;x=y",
            b"\tchunked",
            b"",
            b",",
        )
    },
    **{
        f"Transfer-Encoding beside a length: {line!r}": (
            post(b"Content-Length: 5", line),
            R.FRAMING,
        )
        for line in (
            b"Transfer-Encoding: chunked",
            b"transfer-encoding:chunked",
            b"TRANSFER-ENCODING: identity",
            b"Transfer-Encoding: chunked\r\nTransfer-Encoding: x",
        )
    },
    **{
        f"a disguised Transfer-Encoding: {line!r}": (
            post(b"Content-Length: 5", line),
            R.MALFORMED_HEAD,
        )
        for line in (
            b"Transfer-Encoding : chunked",
            b"Transfer-Encoding\t: chunked",
            b" Transfer-Encoding: chunked",
            b"\tTransfer-Encoding: chunked",
            b"X: y\r\n chunked",
            b"Transfer-Encoding:\r\n chunked",
            b"Transfer-Encoding\r\n: chunked",
            b"Transfer-Encoding: chunked\r",
            b"Transfer-Encoding: chun\x00ked",
            b"Transfer-Encoding\x00: chunked",
            b"Transfer Encoding: chunked",
            b"X: y\nTransfer-Encoding: chunked",
            b"X: y\rTransfer-Encoding: chunked",
            b"Transfer-Encoding\xa0: chunked",
        )
    },
    **{
        f"Content-Length: {value!r}": (post(b"Content-Length: " + value), R.FRAMING)
        for value in (
            b"+5",
            b"-5",
            b"5 5",
            b"0x5",
            b"5h",
            b"05",
            b"5,5",
            b"5, 6",
            b"",
            b"9223372036854775808",
            b"18446744073709551621",
            b"5;",
            b"5.0",
            b"5e0",
            b"\xb2",
        )
    },
    "two lengths": (post(b"Content-Length: 5", b"Content-Length: 6"), R.FRAMING),
    "one length twice": (post(b"Content-Length: 5", b"Content-Length: 5"), R.FRAMING),
    "no length": (post(), R.LENGTH_REQUIRED),
    "a disguised length": (post(b"Content-Length : 5"), R.MALFORMED_HEAD),
    "a body on GET": (get(LIST, b"Content-Length: 1"), R.BODY_NOT_ALLOWED),
    "a body on HEAD": (get(LIST, b"Content-Length: 1", method=b"HEAD"), R.BODY_NOT_ALLOWED),
    "a chunked body on GET": (get(LIST, b"Transfer-Encoding: chunked"), R.LENGTH_REQUIRED),
}

LINES: dict[str, tuple[bytes, Reason]] = {
    "HTTP/0.9": (b"GET " + LIST + b"\r\n\r\n", R.MALFORMED_HEAD),
    "HTTP/1.0": (get().replace(b"1.1", b"1.0"), R.HTTP_VERSION),
    "HTTP/2 preface": (b"PRI * HTTP/2.0\r\n\r\n", R.HTTP_VERSION),
    "two hosts": (get(LIST, b"Host: bridge.internet.example"), R.HOST_MISMATCH),
    "two different hosts": (get(LIST, b"host: other.example"), R.HOST_MISMATCH),
    "no host": (get().replace(HOST, b""), R.HOST_MISMATCH),
    "a host with a space": (get(LIST, b"Ho st: x"), R.MALFORMED_HEAD),
    "a host and a space": (get().replace(b"Host:", b"Host :"), R.MALFORMED_HEAD),
    "a host with an at": (get().replace(b"bridge", b"x@bridge"), R.HOST_MISMATCH),
    "absolute form": (get(b"https://bridge.internet.example" + LIST), R.TARGET_FORM),
    "absolute form elsewhere": (get(b"http://mp01.corp.example" + LIST), R.TARGET_FORM),
    "authority form": (get(b"bridge.internet.example:443", method=b"CONNECT"), R.TARGET_FORM),
    "asterisk form": (get(b"*", method=b"OPTIONS"), R.TARGET_FORM),
    "a fragment": (get(LIST + b"#x"), R.TARGET_UNSAFE),
    "a NUL": (get(b"/SMS_MP\x00/.sms_aut?MPLIST"), R.MALFORMED_HEAD),
    "a bare LF": (get().replace(b"\r\nHost", b"\nHost"), R.MALFORMED_HEAD),
    "a bare CR": (get().replace(b"\r\nHost", b"\rHost"), R.MALFORMED_HEAD),
    "a coded body": (post(b"Content-Length: 5", b"Content-Encoding: gzip"), R.MEDIA_TYPE),
    "a host with a trailing dot": (get().replace(b".example\r", b".example.\r"), R.HOST_MISMATCH),
    "an upgrade that takes the length away": (
        get(LIST, b"Connection: Upgrade, Content-Length", b"Upgrade: h2c", b"Content-Length: 0"),
        R.HEADER,
    ),
    "a method in front of another": (get().replace(b"GET ", b"GET GET "), R.MALFORMED_HEAD),
    "another method by a field": (get(LIST, method=b"get"), R.VERB),
}

CONNECTION: dict[str, tuple[bytes, Reason]] = {
    f"Connection: {option!r}": (post(b"Content-Length: 5", b"Connection: " + option), R.HEADER)
    for option in (
        b"Content-Length",
        b"close, Content-Length",
        b"close, CCMClientID",
        b"Host",
        b"Transfer-Encoding",
        b"TE, Transfer-Encoding",
        b"Trailer",
        b"Keep-Alive, Trailer",
        b"Upgrade, HTTP2-Settings, Host",
        b"Content-Type",
        b"close;q=1",
        b"clo se",
        b'"close"',
    )
}

RANGES: dict[str, tuple[bytes, Reason]] = {
    f"Range: {value!r}": (get(PACKAGE + b"/sccm?/f", b"Range: " + value), R.HEADER)
    for value in (
        b"",
        b"bytes",
        b"bytes=",
        b"bytes=-",
        b"bytes=a-b",
        b"bytes=1-2,",
        b"bytes =1-2",
        b"bytes=1 -2",
        b"items=1-2",
        b"bytes=0-18446744073709551615",
        b"bytes=" + b",".join([b"0-1"] * 17),
        b"bytes=" + b",".join(b"%d-%d" % (2 * at, 2 * at) for at in range(501)),
        b"bytes=0-99,50-149",
        b"bytes=0-,-5",
        b"bytes=9-5",
        b"bytes=+1-2",
        b"bytes=0x1-2",
    )
}

UNSAFE_NAMES = (
    b"..",
    b"x/../y",
    b"x/./y",
    b"%2e%2e/y",
    b"%252e%252e/y",
    b"x%2f..%2fy",
    b"x%5c..%5cy",
    b"x%255cy",
    b"x\\y",
    b"%u002e%u002e/y",
    b"%u2215y",
    b"%c0%ae%c0%ae/y",
    b"%c0%afy",
    b"%e0%80%afy",
    b"%ef%bc%8fy",
    b"x;y",
    b"x%3by",
    b"x:y",
    b"x::$DATA",
    b"C:/x",
    b"x./y",
    b"x%20/y",
    b"x.",
    b"x%20",
    b"LONGNA~1/y",
    b"x//y",
    b"/host/share",
    b"x*y",
    b"x%00y",
    b"x%0d%0aHost:y",
    b"x%09y",
    b"x%7fy",
    b"..+/y",
    b"x/+/y",
    b"x%",
    b"x%2",
    b"x%zzy",
    b"x%25y",
    b"x|y",
    b"x<y",
    b'x"y',
)
PATHS: dict[str, tuple[bytes, Reason]] = {
    f"path {name!r}": (get(b"/SMS_MP/" + name), R.TARGET_UNSAFE) for name in UNSAFE_NAMES
}
FILES: dict[str, tuple[bytes, Reason]] = {
    f"file {name!r}": (get(PACKAGE + b"/sccm?/" + name), R.TARGET_UNSAFE)
    for name in (
        *(name for name in UNSAFE_NAMES if name not in OF_FILES),
        *(b"con", b"aux.txt", b"COM%c2%b9", b"SETUP~2.EXE", b"a%e2%88%95b", b"..;/x"),
    )
}

NOT_PUBLISHED = frozenset((b"x;y", b"x%3by", b"x//y", b"x*y", b"x/+/y", b"x|y", b"x<y", b'x"y'))
"""Without a special meaning in a query other than a file name. No published query has them."""

QUERIES: dict[str, tuple[bytes, Reason]] = {
    f"query {prefix!r} {name!r}": (
        get(prefix + name),
        R.RESOURCE if name in NOT_PUBLISHED else R.TARGET_UNSAFE,
    )
    for prefix in (PACKAGE + b"/sccm?", b"/SMS_MP/.sms_dcm?Id&DocumentId=")
    for name in UNSAFE_NAMES
    # With another slash, the first is a file name and the second is a published document.
    if name not in (b"/host/share", b"x//y")
}

LONG: dict[str, tuple[bytes, Reason]] = {
    "a long path": (get(b"/SMS_MP/" + b"x" * 20_000), R.RESOURCE),
    "a deep path": (get(b"/SMS_MP" + b"/x" * 10_000), R.RESOURCE),
    "a long file name": (get(PACKAGE + b"/sccm?/" + b"x" * 5_000), R.RESOURCE),
    "a long query": (get(b"/SMS_MP/.sms_pol?" + b"x" * 5_000), R.RESOURCE),
    "a host in front of a path": (get(b"//mp01.corp.example" + LIST), R.TARGET_UNSAFE),
    "a share in a query": (get(PACKAGE + b"/sccm?//host/share/x"), R.TARGET_UNSAFE),
    "a share in a value": (
        get(b"/SMS_MP/.sms_dcm?Id&DocumentId=//host/share"),
        R.TARGET_UNSAFE,
    ),
}

ALL = FRAMING | LINES | CONNECTION | RANGES | PATHS | FILES | QUERIES | LONG


def decided(decide: Decide, raw: bytes) -> Authorized | Deny:
    head = read_request_head(raw)
    return head if isinstance(head, Deny) else decide(head)


@pytest.mark.parametrize("case", ALL)
def test_each_is_refused_for_its_reason(decide: Decide, case: str) -> None:
    raw, reason = ALL[case]
    result = decided(decide, raw)
    assert isinstance(result, Deny), f"{case} is allowed"
    assert result.reason is reason, result


@pytest.mark.parametrize(
    ("before", "reason"),
    [
        (b"Host: other.example\r\n", R.HOST_MISMATCH),
        (HOST + b"Expect: 200-ok\r\n", R.EXPECTATION),
        (HOST + b"Range: bytes=a\r\n", R.HEADER),
        (HOST + b"Connection: close, host\r\n", R.TARGET_UNSAFE),
    ],
)
def test_a_target_is_refused_after_earlier_checks(
    decide: Decide, before: bytes, reason: Reason
) -> None:
    result = decided(decide, b"GET /SMS_MP/../x HTTP/1.1\r\n" + before + b"\r\n")
    assert isinstance(result, Deny)
    assert result.reason is reason


@pytest.mark.parametrize("case", GOOD)
def test_the_requests_of_clients_are_allowed(decide: Decide, case: str) -> None:
    assert isinstance(decided(decide, GOOD[case]), Authorized)


# Properties

TOKENS = st.text("!#$%&'*+-.^_`|~09azAZ", min_size=1, max_size=12).map(str.encode)
VALUES = st.text(st.characters(min_codepoint=0x20, max_codepoint=0x7E), max_size=30).map(
    lambda text: text.strip().encode()
)
HEADS = st.sampled_from([raw for raw, _ in ALL.values()] + list(GOOD.values()))


@given(HEADS, TOKENS, VALUES, st.integers(0, 10))
def test_an_additional_field_never_turns_a_refusal_into_permission(
    decide: Decide, raw: bytes, name: bytes, value: bytes, at: int
) -> None:
    before = decided(decide, raw)
    assume(isinstance(before, Deny))
    # The refusal may be for a missing field.
    assume(name.lower() not in (b"host", b"content-length", b"content-type"))
    lines = raw[:-4].split(b"\r\n")
    lines.insert(1 + at % len(lines), name + b": " + value)
    assert isinstance(decided(decide, b"\r\n".join(lines) + b"\r\n\r\n"), Deny)


@given(HEADS, st.randoms(use_true_random=False))
def test_case_and_order_of_fields_do_not_matter(
    decide: Decide, raw: bytes, random: st.DataObject
) -> None:
    head = read_request_head(raw)
    assume(isinstance(head, RequestHead))
    assert isinstance(head, RequestHead)
    fields = [(name.swapcase(), value) for name, value in head.fields]
    random.shuffle(fields)  # type: ignore[attr-defined]
    other = RequestHead(head.method, head.target, tuple(fields), head.length)
    before, after = decide(head), decide(other)
    assert type(before) is type(after)
    if isinstance(before, Deny) and isinstance(after, Deny):
        assert before.reason is after.reason
