"""Which directories are published, and targets that can be read in two ways."""

from __future__ import annotations

import pytest

from ibcm_bridge.decisions.denial import Reason
from tests.integration.lab import Lab
from tests.integration.samples import CLOSE, CONTENT, NAME, body_for

# Directories

BYPASS = [
    ("management-point", "/CCM_System_AltAuth/request"),
    ("management-point", "/ccm_system_altauth/request"),
    ("management-point", "/ccm_system_TokenAuth/request"),
    ("management-point", "/SMS_MP_AltAuth/.sms_pol?{LAB00001}.1_00"),
    ("management-point", "/SMS_MP_TokenAuth/.sms_aut?MPLIST"),
    ("management-point", "/CCM_STS"),
    ("management-point", "/ccm%5fsystem%5Faltauth/request"),
    ("distribution-point", "/NOCERT_SMS_DP_SMSPKG$/LAB00001"),
    ("distribution-point", "/nocert_sms_dp_smssig$/LAB00001.1.tar"),
    ("distribution-point", "/CCMTOKENAUTH_SMS_DP_SMSPKG$/LAB00001"),
    ("distribution-point", "/CCMTOKENAUTH_SMS_DP_SMSSIG%24/LAB00001.1.tar"),
]


@pytest.mark.parametrize("target", [target for _, target in BYPASS])
def test_directories_without_client_certificates_are_not_published(lab: Lab, target: str) -> None:
    reply = lab.send_one(lab.request(target=target, fields=lab.identification))
    lab.check_refused(
        reply, Reason.BYPASS_DIRECTORY, "roles.bypass_directories", "BRIDGE-AUTH-COMPUTER"
    )


@pytest.mark.parametrize(
    "target",
    [
        "/",
        "/?/SMS_MP/.sms_aut",
        "/ccm_system2/request",
        "/ccm_syste",
        "/xccm_system/request",
        "/SMS_MP2",
        "/SMS_DP_SMSPKG/LAB00001",
        "/SMS_DP_SMSPKG$x/LAB00001",
        "/ApiRemoting30/WebService.asmx",
        "/iisstart.htm",
    ],
)
def test_any_other_directory_is_not_published(lab: Lab, target: str) -> None:
    reply = lab.send_one(lab.request(target=target))
    lab.check_refused(reply, Reason.DIRECTORY, f"{NAME}.directories", "BRIDGE-INSPECT")


@pytest.mark.parametrize(
    ("target", "requirement"),
    [
        ("/CCM_Client/ccmsetup.exe", "NO-CLIENT-DEPLOYMENT"),
        ("/CMUserService_WindowsAuth", "NO-USER-DEPLOYMENT"),
        ("/EnrollmentServer/Discovery.svc", "BRIDGE-NOT-ENROLLED"),
    ],
)
def test_a_directory_of_no_role_cites_the_requirement(
    lab: Lab, target: str, requirement: str
) -> None:
    reply = lab.send_one(lab.request(target=target))
    lab.check_refused(reply, Reason.DIRECTORY, f"{NAME}.directories", requirement)


@pytest.mark.parametrize("directory", ["ccm_system_windowsauth", "SMS_MP_WindowsAuth"])
def test_a_directory_with_windows_authentication_is_refused_without_the_opt_in(
    lab: Lab, directory: str
) -> None:
    method, target = "GET", f"/{directory}/.sms_pol?x"
    if directory == "ccm_system_windowsauth":
        method, target = "CCM_POST", f"/{directory}/request"
    fields, body = body_for(lab, method)
    reply = lab.send_one(lab.request(method, target, fields, body))
    rule = f"management-point.directories.{directory.lower()}"
    lab.check_refused(reply, Reason.RESOURCE, rule, "NO-USER-DEPLOYMENT")


