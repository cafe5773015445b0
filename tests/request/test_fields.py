"""Header fields: hop-by-hop, listed and unlisted ones, and limited values."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from ibcm_bridge.decisions.denial import Reason
from ibcm_bridge.decisions.refusals import requirement
from ibcm_bridge.policy.roles import RoleTable
from tests.request.heads import (
    DOWNLOAD,
    FORM,
    LISTING,
    MESSAGE,
    OTHERS,
    POLICY,
    REPORT,
    SCAN,
    XML,
    Decide,
    Head,
    allowed,
    denied,
)

# Hop-by-hop fields


@pytest.mark.parametrize(
    "lines",
    [
        ("Connection: close",),
        ("Connection: Keep-Alive", "Keep-Alive: timeout=5"),
        ("Connection: keep-alive, close",),
        ("Connection:",),
        # RFC 9110 §7.6.1: an option is allowed without its field.
        ("Connection: Keep-Alive, TE, Upgrade, HTTP2-Settings",),
        ("Connection: x-of-this-leg",),
        ("Connection: , ,close,\t",),
        ("Expect: 100-continue",),
        ("Expect: 100-Continue",),
        ("Proxy-Connection: keep-alive",),
    ],
)
def test_fields_for_the_bridge_itself_are_neither_forwarded_nor_reported(
    decide: Decide, decide_strictly: Decide, request_head: Head, lines: tuple[str, ...]
) -> None:
    for result in (
        allowed(decide(request_head(*MESSAGE, *lines))),
        allowed(decide_strictly(request_head(*MESSAGE, *lines))),
    ):
        assert result.head == request_head(*MESSAGE)
        assert result.dropped == ()


@pytest.mark.parametrize(
    ("lines", "reason"),
    [
        (("Expect: 200-ok",), Reason.EXPECTATION),
        (("Expect:",), Reason.EXPECTATION),
        (("Expect: 100-continue, x",), Reason.EXPECTATION),
        (("Expect: 100-continue", "Expect: 100-continue"), Reason.EXPECTATION),
        (("Connection: close, CCMClientID",), Reason.HEADER),
        (("Connection: Content-Length",), Reason.HEADER),
        (("Connection: close", "connection: host"), Reason.HEADER),
        (("Connection: close;x",), Reason.HEADER),
        (("Connection: Upgrade, Content-Length", "Upgrade: h2c"), Reason.HEADER),
        (("Connection: TE, Transfer-Encoding", "TE: trailers"), Reason.HEADER),
        (("Connection: Trailer",), Reason.HEADER),
        (("Connection: keep-alive, content-TYPE",), Reason.HEADER),
        (("Connection: upgrade", "Connection: User-Agent"), Reason.HEADER),
    ],
)
def test_other_expectations_and_options_are_refused(
    decide: Decide, request_head: Head, lines: tuple[str, ...], reason: Reason
) -> None:
    denial = denied(decide(request_head(*MESSAGE, *lines)))
    assert denial.reason is reason
    assert denial.rule == ("head.connection" if reason is Reason.HEADER else "head.expect")
    assert requirement(denial) == "HTTP-1.1"


OF_ONE_LEG = [
    # fields, and the names that are reported as dropped
    (("Connection: TE", "TE: trailers"), ("TE",)),
    (("Connection: Upgrade", "Upgrade: websocket"), ("Upgrade",)),
    (("Upgrade: h2c",), ("Upgrade",)),
    # curl --http2 on a connection without TLS (RFC 7540 §3.2)
    (
        ("Connection: Upgrade, HTTP2-Settings", "Upgrade: h2c", "HTTP2-Settings: AAMAAABkAAQC"),
        ("Upgrade", "HTTP2-Settings"),
    ),
    (("Connection: X-Of-This-Leg", "X-Of-This-Leg: 1"), ("X-Of-This-Leg",)),
    (("Connection: Keep-Alive, te", "Keep-Alive: timeout=5", "TE: trailers"), ("TE",)),
]


@pytest.mark.parametrize(("lines", "dropped"), OF_ONE_LEG)
def test_a_field_in_connection_that_is_not_forwarded_is_dropped(
    decide: Decide, request_head: Head, lines: tuple[str, ...], dropped: tuple[str, ...]
) -> None:
    for line in (MESSAGE, POLICY, DOWNLOAD):
        result = allowed(decide(request_head(*line, *lines)))
        assert result.head == request_head(*line)
        assert result.dropped == dropped


@pytest.mark.parametrize(("lines", "dropped"), OF_ONE_LEG)
def test_a_strict_policy_refuses_an_unlisted_field_that_connection_names(
    decide_strictly: Decide, request_head: Head, lines: tuple[str, ...], dropped: tuple[str, ...]
) -> None:
    denial = denied(decide_strictly(request_head(*MESSAGE, *lines)))
    assert (denial.reason, denial.rule) == (Reason.HEADER, "management-point.headers")
    assert denial.detail == f"{dropped[0]} is not listed"
    assert requirement(denial) == "HEADER-MP"


@pytest.mark.parametrize(
    ("line", "option", "passes"),
    [
        (POLICY, "CCMClientID", False),
        (DOWNLOAD, "CCMClientID", True),  # not forwarded to a distribution point
        (POLICY, "BITS-Session-Id", False),
        (DOWNLOAD, "BITS-Session-Id", True),
        (DOWNLOAD, "Range", False),
        (DOWNLOAD, "Authorization", True),
    ],
)
def test_connection_may_not_name_a_field_that_the_role_forwards(
    decide: Decide, request_head: Head, line: tuple[str, ...], option: str, passes: bool
) -> None:
    result = decide(request_head(*line, f"Connection: {option}"))
    if passes:
        assert allowed(result).head == request_head(*line)
    else:
        denial = denied(result)
        assert (denial.reason, denial.rule) == (Reason.HEADER, "head.connection")
        assert (
            denial.detail == f"Connection lists {option.lower()}, which is not a hop-by-hop field"
        )


# Listed and unlisted fields


@pytest.mark.parametrize(
    ("line", "field"),
    [
        (POLICY, "CCMClientID: GUID:1"),
        (POLICY, "CCMClientIDSignature: 00"),
        (POLICY, "CCMClientTimestamp: 2026-01-01T00:00:00Z"),
        (POLICY, "CCMClientTimestampsSignature: 00"),
        (POLICY, "CCMClientTimestampSignature: 00"),
        (POLICY, "ClientToken: GUID:1;2026-01-01T00:00:00Z;2"),
        (POLICY, "Range: bytes=0-1"),
        (DOWNLOAD, "range: bytes=0-1,5-9"),
        (DOWNLOAD, "IF-RANGE: x"),
        (LISTING, "Depth: infinity"),
        (LISTING, "Translate: f"),
        (POLICY, "BITS-Packet-Type: Ping"),
        (POLICY, "X-P2P-PeerDist: Version=1.1"),
        (DOWNLOAD, "X-P2P-PeerDist: Version=1.1"),
        (DOWNLOAD, "X-P2P-PeerDistEx: MinContentInformation=1.0, MaxContentInformation=2.0"),
    ],
)
def test_a_listed_field_is_forwarded(
    decide: Decide, decide_strictly: Decide, request_head: Head, line: tuple[str, ...], field: str
) -> None:
    head = request_head(*line, field)
    assert allowed(decide(head)).head == head
    assert allowed(decide_strictly(head)).head == head


def test_every_role_lists_all_branchcache_fields(table: RoleTable) -> None:
    # [MS-PCCRTP]: an accepted coding, and the fields with its versions.
    together = {b"accept-encoding", b"x-p2p-peerdist", b"x-p2p-peerdistex"}
    for role in table.roles.values():
        assert together <= role.headers
        assert together <= role.without_observed_headers().headers


def test_branchcache_fields_are_forwarded_unchanged(
    decide: Decide, decide_strictly: Decide, request_head: Head
) -> None:
    head = request_head(
        *DOWNLOAD,
        "Accept-Encoding: identity, peerdist",
        "X-P2P-PeerDist: Version=1.1",
        "X-P2P-PeerDistEx: MinContentInformation=1.0, MaxContentInformation=2.0",
    )
    for authorize in (decide, decide_strictly):
        assert (allowed(authorize(head)).head, allowed(authorize(head)).dropped) == (head, ())


UNLISTED = [
    (POLICY, "X-Original-URL: /SMS_MP_AltAuth/.sms_pol", "HEADER-MP"),
    (POLICY, "X-Forwarded-For: 10.0.0.1", "HEADER-MP"),
    (POLICY, "TE: trailers", "HEADER-MP"),
    (POLICY, "Cookie: a=b", "HEADER-MP"),
    (POLICY, "Content_Length: 5", "HEADER-MP"),
    (POLICY, "SOAPAction: x", "HEADER-MP"),
    (DOWNLOAD, "BITS-Packet-Type: Ping", "HEADER-DP"),
    (DOWNLOAD, "CCMClientID: GUID:1", "HEADER-DP"),
    (DOWNLOAD, "X-HTTP-Method-Override: DELETE", "HEADER-DP"),
]


@pytest.mark.parametrize(("line", "field", "cites"), UNLISTED)
def test_an_unlisted_field_is_dropped_and_reported(
    decide: Decide, request_head: Head, line: tuple[str, ...], field: str, cites: str
) -> None:
    result = allowed(decide(request_head(*line, field, "Range: bytes=0-1")))
    assert result.dropped == (field.partition(":")[0],)
    assert result.head == request_head(*line, "Range: bytes=0-1")


@pytest.mark.parametrize(("line", "field", "cites"), UNLISTED)
def test_a_strict_policy_refuses_an_unlisted_field(
    decide_strictly: Decide, request_head: Head, line: tuple[str, ...], field: str, cites: str
) -> None:
    denial = denied(decide_strictly(request_head(*line, field)))
    assert denial.reason is Reason.HEADER
    assert requirement(denial) == cites


# Limited values


# Limited values


@pytest.mark.parametrize(
    ("value", "passes"),
    [
        ("bytes=0-99", True),
        ("bytes=100-", True),
        ("bytes=-100", True),
        ("bytes=0-1,5-6, 9-10", True),
        ("bytes=0-18446744073709551615", False),
        ("bytes=" + ",".join(["0-1"] * 17), False),
        ("bytes=" + ",".join(f"{2 * at}-{2 * at}" for at in range(17)), True),
        ("bytes=", False),
        ("bytes=a-b", False),
        ("items=0-1", False),
    ],
)
def test_a_range_is_limited(decide: Decide, request_head: Head, value: str, passes: bool) -> None:
    result = decide(request_head(*DOWNLOAD, f"Range: {value}"))
    if passes:
        allowed(result)
    else:
        assert (denied(result).reason, denied(result).rule) == (Reason.HEADER, "head.range")


def test_two_ranges_are_refused(decide: Decide, request_head: Head) -> None:
    head = request_head(*DOWNLOAD, "Range: bytes=0-1", "Range: bytes=2-3")
    assert denied(decide(head)).rule == "head.range"


@pytest.mark.parametrize(
    ("parameter", "passes"),
    [
        ("", True),
        ("; charset=utf-8", True),
        ('; charset="UTF-8"', True),
        ("; charset=utf-7", False),
        ("; charset=utf-16", False),
        ("; charset=utf-8; x=y", False),
    ],
)
def test_a_listing_must_be_in_the_inspected_encoding(
    decide: Decide, request_head: Head, parameter: str, passes: bool
) -> None:
    head = request_head(*LISTING[:2], f"Content-Type: text/xml{parameter}", "Content-Length: 10")
    result = decide(head)
    if passes:
        allowed(result)
    else:
        denial = denied(result)
        assert (denial.reason, denial.rule) == (Reason.MEDIA_TYPE, "bodies.webdav.charset")


@pytest.mark.parametrize(
    ("line", "role"),
    [
        ((*SCAN, XML, "Content-Length: 30"), "software-update-point"),
        ((*FORM, "Content-Type: application/json", "Content-Length: 3"), "application-catalog"),
    ],
)
def test_a_soap_action_is_forwarded_to_web_services_only(
    decide_role: Callable[[str], Decide], request_head: Head, line: tuple[str, ...], role: str
) -> None:
    role = next(name for name in OTHERS if name.startswith(role))
    assert allowed(decide_role(role)(request_head(*line, "SOAPAction: x"))).dropped == ()
    reported = request_head(*REPORT, "Content-Length: 30", "SOAPAction: x")
    assert allowed(decide_role("fallback-status-point")(reported)).dropped == ("SOAPAction",)


VECTOR = "MS-CV: QbCdEfGhIjKlMnOp.1.3.0"


def test_the_correlation_vector_of_an_update_agent_is_forwarded_to_its_role_only(
    decide_role: Callable[[str], Decide], decide_strictly: Decide, request_head: Head
) -> None:
    scan = request_head(*SCAN, XML, "Content-Length: 30", VECTOR)
    assert allowed(decide_role("software-update-point")(scan)).head == scan
    reported = request_head(*REPORT, "Content-Length: 30", VECTOR)
    assert allowed(decide_role("fallback-status-point")(reported)).dropped == ("MS-CV",)
    denial = denied(decide_strictly(request_head(*POLICY, VECTOR)))
    assert (denial.reason, requirement(denial)) == (Reason.HEADER, "HEADER-MP")


@pytest.mark.parametrize("depth", ["0", "1", "infinity", "Infinity", None])
def test_a_propfind_may_have_a_listed_depth_or_none(
    decide: Decide, request_head: Head, depth: str | None
) -> None:
    lines = () if depth is None else (f"Depth: {depth}",)
    assert allowed(decide(request_head(*LISTING, *lines))).head.values(b"depth") == (
        (depth.encode(),) if depth else ()
    )


@pytest.mark.parametrize(
    "lines",
    [
        ("Depth: 2",),
        ("Depth:",),
        ("Depth: 1,noroot",),
        ("Depth: 0, 1",),
        ("Depth: infinity", "depth: infinity"),
    ],
)
def test_a_propfind_of_another_depth_is_refused(
    decide: Decide, request_head: Head, lines: tuple[str, ...]
) -> None:
    denial = denied(decide(request_head(*LISTING, *lines)))
    assert (denial.reason, denial.rule) == (Reason.HEADER, "bodies.webdav.depths")
    assert requirement(denial) == "HEADER-DP"
