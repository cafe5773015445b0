"""Header fields that occur more than once, and `Translate`."""

from __future__ import annotations

import pytest

from ibcm_bridge.decisions.denial import Reason
from ibcm_bridge.decisions.refusals import requirement
from ibcm_bridge.policy.roles import RoleTable
from tests.request.heads import DOWNLOAD, LISTING, POLICY, Decide, Head, allowed, denied

LISTS = [
    "Accept: */*",
    "Accept-Charset: utf-8",
    "Accept-Encoding: gzip",
    "Accept-Language: en",
    "Cache-Control: no-cache",
    "If-Match: a",
    "If-None-Match: a",
    "Pragma: no-cache",
]


@pytest.mark.parametrize("field", LISTS)
def test_a_field_that_is_a_list_may_repeat(
    decide: Decide, decide_strictly: Decide, request_head: Head, field: str
) -> None:
    head = request_head(*POLICY, field, field.upper())
    for authorize in (decide, decide_strictly):
        assert (allowed(authorize(head)).head, allowed(authorize(head)).dropped) == (head, ())


def test_connection_may_repeat(decide: Decide, request_head: Head) -> None:
    allowed(decide(request_head(*POLICY, "Connection: close", "Connection: Keep-Alive")))


ONCE = [
    "CCMClientID: GUID:1",
    "CCMClientIDSignature: 00",
    "CCMClientTimestamp: 2026-01-01T00:00:00Z",
    "CCMClientTimestampSignature: 00",
    "ClientToken: x",
    "User-Agent: ccmhttp",
    "Content-Type: text/xml",
    "If-Modified-Since: Thu, 01 Jan 2026 00:00:00 GMT",
    "If-Range: x",
    "If-Unmodified-Since: Thu, 01 Jan 2026 00:00:00 GMT",
    "Date: Thu, 01 Jan 2026 00:00:00 GMT",
    "X-P2P-PeerDist: Version=1.1",
    "BITS-Session-Id: {x}",
]


@pytest.mark.parametrize("field", ONCE)
@pytest.mark.parametrize("second", ["same", "other value", "other case"])
def test_any_other_field_that_is_forwarded_may_not(
    decide: Decide, request_head: Head, field: str, second: str
) -> None:
    name, _, value = field.partition(": ")
    again = {
        "same": field,
        "other value": f"{name}: y{value}",
        "other case": f"{name.swapcase()}: {value}",
    }
    assert allowed(decide(request_head(*POLICY, field))).dropped == ()
    denial = denied(decide(request_head(*POLICY, field, "Accept: */*", again[second])))
    assert (denial.reason, denial.rule) == (Reason.MALFORMED_HEAD, "head.repeated")
    assert denial.detail == f"2 {name.lower()} fields"
    assert requirement(denial) == "HTTP-1.1"


def test_every_field_of_every_role_is_in_one_of_the_two_lists(table: RoleTable) -> None:
    lists = {field.partition(":")[0].lower().encode() for field in LISTS} | {b"connection"}
    assert all(role.repeatable_headers == lists for role in table.roles.values())


def test_a_field_that_is_dropped_may_repeat(
    decide: Decide, decide_strictly: Decide, request_head: Head
) -> None:
    head = request_head(*DOWNLOAD, "CCMClientID: GUID:1", "CCMClientID: GUID:2")
    result = allowed(decide(head))
    assert (result.head, result.dropped) == (request_head(*DOWNLOAD), ("CCMClientID",) * 2)
    denial = denied(decide_strictly(head))
    assert (denial.reason, denial.rule) == (Reason.HEADER, "distribution-point.headers")


# Translate

SOURCE = "Translate: f"


@pytest.mark.parametrize("method", ["GET", "HEAD"])
@pytest.mark.parametrize("target", [POLICY[1], DOWNLOAD[1]])
def test_translate_is_dropped_with_get_and_head(
    decide: Decide, decide_strictly: Decide, request_head: Head, method: str, target: str
) -> None:
    for authorize in (decide, decide_strictly):
        for fields in ((SOURCE,), (SOURCE, SOURCE)):
            result = allowed(authorize(request_head(method, target, *fields)))
            assert result.head == request_head(method, target)
            assert result.dropped == ("Translate",) * len(fields)


def test_translate_passes_with_propfind(
    decide: Decide, decide_strictly: Decide, request_head: Head
) -> None:
    head = request_head(*LISTING, SOURCE)
    for authorize in (decide, decide_strictly):
        assert (allowed(authorize(head)).head, allowed(authorize(head)).dropped) == (head, ())
    denial = denied(decide(request_head(*LISTING, SOURCE, SOURCE)))
    assert denial.rule == "head.repeated"
