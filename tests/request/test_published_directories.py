"""Published directories and packages, and similar names that are refused."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from ibcm_bridge.decisions.denial import Reason
from ibcm_bridge.decisions.refusals import requirement
from tests.request.heads import OTHERS, PACKAGE, SIGNATURE, XML, Decide, Head, allowed, denied

# Target and directory


@pytest.mark.parametrize(
    ("target", "reason"),
    [
        ("/ccm_system/../SMS_MP/.sms_pol", Reason.TARGET_UNSAFE),
        ("/SMS_MP/%2e%2e/ccm_system", Reason.TARGET_UNSAFE),
        (f"{PACKAGE}/sccm?/../../x", Reason.TARGET_UNSAFE),
        (f"{PACKAGE}/sccm?C:/windows", Reason.TARGET_UNSAFE),
        ("https://bridge.internet.example/SMS_MP/.sms_pol", Reason.TARGET_FORM),
        ("*", Reason.TARGET_FORM),
        ("bridge.internet.example:443", Reason.TARGET_FORM),
        ("/", Reason.DIRECTORY),
        ("/iisstart.htm", Reason.DIRECTORY),
        ("/SMS_MP/x", Reason.RESOURCE),
        ("/ccm_system/x", Reason.RESOURCE),
        ("/SMS_MP_AltAuth/.sms_pol?x", Reason.BYPASS_DIRECTORY),
        (f"/NOCERT_{PACKAGE[1:]}", Reason.BYPASS_DIRECTORY),
    ],
)
def test_a_target_that_is_not_published_is_refused(
    decide: Decide, request_head: Head, target: str, reason: Reason
) -> None:
    assert denied(decide(request_head("GET", target))).reason is reason


@pytest.mark.parametrize(
    "target",
    [
        "/SMS_DP_SMSPKG$",
        "/SMS_DP_SMSPKG$/",
        "/sms_dp_smspkg$?x",
        "/SMS_DP_SMSPKG$?/x",
        "/SMS_DP_SMSPKG$/SCCMContentLib/x",
    ],
)
@pytest.mark.parametrize("line", [("GET",), ("HEAD",), ("PROPFIND", XML, "Content-Length: 90")])
def test_the_packages_directory_itself_is_not_listed(
    decide: Decide, request_head: Head, target: str, line: tuple[str, ...]
) -> None:
    denial = denied(decide(request_head(line[0], target, *line[1:])))
    rule = "distribution-point.directories.sms_dp_smspkg$"
    assert (denial.reason, denial.rule) == (Reason.RESOURCE, rule)
    assert requirement(denial) == "BRIDGE-INSPECT"


@pytest.mark.parametrize(
    "target",
    [
        "/SMS_DP_SMSPKG$/Datalib",
        "/SMS_DP_SMSPKG$/Datalib/",
        "/SMS_DP_SMSPKG$/datalib/Content_11111111-2222-3333-4444-555555555555.1.INI",
        "/SMS_DP_SMSPKG$/FileLib/0A1B/0A1B2C",
        "/SMS_DP_SMSPKG$/FILELIB?x",
        "/SMS_DP_SMSPKG$/Datalib/sccm?/x",
        "/SMS_DP_SMSPKG$/FileLib/sccm?/0A1B/0A1B2C",
        "/SMS_DP_SMSPKG$/%46ileLib",
        "/SMS_DP_SMSSIG$/Datalib",
        "/SMS_MP/Datalib",
    ],
)
@pytest.mark.parametrize(
    "line", [("GET",), ("HEAD",), ("DELETE",), ("PROPFIND", XML, "Content-Length: 90")]
)
def test_the_content_library_is_never_published(
    decide: Decide, request_head: Head, target: str, line: tuple[str, ...]
) -> None:
    denial = denied(decide(request_head(line[0], target, *line[1:])))
    assert (denial.reason, denial.rule) == (Reason.RESOURCE, "roles.never_below")
    assert requirement(denial) == "BRIDGE-INSPECT"


@pytest.mark.parametrize("name", ["Datalib1", "xFileLib", "Content_1.1", "x", "DATALIB0"])
@pytest.mark.parametrize("line", [("GET",), ("HEAD",), ("PROPFIND", XML, "Content-Length: 90")])
def test_a_name_that_is_not_a_package_name_is_refused(
    decide: Decide, request_head: Head, name: str, line: tuple[str, ...]
) -> None:
    for below in (name, f"{name}/sccm?/dir/setup.exe"):
        target = f"/SMS_DP_SMSPKG$/{below}"
        assert denied(decide(request_head(line[0], target, *line[1:]))).reason is Reason.RESOURCE


@pytest.mark.parametrize(
    ("target", "detail"),
    [
        ("/SMS_MP/nothing", "/sms_mp/nothing is not published"),
        ("/SMS_MP/nothing?MPLIST", "/sms_mp/nothing is not published"),
        ("/SMS_MP/.sms_aut", "/sms_mp/.sms_aut is published, but not without a query"),
        ("/SMS_MP/.sms_aut?x=secret", "/sms_mp/.sms_aut is published, but not with this query"),
        ("/SMS_MP/.sms_aut?", "/sms_mp/.sms_aut is published, but not with this query"),
        (f"{SIGNATURE[1]}?x", f"{SIGNATURE[1].lower()} is published, but not with a query"),
    ],
)
def test_the_detail_distinguishes_a_published_path_with_another_query(
    decide: Decide, request_head: Head, target: str, detail: str
) -> None:
    denial = denied(decide(request_head("GET", target)))
    assert denial.reason is Reason.RESOURCE
    assert denial.detail.lower() == detail


@pytest.mark.parametrize("file", ["Datalib/x", "FileLib", "SCCMContentLib/Datalib.INI"])
def test_a_file_of_a_package_may_have_a_name_that_is_not_a_package_name(
    decide: Decide, request_head: Head, file: str
) -> None:
    allowed(decide(request_head("GET", f"{PACKAGE}/sccm?/{file}")))


@pytest.mark.parametrize(
    ("target", "cites"),
    [
        ("/CCM_Client/ccmsetup.exe", "NO-CLIENT-DEPLOYMENT"),
        ("/CMUserService/x", "NO-USER-DEPLOYMENT"),
        ("/CMUserService_WindowsAuth", "NO-USER-DEPLOYMENT"),
        ("/EnrollmentServer/Discovery.svc", "BRIDGE-NOT-ENROLLED"),
        ("/bgb/handler.ashx?RequestType=LogIn", "BRIDGE-INSPECT"),
        ("/CMCertificateRegistration/x", "BRIDGE-INSPECT"),
    ],
)
@pytest.mark.parametrize("role", ["management-point", *OTHERS])
def test_a_directory_of_no_role_cites_its_requirement(
    decide_role: Callable[[str], Decide], request_head: Head, role: str, target: str, cites: str
) -> None:
    denial = denied(decide_role(role)(request_head("GET", target)))
    assert (denial.reason, requirement(denial)) == (Reason.DIRECTORY, cites)
