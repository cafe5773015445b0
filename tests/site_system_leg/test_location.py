"""References in a response: relative ones, those to the publication, and refused ones."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ibcm_bridge.decisions.denial import Deny, Reason
from ibcm_bridge.site_system_leg.location import location_for_client

ORIGIN = b"https://bridge.internet.example"
OWN = frozenset(("mp01.corp.example",))


def for_client(value: bytes, origin: bytes = ORIGIN) -> bytes | Deny:
    return location_for_client(value, origin, OWN)


@pytest.mark.parametrize(
    "value",
    [
        b"/SMS_MP/.sms_aut?MPLIST",
        b"next?a=b#c",
        b"?x=http://other.example/",
        b"./a:b",
        b"",
        b"https://bridge.internet.example/SMS_MP/",
        b"HTTPS://Bridge.Internet.Example:8443/x",
        b"https://bridge.internet.example",
        b"//bridge.internet.example/x",
    ],
)
def test_a_reference_that_is_relative_or_to_the_publication_is_unchanged(value: bytes) -> None:
    assert for_client(value) == value


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (
            b"https://mp01.corp.example/SMS_MP/x?y#z",
            b"https://bridge.internet.example/SMS_MP/x?y#z",
        ),
        (b"https://MP01.corp.example:443", b"https://bridge.internet.example/"),
        (b"//mp01.corp.example/x", b"https://bridge.internet.example/x"),
    ],
)
def test_the_publications_name_replaces_the_site_systems_own(value: bytes, expected: bytes) -> None:
    assert for_client(value) == expected


def test_the_authority_is_that_of_the_clients_request() -> None:
    there = b"https://bridge.internet.example:8443/x"
    origin = b"https://bridge.internet.example:8443"
    assert for_client(b"https://mp01.corp.example/x", origin) == there
    assert for_client(there, origin) == there


def test_the_case_of_the_clients_host_does_not_matter() -> None:
    there = b"https://bridge.internet.example/x"
    assert for_client(there, b"https://Bridge.Internet.Example") == there


@pytest.mark.parametrize(
    "value",
    [
        b"http://bridge.internet.example/",
        b"http://mp01.corp.example/",
        b"HTTP://other.example/",
        b"http:/x",
        b"http:x",
    ],
)
def test_http_is_refused_for_every_host(value: bytes) -> None:
    denial = for_client(value)
    assert isinstance(denial, Deny)
    assert (denial.reason, denial.rule) == (Reason.SITE_SYSTEM_RESPONSE, "site_system.location")
    assert denial.requirement == "BRIDGE-HTTPS-ONLY"


@pytest.mark.parametrize(
    "value",
    [
        b"https://other.example/",
        b"//other.example/",
        b"///other.example/",
        b"https:///other.example/",
        b"https:other.example",
        b"https://bridge.internet.example@other.example/",
        b"https://other.example#@bridge.internet.example/",
        b"https://bridge.internet.example.other.example/",
        b"https://[::1]/",
        b"https://mp01.corp.example:x/",
        b"ftp://bridge.internet.example/",
        b"file:///etc/passwd",
        b"javascript:x",
        b"\\\\other.example\\x",
        b"/\\other.example/",
        b"https:\\\\other.example/",
        b"/a b",
        b"/a\tb",
        b"/\xc3\xa4",
    ],
)
def test_anything_else_is_refused(value: bytes) -> None:
    denial = for_client(value)
    assert isinstance(denial, Deny)
    assert (denial.reason, denial.rule) == (Reason.SITE_SYSTEM_RESPONSE, "site_system.location")
    assert b"example" not in denial.detail.encode()


@given(st.binary(max_size=60))
def test_no_result_leads_to_the_site_system(value: bytes) -> None:
    for whole in (value, b"https://" + value, b"//" + value, b"https://mp01.corp.example" + value):
        result = for_client(whole)
        if isinstance(result, bytes):
            assert not result.lower().startswith((b"https://mp01.corp.example/", b"http:"))


def test_a_publication_over_http_leads_to_http_only() -> None:
    origin = b"http://fsp.internet.example"
    there = b"http://fsp.internet.example/SMS_FSP/"
    assert for_client(there, origin) == there
    assert for_client(b"http://mp01.corp.example/x", origin) == origin + b"/x"
    for value in (b"https://fsp.internet.example/", b"http://other.example/"):
        denial = for_client(value, origin)
        assert isinstance(denial, Deny)
        assert (denial.reason, denial.rule) == (Reason.SITE_SYSTEM_RESPONSE, "site_system.location")
