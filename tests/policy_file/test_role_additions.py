"""Additions to a role never deny more, and never allow what is never published."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ibcm_bridge.decisions.denial import Deny, Reason
from ibcm_bridge.decisions.refusals import requirement
from ibcm_bridge.policy.resources import Resource
from ibcm_bridge.policy.roles import RoleAdditions, RoleProfile, RoleTable
from ibcm_bridge.policy_file.reading import Reading
from ibcm_bridge.policy_file.role_additions import read_profile
from ibcm_bridge.policy_file.rows.roles import ExtraHeaderRow, ExtraPathRow, ExtraVerbRow, RoleRow
from ibcm_bridge.policy_file.rows.values import ReasonRow
from ibcm_bridge.policy_file.yaml_tree import Tree
from ibcm_bridge.request.authorization import Authorized
from ibcm_bridge.request.head import RequestHead

Decide = Callable[[RequestHead], Authorized | Deny]
Head = Callable[..., RequestHead]
WHY = "the tests want it"
GUID = "11111111-2222-3333-4444-555555555555"
PKG = "/SMS_DP_SMSPKG$"
ROLES = (
    "management-point",
    "distribution-point",
    "software-update-point",
    "fallback-status-point",
    "application-catalog-website-point",
    "policy-module",
)
NEVER = (
    "/CCM_STS",
    "/ccm_system_altauth/request",
    "/CCM_System_TokenAuth/request",
    "/SMS_MP_AltAuth/.sms_pol?x",
    "/SMS_MP_TokenAuth/.sms_aut?MPLIST",
    f"/NOCERT_SMS_DP_SMSPKG$/{GUID}",
    f"/ccmtokenauth_sms_dp_smssig$/{GUID}.1.tar",
    f"{PKG}/Datalib",
    f"{PKG}/DATALIB/x",
    f"{PKG}/fileLIB/0A1B/0A1B2C",
    f"{PKG}/%46ilelib/sccm?/x",
    "/SMS_MP/Datalib",
    "/Reports/FileLib/x",
)
DIRECTORIES = (
    *("SMS_MP", "ccm_system", "SMS_DP_SMSPKG$", "SMS_DP_SMSSIG$", "ClientWebService", "certsrv"),
    *("SMS_FSP", "CMApplicationCatalog", "Reports", "ApiRemoting30", "ccm_system_windowsauth"),
    *("CCM_STS", "SMS_MP_AltAuth", "NOCERT_SMS_DP_SMSPKG$"),
)
TARGETS = (
    *NEVER,
    "/SMS_MP/.sms_aut?MPLIST",
    "/SMS_MP/.sms_aut?MPLOCATION&ir=1",
    "/SMS_MP/x",
    "/ccm_system/request",
    "/ccm_system_windowsauth/request",
    f"{PKG}/{GUID}/sccm?/x",
    f"{PKG}/{GUID}",
    "/ClientWebService/client.asmx",
    "/ApiRemoting30/WebService.asmx",
    "/SelfUpdate/wuident.cab",
    "/SMS_FSP/.sms_fsp",
    "/CMApplicationCatalog/x",
    "/certsrv/mscep/mscep.dll?operation=GetCACert",
    "/Reports/x",
    "/CCM_Client/ccmsetup.exe",
)
VERBS = ("GET", "HEAD", "POST", "PROPFIND", "CCM_POST", "BITS_POST", "PUT", "DELETE", "TRACE")
FIELDS = (
    *("Range: bytes=0-1", "Accept: */*", "X-Custom: 1", "Authorization: Negotiate x", "Via: x"),
    *("X-Forwarded-For: 192.0.2.1", "Forwarded: for=x", "X-Original-URL: /", "Client-Cert: x"),
    *("X_Forwarded_For: x", "Content-Type: text/xml", "Content-Length: 0", "SOAPAction: x"),
)
REQUESTS = st.tuples(
    st.sampled_from(VERBS),
    st.sampled_from(TARGETS),
    st.lists(st.sampled_from(FIELDS), unique=True, max_size=4),
)
PATTERNS = st.sampled_from((".*", "x", "[^/]*", "Data[a-z]*", "(?:file)lib/.*", ".+"))
ROWS = st.builds(
    RoleRow,
    site_system=st.just("https://ss.corp.example"),
    observed_headers=st.just(True),
    windows_authentication=st.none() | st.just(ReasonRow(because=WHY)),
    extra_verbs=st.lists(
        st.builds(
            ExtraVerbRow,
            verb=st.sampled_from((*VERBS, "put", "CONNECT", "TRACK")),
            body=st.sampled_from(("none", "soap", "bits-upload", "form")),
            because=st.just(WHY),
        ),
        max_size=3,
    ),
    extra_headers=st.lists(
        st.builds(
            ExtraHeaderRow,
            name=st.sampled_from([field.partition(":")[0] for field in FIELDS]),
            because=st.just(WHY),
        ),
        max_size=3,
    ),
    extra_paths=st.lists(
        st.builds(
            ExtraPathRow,
            directory=st.sampled_from(DIRECTORIES),
            path=PATTERNS,
            query=st.none() | PATTERNS,
            verbs=st.lists(st.sampled_from(VERBS), min_size=1, max_size=3),
            because=st.just(WHY),
        ),
        max_size=3,
    ),
)


def with_additions(table: RoleTable, role: str, row: RoleRow) -> RoleProfile:
    """Add as the policy file does. An addition that is not allowed is reported and not added."""
    reading = Reading(Path("bridge.yaml"), Tree())
    return read_profile(reading, (), row, table.roles[role], table)


def everything(*directories: str) -> RoleRow:
    """The widest row that a policy can have."""
    return RoleRow(
        site_system="https://ss.corp.example",
        extra_paths=[
            ExtraPathRow(directory=name, path=".*", query=query, verbs=["GET"], because=WHY)
            for name in directories
            for query in (None, ".*")
        ],
    )


@given(role=st.sampled_from(ROLES), row=ROWS, request_line=REQUESTS)
def test_an_addition_never_denies_more_than_before(
    table: RoleTable,
    decide_role: Callable[[str], Decide],
    decide_as: Callable[[RoleProfile], Decide],
    request_head: Head,
    role: str,
    row: RoleRow,
    request_line: tuple[str, str, list[str]],
) -> None:
    method, target, fields = request_line
    head = request_head(method, target, *fields)
    before = decide_role(role)(head)
    after = decide_as(with_additions(table, role, row))(head)
    if isinstance(before, Authorized):
        assert isinstance(after, Authorized), (before, after)
        assert set(before.head.fields) <= set(after.head.fields)
        assert after.body_rule == before.body_rule
        assert after.reply is before.reply, "the same replies are inspected"


@given(role=st.sampled_from(ROLES), row=ROWS, request_line=REQUESTS)
def test_a_role_with_additions_never_allows_what_is_never_published(
    table: RoleTable,
    decide_as: Callable[[RoleProfile], Decide],
    request_head: Head,
    role: str,
    row: RoleRow,
    request_line: tuple[str, str, list[str]],
) -> None:
    method, target, fields = request_line
    after = decide_as(with_additions(table, role, row))(request_head(method, target, *fields))
    if target in NEVER:
        assert isinstance(after, Deny)
    if isinstance(after, Authorized):
        assert method not in ("TRACE", "CONNECT", "TRACK")
        sent = {name.lower().replace(b"_", b"-") for name, _ in after.head.fields}
        assert not sent & table.never.headers
        if b"authorization" in sent:
            assert row.windows_authentication is not None


@pytest.mark.parametrize("target", NEVER)
def test_the_widest_role_still_refuses(
    table: RoleTable, decide_as: Callable[[RoleProfile], Decide], request_head: Head, target: str
) -> None:
    row = everything(*DIRECTORIES)
    decide = decide_as(with_additions(table, "distribution-point", row))
    denial = decide(request_head("GET", target))
    assert isinstance(denial, Deny)
    # Directories of other roles cannot be added.
    rules = ("roles.bypass_directories", "roles.never_below", "bridge.internet.example.directories")
    assert denial.rule in rules
    # The same row allows a target that only looks similar.
    twin = f"{PKG}/xDatalib" if "lib" in target.lower() else "/Reports/x"
    assert isinstance(decide(request_head("GET", twin)), Authorized)


def test_a_row_that_the_table_refuses_stays_refused(
    table: RoleTable, decide_as: Callable[[RoleProfile], Decide], request_head: Head
) -> None:
    mp = decide_as(with_additions(table, "management-point", everything(*DIRECTORIES)))
    sup = decide_as(with_additions(table, "software-update-point", everything("ApiRemoting30")))
    for decide, method, target, cites in (
        (mp, "GET", "/SMS_MP/.sms_aut?MPLOCATION&ir=1", "NO-OSD"),
        (mp, "CCM_POST", "/ccm_system_windowsauth/request", "NO-USER-DEPLOYMENT"),
        (sup, "GET", "/ApiRemoting30/WebService.asmx", "SUP-WSUS"),
    ):
        denial = decide(request_head(method, target))
        assert isinstance(denial, Deny)
        assert (denial.reason, requirement(denial)) == (Reason.RESOURCE, cites)
    assert isinstance(mp(request_head("GET", "/SMS_MP/anything?x")), Authorized)


def test_windows_authentication_allows_its_directories_and_its_field(
    table: RoleTable,
    decide_role: Callable[[str], Decide],
    decide_as: Callable[[RoleProfile], Decide],
    request_head: Head,
) -> None:
    row = RoleRow(
        site_system="https://ss.corp.example", windows_authentication=ReasonRow(because=WHY)
    )
    opted_in = decide_as(with_additions(table, "management-point", row))
    for line in (
        ("GET", "/SMS_MP_WindowsAuth/.sms_pol?x"),
        (
            *("CCM_POST", "/ccm_system_windowsauth/request"),
            *("Content-Type: multipart/mixed; boundary=x", "Content-Length: 30"),
        ),
    ):
        head = request_head(*line, "Authorization: Negotiate x")
        allowed = opted_in(head)
        assert isinstance(allowed, Authorized)
        assert allowed.head == head
        denial = decide_role("management-point")(head)
        assert isinstance(denial, Deny)
        assert (denial.reason, requirement(denial)) == (Reason.RESOURCE, "NO-USER-DEPLOYMENT")
    for target in ("/SMS_MP_WindowsAuth/.sms_aut?MPLIST", "/SMS_MP_WindowsAuth/.sms_pol/x?y"):
        denial = opted_in(request_head("GET", target))
        assert isinstance(denial, Deny)
        assert denial.reason is Reason.RESOURCE


@pytest.mark.parametrize(
    ("directory", "message"),
    [
        ("CCM_Client", "is never published (NO-CLIENT-DEPLOYMENT)"),
        ("enrollmentserver", "is never published (BRIDGE-NOT-ENROLLED)"),
        ("ApiRemoting30", "is a directory of software-update-point; publish that role"),
        ("SMS_FSP", "is a directory of fallback-status-point; publish that role"),
        ("ccm_system_altauth", "is never published"),
        ("DataLib", "is a content library and is never published"),
        ("Reports", None),
        ("SMS_MP", None),
    ],
)
def test_only_directories_of_this_role_or_of_no_role_can_be_added(
    table: RoleTable, directory: str, message: str | None
) -> None:
    reading = Reading(Path("bridge.yaml"), Tree())
    row = everything(directory)
    read_profile(reading, (), row, table.roles["management-point"], table)
    found = {problem.message for problem in reading.tree.problems}
    assert bool(found) is (message is not None)
    assert all(message is not None and message in text for text in found)


@pytest.mark.parametrize(
    "target",
    [
        "/SMS_MP/.sms_aut/?MPKEYINFORMATIONMEDIA",
        "/SMS_MP/.sms_aut/x?MPLOCATION",
        "/SMS_MP/.sms_aut?MPKEYINFORMATIONMEDIA=1",
        "/SMS_MP/.sms_aut?&MPKEYINFORMATIONMEDIA",
        "/SMS_MP/.sms_aut?MPLOCATION+",
        # IIS selects a handler by extension, so it serves every name with this suffix.
        "/SMS_MP/x.sms_aut?MPLOCATION",
        "/SMS_MP/x/.sms_aut?MPLOCATION",
        "/SMS_MP/x.SMS_AUT/y?MPLOCATION",
        "/SMS_MP/x/Datalib",
    ],
)
def test_the_widest_role_still_refuses_resources_by_name(
    table: RoleTable, decide_as: Callable[[RoleProfile], Decide], request_head: Head, target: str
) -> None:
    decide = decide_as(with_additions(table, "management-point", everything("SMS_MP")))
    denial = decide(request_head("GET", target))
    assert isinstance(denial, Deny)
    assert denial.reason is Reason.RESOURCE
    assert isinstance(decide(request_head("GET", "/SMS_MP/x/y?z")), Authorized)


@pytest.mark.parametrize(
    "query",
    [
        *("/Datalib", "Datalib", "/x/FILELIB/0A1B", "a=Datalib&b", "/%46ileLib"),
        # Spellings that a reader without Unicode converts to ASCII.
        *("/%EF%BD%84atalib", "/Datal%C4%B1b/x", "/F%C3%AFleLib", "/Data%E2%80%8Blib"),
        # Spellings that a reader converts to other letters, or drops.
        *("/Data%C5%82ib", "/D%CE%B1talib", "/%CF%86ileLib", "/%E2%99%AAatalib", "/Data%C4%91lib"),
        *("/%C3%B0atalib/x", "/Fil%C3%B0Lib"),
    ],
)
def test_a_policy_row_refuses_queries_that_name_a_content_library(
    table: RoleTable, decide_as: Callable[[RoleProfile], Decide], request_head: Head, query: str
) -> None:
    decide = decide_as(with_additions(table, "distribution-point", everything("SMS_DP_SMSPKG$")))
    for below in ("", "x", f"{GUID}/x"):
        denial = decide(request_head("GET", f"{PKG}/{below}?{query}"))
        assert isinstance(denial, Deny)
        assert denial.reason is Reason.RESOURCE
    # A file of a package may have this name, by a row of the role table.
    assert isinstance(decide(request_head("GET", f"{PKG}/{GUID}/sccm?/FileLib/x")), Authorized)
    for name in ("xDatalib", "Datenbibliothek%C3%A4", "%D0%94atalib", "Fi%C5%82elibs"):
        assert isinstance(decide(request_head("GET", f"{PKG}/x?/{name}")), Authorized)


def test_an_unpublished_directory_is_refused_even_if_a_table_has_it(
    table: RoleTable, decide_as: Callable[[RoleProfile], Decide], request_head: Head
) -> None:
    profile = table.roles["management-point"]
    anything = Resource(re.compile(".*"), None, frozenset((b"GET",)), "")
    resources = (("ccm_client", anything), ("reports", anything))
    added = RoleAdditions({}, frozenset(), resources, profile.messages)
    decide = decide_as(profile.with_additions(added))
    denial = decide(request_head("GET", "/CCM_Client/ccmsetup.exe"))
    assert isinstance(denial, Deny)
    assert (denial.reason, requirement(denial)) == (Reason.DIRECTORY, "NO-CLIENT-DEPLOYMENT")
    assert isinstance(decide(request_head("GET", "/Reports/ccmsetup.exe")), Authorized)


@pytest.mark.parametrize(
    "name",
    [
        *("X-Forwarded", "Proxy", "X-Client-Certificate", "SSL-Client-Cert", "X_Cluster_Client_IP"),
        *("CF-Connecting-IP", "X-Request-URI", "X-Accel-Redirect", "X-Sendfile", "Via"),
        "X-Method",
    ],
)
def test_a_proxy_header_cannot_be_added(table: RoleTable, name: str) -> None:
    reading = Reading(Path("bridge.yaml"), Tree())
    added = [ExtraHeaderRow(name=extra, because=WHY) for extra in (name, "X-Custom")]
    row = RoleRow(site_system="https://ss.corp.example", extra_headers=added)
    profile = read_profile(reading, (), row, table.roles["management-point"], table)
    [problem] = reading.tree.problems
    assert problem.message.startswith(f"{name} is never forwarded")
    assert name.lower().encode() not in profile.headers
    assert b"x-custom" in profile.headers


def test_a_policy_row_applies_to_targets_of_limited_length(
    table: RoleTable, decide_as: Callable[[RoleProfile], Decide], request_head: Head
) -> None:
    """The matching time may be quadratic, and the client chooses the length."""
    decide = decide_as(with_additions(table, "management-point", everything("Reports")))
    fits, long = "x" * 2_048, "x" * 2_049
    assert isinstance(decide(request_head("GET", f"/Reports/{fits}?{fits}")), Authorized)
    for target in (f"/Reports/{long}?{fits}", f"/Reports/{fits}?{long}"):
        denial = decide(request_head("GET", target))
        assert isinstance(denial, Deny)
        assert denial.reason is Reason.RESOURCE
