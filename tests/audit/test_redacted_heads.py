"""Heads on the web page: only fields that are known to be harmless show their value."""

import pytest

from ibcm_bridge.audit import redacted_heads
from ibcm_bridge.audit.redacted_heads import redacted, redacted_fields
from ibcm_bridge.request.head import RequestHead, read_request_head
from ibcm_bridge.request.target import sent_target

SECRET = b"c2VjcmV0LXRva2VuLXNlY3JldC10b2tlbg"


@pytest.mark.parametrize(
    "name",
    [
        *("Authorization", "Proxy-Authorization", "Cookie", "Set-Cookie"),
        *("WWW-Authenticate", "Proxy-Authenticate", "Authentication-Info"),
        *("CCMClientIDSignature", "CCMClientTimestampSignature", "CCMClientTimestampsSignature"),
        *(
            "ClientToken",
            "ClientTokenSignature",
            "X-Auth-Token",
            "X-Api-Key",
            "Location",
            "Referer",
        ),
    ],
)
@pytest.mark.parametrize("spelled", [str, str.lower, str.upper])
def test_the_value_of_an_authenticating_field_is_hidden_and_its_name_is_shown(
    name: str, spelled: type[str]
) -> None:
    field = spelled(name).encode()
    assert redacted_fields([(field, SECRET)]) == ((field, b"[not shown]"),)


def test_the_value_of_an_unknown_field_is_hidden() -> None:
    assert redacted_fields([(b"X-Made-Up", b"a")]) == ((b"X-Made-Up", b"[not shown]"),)


def test_fields_keep_their_order_and_repetitions() -> None:
    fields = [(b"Host", b"x"), (b"Accept", b"a"), (b"Cookie", SECRET), (b"accept", b"b")]
    shown = redacted_fields(fields)
    assert shown == (*fields[:2], (b"Cookie", b"[not shown]"), fields[3])


@pytest.mark.parametrize(
    "value",
    [
        b"Bearer " + SECRET,
        b"eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxMjM0NTY3ODkwIn0.dozjgNryP4J3jVmNHl0w5N",
        b"ccmhttp password=hunter2",
    ],
)
def test_a_secret_in_a_shown_field_is_hidden(value: bytes) -> None:
    ((_, shown),) = redacted_fields([(b"User-Agent", value)])
    assert value.split()[-1] not in shown
    assert b"hunter2" not in shown


def test_a_target_is_shown_as_in_the_audit() -> None:
    head = read_request_head(
        b"GET /a?access_token=hunter2&MPLIST HTTP/1.1\r\nHost: x\r\nContent-Length: 3\r\n\r\n"
    )
    assert isinstance(head, RequestHead)
    assert redacted(head) == RequestHead(
        b"GET", sent_target(b"/a?access_token=...&MPLIST"), head.fields, 3
    )


def test_a_large_head_is_cut() -> None:
    fields = [(b"N" * 1_000, b"v")] * 1_000
    shown = redacted_fields(fields)
    assert len(shown) == redacted_heads.MAX_FIELDS + 1
    assert shown[-1] == (b"...", b"900 more")
    assert {len(name) for name, _ in shown[:-1]} == {redacted_heads.MAX_NAME}
    ((_, value),) = redacted_fields([(b"User-Agent", b"a b " * 1_000)])
    assert len(value) == redacted_heads.MAX_VALUE
    head = redacted(RequestHead(b"M" * 1_000, sent_target(b"/" * 10_000), (), None))
    assert len(head.method) == redacted_heads.MAX_NAME
    assert len(head.target.raw) <= 512


def test_bytes_that_are_not_ascii_are_shown_as_received() -> None:
    assert redacted_fields([(b"User-Agent", b"\xff\x80")]) == ((b"User-Agent", b"\xff\x80"),)