@pytest.mark.parametrize(
    ("target", "rule"),
    [
        *(
            (target, "distribution-point.directories.sms_dp_smspkg$")
            for target in (
                "/SMS_DP_SMSPKG$",
                "/SMS_DP_SMSPKG$/",
                "/SMS_DP_SMSPKG$?/x",
                "/SMS_DP_SMSPKG$/SCCMContentLib",
            )
        ),
        *(
            (target, "roles.never_below")
            for target in (
                "/SMS_DP_SMSPKG$/Datalib",
                "/SMS_DP_SMSPKG$/datalib/LAB00001.1.INI",
                "/sms_dp_smspkg$/%44ATALIB/",
                "/SMS_DP_SMSPKG$/FileLib/ABCD/ABCDEF",
            )
        ),
    ],
)
@pytest.mark.parametrize("method", ["GET", "PROPFIND"])
def test_the_content_of_a_distribution_point_is_not_listed(
    lab: Lab, method: str, target: str, rule: str
) -> None:
    fields, body = body_for(lab, method)
    reply = lab.send_one(lab.request(method, target, fields, body))
    lab.check_refused(reply, Reason.RESOURCE, rule, "BRIDGE-INSPECT")


@pytest.mark.parametrize(
    "target",
    [
        "/ccm_system/../ccm_system_altauth/request",
        "/ccm_system/%2e%2e/ccm_system_altauth/request",
        "/ccm_system/..%2fccm_system_altauth/request",
        "/ccm_system/..%5Cccm_system_altauth/request",
        "/ccm_system/..\\ccm_system_altauth/request",
        "/SMS_MP/./.sms_aut",
        "//SMS_MP_AltAuth/.sms_aut",
        "/SMS_MP//.sms_aut",
        "/SMS_MP./.sms_aut",
        "/SMS_MP%20/.sms_aut",
        "/SMS_MP::$DATA/.sms_aut",
        "/SMS_MP;/SMS_MP_AltAuth/.sms_aut",
        "/SMS_MP/.sms_aut%00",
        "/SMS_MP/%2esms%5faut%0d%0aX:1",
        "/SMS_MP%255fAltAuth/.sms_aut",
        "/SMS_MP/%u002e%u002e/x",
        "/SMS_MP/%c0%ae%c0%ae/x",
        "/SMS_MP/%",
        "/SMS_M~1/.sms_aut",
        "/SMS_MP/.sms_aut#x",
        f"{CONTENT}/sccm?/../../../web.config",
        f"{CONTENT}/sccm?/dir/%2e%2e/%2e%2e/x",
        f"{CONTENT}/sccm?%2f..%2f..%2fx",
        f"{CONTENT}/sccm?../../x",
        f"{CONTENT}/sccm?/dir\\..\\x",
        f"{CONTENT}/sccm?/dir/%255c..%255cx",
        f"{CONTENT}/sccm?/C:/Windows/win.ini",
        f"{CONTENT}/sccm?C:/Windows/win.ini",
    ],
)
def test_an_ambiguous_target_is_refused(lab: Lab, target: str) -> None:
    reply = lab.send_one(lab.request(target=target))
    record = lab.record()
    assert record["rule"].startswith("target.")
    lab.check_refused(reply, Reason.TARGET_UNSAFE, record["rule"], "BRIDGE-INSPECT")


@pytest.mark.parametrize(
    "target",
    [
        "/sms_mp/.sms_aut?MPLIST",
        "/SMS_MP/.sms_pol?{LAB00001}.1_00",
        "/SMS_MP/.sms_pol?%7BLAB00001%7D.1_00",
        "/SMS%5fMP/.sms_aut?MPLIST",
        f"{CONTENT}/sccm?/dir/setup.exe",
        f"{CONTENT}/sccm?/dir/a%20file%20(x64).msi",
        f"{CONTENT}/sccm?/Datalib/is-a-directory-of-this-package",
    ],
)
def test_the_target_forms_of_clients_are_forwarded_unchanged(lab: Lab, target: str) -> None:
    assert lab.send_one(lab.request(target=target, fields=CLOSE)).status == 200
    assert lab.received().target == target
    assert lab.record()["target"] == target
