"""`Authorization`: only Windows authentication, and only where a site system uses it."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ibcm_bridge.decisions.denial import Reason
from ibcm_bridge.decisions.refusals import requirement
from ibcm_bridge.policy.roles import RoleProfile, RoleTable
from ibcm_bridge.request.credentials import check_credentials
from tests.request.heads import (
    DOWNLOAD,
    FORM,
    LISTING,
    MESSAGE,
    POLICY,
    Decide,
    Head,
    allowed,
    denied,
)

Profiles = Callable[[RoleProfile], Decide]

MANAGEMENT_POINT = "management-point"
CATALOG = "application-catalog-website-point"
USER_POLICY = ("GET", "/SMS_MP_WindowsAuth/.sms_pol?{LAB00001}.1_00")
USER_MESSAGE = ("CCM_POST", "/ccm_system_windowsauth/request", *MESSAGE[2:])
PAGE = ("GET", "/CMApplicationCatalog/")
FILLED = (*FORM, "Content-Type: application/json", "Content-Length: 3")

WINDOWS = [
    "Authorization: Negotiate YIIFzQYGKwYBBQUCoIIFwTCC==",
    "authorization: NTLM TlRMTVNTUAABAAAAB4IIogAAAAA=",
    "Authorization: ntlm TlRMTVNTUAAB",
    "Authorization: NEGOTIATE  TlRMTVNTUAAB",
]


@pytest.fixture
def opted_in(table: RoleTable, decide_as: Profiles) -> Callable[[str], Decide]:
    return lambda role: decide_as(table.roles[role].with_windows_authentication())


@pytest.mark.parametrize("field", WINDOWS)
@pytest.mark.parametrize(
    ("role", "line"),
    [
        (MANAGEMENT_POINT, USER_POLICY),
        (MANAGEMENT_POINT, USER_MESSAGE),
        (CATALOG, PAGE),
        (CATALOG, FILLED),
    ],
)
def test_windows_authentication_passes_where_the_directory_uses_it(
    opted_in: Callable[[str], Decide],
    request_head: Head,
    role: str,
    line: tuple[str, ...],
    field: str,
) -> None:
    head = request_head(*line, field)
    result = allowed(opted_in(role)(head))
    assert (result.head, result.dropped, result.user) == (head, (), True)


@pytest.mark.parametrize("field", WINDOWS)
@pytest.mark.parametrize("line", [MESSAGE, POLICY, DOWNLOAD, LISTING])
def test_elsewhere_it_is_dropped_and_counted_but_not_refused(
    table: RoleTable,
    decide: Decide,
    decide_strictly: Decide,
    decide_as: Profiles,
    request_head: Head,
    line: tuple[str, ...],
    field: str,
) -> None:
    profile = table.roles[MANAGEMENT_POINT].with_windows_authentication()
    deciding = [decide, decide_strictly]
    if line in (MESSAGE, POLICY):
        deciding.append(decide_as(profile))  # its other directories authenticate users
    for authorize in deciding:
        result = allowed(authorize(request_head(*line, field)))
        assert result.head == request_head(*line)
        assert result.dropped == (field.partition(":")[0],)
        assert not result.user


OTHER_CREDENTIALS = [
    ("Basic dXNlcjpwYXNzd29yZA==", "Basic"),
    ("basic", "Basic"),
    ("Bearer eyJhbGciOiJSUzI1NiJ9.e30.c2lnbmF0dXJl", "Bearer"),
    ('Digest username="user", realm="x", uri="/", response="0"', "Digest"),
    ("Negotiate", "Negotiate without a token"),
    ("NTLM ", "NTLM without a token"),
    ("NTLM a, Basic b", "NTLM without a token"),
    ("Negotiate a b", "Negotiate without a token"),
    ("Negotiate\ta", "an unknown scheme"),
    ("NTLM2 TlRMTVNTUAAB", "an unknown scheme"),
    ("dXNlcjpwYXNzd29yZA==", "an unknown scheme"),
    ("", "an unknown scheme"),
]


@pytest.mark.parametrize(("value", "named"), OTHER_CREDENTIALS)
@pytest.mark.parametrize("line", [USER_POLICY, USER_MESSAGE, POLICY, MESSAGE])
def test_credentials_of_other_schemes_are_refused_everywhere(
    opted_in: Callable[[str], Decide],
    request_head: Head,
    line: tuple[str, ...],
    value: str,
    named: str,
) -> None:
    denial = denied(opted_in(MANAGEMENT_POINT)(request_head(*line, f"Authorization: {value}")))
    assert (denial.reason, denial.rule) == (Reason.HEADER, "head.authorization")
    assert requirement(denial) == "USER-WINDOWS-AUTH"
    assert denial.detail == f"Authorization: {named}; only Negotiate and NTLM are allowed"


@given(value=st.binary(max_size=40).filter(lambda data: b"\n" not in data))
def test_a_detail_never_has_a_part_of_unknown_credentials(value: bytes) -> None:
    details = {detail for _, detail in OTHER_CREDENTIALS}
    if (denial := check_credentials([value])) is not None:
        named = denial.detail.removeprefix("Authorization: ").partition(";")[0]
        assert named in details


def test_a_repeated_authorization_is_refused_even_where_it_would_be_dropped(
    opted_in: Callable[[str], Decide], decide: Decide, request_head: Head
) -> None:
    for authorize, line in (
        (opted_in(MANAGEMENT_POINT), USER_POLICY),
        (opted_in(MANAGEMENT_POINT), POLICY),
        (decide, DOWNLOAD),
    ):
        denial = denied(authorize(request_head(*line, WINDOWS[0], WINDOWS[1])))
        assert (denial.reason, denial.rule) == (Reason.MALFORMED_HEAD, "head.repeated")


def test_connection_may_not_remove_credentials_that_are_forwarded(
    opted_in: Callable[[str], Decide], request_head: Head
) -> None:
    option = "Connection: Authorization"
    denial = denied(opted_in(MANAGEMENT_POINT)(request_head(*USER_POLICY, WINDOWS[0], option)))
    assert denial.rule == "head.connection"
    allowed(opted_in(MANAGEMENT_POINT)(request_head(*POLICY, WINDOWS[0], option)))
