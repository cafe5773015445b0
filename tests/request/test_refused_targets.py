"""Targets that match no row of the resource table."""

from __future__ import annotations

import re
import string
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ibcm_bridge.decisions.denial import Reason
from ibcm_bridge.decisions.refusal_response import response_bytes
from ibcm_bridge.decisions.refusals import refusal, requirement
from ibcm_bridge.policy.roles import RoleTable
from ibcm_bridge.request.authorization import Authorized
from tests.request.published_targets import (
    AUT,
    COMPONENT,
    DCM,
    DOC,
    GUID,
    PKG,
    POL,
    REFUSED,
    ROWS,
    SCEP,
    SIG,
    Decide,
    Head,
    denied,
    line_for,
    read,
    role_of,
)

# Refused variants of the rows

TWINS = [
    # ccm_system: one resource, no path info, no query
    ("CCM_POST", "/ccm_system"),
    ("CCM_POST", "/ccm_system/"),
    ("CCM_POST", "/ccm_system/request/"),
    ("CCM_POST", "/ccm_system/request/x"),
    ("CCM_POST", "/ccm_system/request/request"),
    ("CCM_POST", "/ccm_system/requests"),
    ("CCM_POST", "/ccm_system/xrequest"),
    ("CCM_POST", "/ccm_system/request?"),
    ("CCM_POST", "/ccm_system/request?x"),
    ("CCM_POST", "/ccm_system/request/?x"),
    ("CCM_POST", "/ccm_system/ccm_system_altauth/request"),
    # .sms_aut: path info, trailing slash, missing and empty query
    ("GET", AUT),
    ("GET", f"{AUT}?"),
    ("GET", f"{AUT}/"),
    ("GET", f"{AUT}/?MPLIST"),
    ("GET", f"{AUT}/x?MPLIST"),
    ("GET", f"{AUT}/.sms_pol?MPLIST"),
    ("GET", "/SMS_MP/x/.sms_aut?MPLIST"),
    ("GET", "/SMS_MP/sms_aut?MPLIST"),
    ("GET", "/SMS_MP/x.sms_aut?MPLIST"),
    ("GET", "/SMS_MP/.sms_autx?MPLIST"),
    ("GET", "/SMS_MP/?MPLIST"),
    ("GET", "/SMS_MP?MPLIST"),
    # ... and keywords
    ("GET", f"{AUT}?GETCLIENTAFFINITY"),
    ("GET", f"{AUT}?GETCLIENTAFFINITY&GUID:{GUID}"),
    ("GET", f"{AUT}?MPCapability"),
    ("GET", f"{AUT}?SMSTRC"),
    ("GET", f"{AUT}?MPLIST3"),
    ("GET", f"{AUT}?MPLIST12"),
    ("GET", f"{AUT}?MPLISTX"),
    ("GET", f"{AUT}?xMPLIST"),
    ("GET", f"{AUT}?MPCERT1"),
    ("GET", f"{AUT}?SITESIGNCERT2"),
    ("GET", f"{AUT}?MPKEYINFORMATIONE"),
    ("GET", f"{AUT}?MPKEYINFORMATIONEXMEDIA"),
    ("GET", f"{AUT}?%20MPLIST"),
    ("GET", f"{AUT}?+MPLIST"),
    ("GET", f"{AUT}?MPLIST="),
    ("GET", f"{AUT}?MPLIST?MPLIST"),
    ("GET", f"{AUT}?/MPLIST"),
    ("GET", f"{AUT}?{{LAB00001}}.1_00"),
    # ... and site codes
    ("GET", f"{AUT}?MPLIST&"),
    ("GET", f"{AUT}?MPLIST1&CM"),
    ("GET", f"{AUT}?MPLIST1&CM12"),
    ("GET", f"{AUT}?MPLIST1&C_1"),
    ("GET", f"{AUT}?MPLIST1&CM-"),
    ("GET", f"{AUT}?MPLIST1&&CM1"),
    ("GET", f"{AUT}?MPLIST1&CM1&"),
    ("GET", f"{AUT}?MPLIST1&CM1&CM2"),
    # .sms_pol
    ("GET", POL),
    ("GET", f"{POL}?"),
    ("GET", f"{POL}/"),
    ("GET", f"{POL}/?{{LAB00001}}.1_00"),
    ("GET", f"{POL}/{{LAB00001}}.1_00"),
    ("GET", f"{POL}/x?{{LAB00001}}.1_00"),
    ("GET", f"{POL}?{{LAB00001}}.1_00&x"),
    ("GET", f"{POL}?{{LAB00001}}.1_00%26x"),
    ("GET", f"{POL}?a=b"),
    ("GET", f"{POL}?a%20b"),
    ("GET", f"{POL}?a'--"),
    ("GET", f"{POL}?a%3Bb"),
    ("GET", f"{POL}?%3Cx%3E"),
    ("GET", f"{POL}?{'x' * 513}"),
    # .sms_dcm
    ("GET", DOC),
    ("GET", f"{DOC}?"),
    ("GET", f"{DOC}?Id"),
    ("GET", f"{DOC}?Id&DocumentId="),
    ("GET", f"{DOC}?DocumentId=x"),
    ("GET", f"{DOC}?{DCM}&"),
    ("GET", f"{DOC}?{DCM}&Version"),
    ("GET", f"{DOC}?{DCM}&Version="),
    ("GET", f"{DOC}?{DCM}&=1"),
    ("GET", f"{DOC}?{DCM}&Version=1=2"),
    ("GET", f"{DOC}?{DCM}&V1=1"),
    ("GET", f"{DOC}?{DCM}{'&A=b' * 5}"),
    ("GET", f"{DOC}?{DCM}&Version=1%27"),
    ("GET", f"{DOC}/?{DCM}"),
    ("GET", f"{DOC}/x?{DCM}"),
    ("GET", f"{POL}?{DCM}"),
    ("GET", f"{AUT}?{DCM}"),
    # the bare directory of the management point takes no query; nothing else is below it
    ("PROPFIND", "/SMS_MP?"),
    ("PROPFIND", "/SMS_MP/?MPLIST"),
    ("PROPFIND", "/SMS_MP/x"),
    ("PROPFIND", "/SMS_MP/.sms_aut"),
    ("GET", "/SMS_MP/web.config"),
    ("GET", "/SMS_MP/SMS_MP_AltAuth/.sms_pol?x"),
    # uploads
    ("BITS_POST", "/CCM_Incoming"),
    ("BITS_POST", "/CCM_Incoming/"),
    ("BITS_POST", "/CCM_Incoming/x/"),
    ("BITS_POST", "/CCM_Incoming/x?y"),
    ("BITS_POST", "/CCM_Incoming/a/b/c/d/e"),
    ("BITS_POST", "/CCM_Incoming/x.aspx"),
    ("BITS_POST", "/CCM_Incoming/x.msg/y"),
    ("BITS_POST", "/CCM_Incoming/x.msg.aspx"),
    ("BITS_POST", f"/CCM_Incoming/{'x' * 129}"),
    # packages: the listing of all packages
    *(
        (verb, f"{PKG}{below}")
        for verb in ("GET", "HEAD", "PROPFIND")
        for below in (
            "",
            "/",
            "?",
            "?/x",
            "/SCCMContentLib",
            "/NOCERT_SMS_DP_SMSPKG$/CAS00015",
        )
    ),
    # ... names that are not package names
    *(
        (verb, f"{PKG}/{name}{rest}")
        for verb, rest in (("PROPFIND", ""), ("GET", "/sccm?/setup.exe"))
        for name in (
            "CAS0001",
            "CAS000155",
            "CAS0001G",
            "CA-00015",
            "CAS00015.",
            "CAS00015.x",
            "CAS00015.1.1",
            "CAS00015.12345678901",
            "Content_CAS00015.1",
            f"Content-{GUID}.1",
            f"Content_Content_{GUID}.1",
            f"{{{GUID}}}",
            f"x{GUID}",
            f"{GUID}x",
            f"Content_{GUID[:-1]}.1",
            f"Content_{GUID[:-1]}G.1",
            f"Content_{GUID.replace('-', '')}.1",
            "CONTENT",
            "GUID",
            "{CONTENT}",
            "{GUID}",
        )
        if not name.endswith(".")  # another reason: Windows would drop the dot
    ),
    # ... their files
    ("GET", f"{PKG}/CAS00015/sccm"),
    ("GET", f"{PKG}/CAS00015/sccm?"),
    ("GET", f"{PKG}/CAS00015/sccm?/"),
    ("GET", f"{PKG}/CAS00015/sccm?setup.exe"),
    ("GET", f"{PKG}/CAS00015/sccm?dir/setup.exe"),
    ("GET", f"{PKG}/CAS00015/sccm?file=/setup.exe"),
    ("GET", f"{PKG}/CAS00015/sccm/?/setup.exe"),
    ("GET", f"{PKG}/CAS00015/sccm/x?/setup.exe"),
    ("GET", f"{PKG}/CAS00015/sccm/setup.exe"),
    ("GET", f"{PKG}/CAS00015/setup.exe"),
    ("GET", f"{PKG}/CAS00015?/setup.exe"),
    ("GET", f"{PKG}/CAS00015/sccmx?/setup.exe"),
    ("GET", f"{PKG}/CAS00015/CAS00016/sccm?/setup.exe"),
    ("GET", f"{PKG}/CAS00015/sccm?/{'x' * 1025}"),
    ("GET", f"{PKG}/CAS00015/sccm?/{'%C3%B1' * 1025}"),
    ("PROPFIND", f"{PKG}/CAS00015?"),
    ("PROPFIND", f"{PKG}/CAS00015?/x"),
    ("PROPFIND", f"{PKG}/CAS00015/dir"),
    # signatures
    ("GET", SIG),
    ("GET", f"{SIG}/"),
    ("GET", f"{SIG}/CAS00015"),
    ("GET", f"{SIG}/CAS00015.3"),
    ("GET", f"{SIG}/CAS00015.3.tar/"),
    ("GET", f"{SIG}/CAS00015.3.tar/x"),
    ("GET", f"{SIG}/CAS00015.3.tar?"),
    ("GET", f"{SIG}/CAS00015.3.tar?/x"),
    ("GET", f"{SIG}/CAS00015.3.tarx"),
    ("GET", f"{SIG}/CAS00015.3.zip"),
    ("GET", f"{SIG}/CAS00015.3xtar"),
    ("GET", f"{SIG}/CAS00015.1.2.3.tar"),
    ("GET", f"{SIG}/x.1.tar"),
    ("GET", f"{SIG}/.tar"),
    ("GET", f"{SIG}/CAS00015/CAS00015.3.tar"),
    ("GET", f"{SIG}/Datalib.tar"),
    # web services: no path info, no query (?wsdl), no other page beside them
    ("POST", "/SimpleAuthWebService/SimpleAuth.asmx/"),
    ("POST", "/SimpleAuthWebService/SimpleAuth.asmx/x"),
    ("POST", "/SimpleAuthWebService/SimpleAuth.asmx?wsdl"),
    ("GET", "/SimpleAuthWebService/SimpleAuth.asmx?wsdl"),
    ("POST", "/SimpleAuthWebService"),
    ("POST", "/SimpleAuthWebService/client.asmx"),
    ("POST", "/ClientWebService/client.asmx/js"),
    ("POST", "/ClientWebService/client.asmx?"),
    ("POST", "/ClientWebService/clientXasmx"),
    ("POST", "/ClientWebService/xclient.asmx"),
    ("GET", "/ClientWebService/web.config"),
    ("GET", "/ClientWebService/wusserverversion.xml?x"),
    ("GET", "/ClientWebService/wusserverversion.xml/x"),
    ("GET", "/ClientWebService/x/wusserverversion.xml"),
    ("GET", "/ClientWebService/wusserverversionxxml"),
    ("GET", "/ClientWebService/serverversion.xml"),
    ("POST", "/ClientWebService/SimpleAuth.asmx"),
    ("POST", "/ReportingWebService/ReportingWebService.asmx/GetRequiredInventoryType"),
    ("POST", "/ReportingWebService/ReportingWebService.asmxx"),
    # self-update: cabinets only
    ("GET", "/SelfUpdate"),
    ("GET", "/SelfUpdate/"),
    ("GET", "/SelfUpdate/x.exe"),
    ("GET", "/SelfUpdate/wuident.cab/x"),
    ("GET", "/SelfUpdate/wuident.cab?x"),
    ("GET", "/SelfUpdate/wuident.cab?"),
    ("GET", "/SelfUpdate/a/b/c/d/e/x.cab"),
    ("GET", "/SelfUpdate/a.b/x.cab"),
    # ... and of components
    ("GET", f"/SelfUpdate/x{COMPONENT}.exe"),
    ("GET", f"/SelfUpdate/x{COMPONENT}.cab/y"),
    ("GET", f"/SelfUpdate/x{COMPONENT}.cab?"),
    ("GET", f"/SelfUpdate/x{COMPONENT}.cab?y"),
    ("GET", f"/SelfUpdate/a.b/x{COMPONENT}.cab"),
    ("GET", f"/SelfUpdate/a~b/x{COMPONENT}.cab"),
    ("GET", f"/SelfUpdate/a/b/c/d/e/x{COMPONENT}.cab"),
    ("GET", "/SelfUpdate/x~..cab"),
    ("GET", f"/SelfUpdate/{COMPONENT}.cab"),
    ("GET", f"/SelfUpdate/x~a{'.1' * 9}.cab"),
    ("GET", f"/SelfUpdate/x~{'y' * 129}.cab"),
    ("GET", f"/SelfUpdate/{'x' * 65}.cab"),
    # fallback status point: one resource
    ("POST", "/SMS_FSP"),
    ("POST", "/SMS_FSP/"),
    ("POST", "/SMS_FSP/.sms_fsp/"),
    ("POST", "/SMS_FSP/.sms_fsp/x"),
    ("POST", "/SMS_FSP/.sms_fsp?"),
    ("POST", "/SMS_FSP/.sms_fsp?x"),
    ("POST", "/SMS_FSP/.sms_aut"),
    ("POST", "/SMS_FSP/xsms_fsp"),
    # application catalog
    ("GET", "/CMApplicationCatalog/a%20b"),
    ("GET", "/CMApplicationCatalog/x?%3Cscript%3E"),
    ("GET", "/CMApplicationCatalog/x?/%C3%B1"),
    ("GET", "/CMApplicationCatalog/x?/100%25"),
    ("GET", f"{POL}?/%C3%B1"),
    ("GET", f"{POL}?/%E2%84%AAx"),
    ("GET", f"/CMApplicationCatalog/{'a' * 1025}"),
    ("GET", f"/CMApplicationCatalog/x?{'y' * 2049}"),
    # SCEP: four questions and one operation, whole
    ("GET", SCEP),
    ("GET", f"{SCEP}?"),
    ("GET", f"{SCEP}/?operation=GetCACert"),
    ("GET", f"{SCEP}/other.exe?operation=GetCACert"),
    ("GET", f"{SCEP}/pkiclient.exe/?operation=GetCACert"),
    ("GET", f"{SCEP}/pkiclient.exe/x?operation=GetCACert"),
    ("GET", f"{SCEP}/pkiclient.exe"),
    ("GET", f"{SCEP}/pkiclient.dll?operation=GetCACert"),
    ("POST", f"{SCEP}/other.exe?operation=PKIOperation"),
    ("GET", "/certsrv/mscep/pkiclient.exe?operation=GetCACert"),
    ("GET", f"{SCEP}?operation="),
    ("GET", f"{SCEP}?operation=GetCACertX"),
    ("GET", f"{SCEP}?operation=GetCRL"),
    ("GET", f"{SCEP}?operation=GetCACert&message=%20ab"),
    ("GET", f"{SCEP}?operation=GetCACert&message=a%26b"),
    ("GET", f"{SCEP}?operation=GetCACert&message=a%22b"),
    ("GET", f"{SCEP}?operation=GetCACert&message=a%3Cb"),
    ("GET", f"{SCEP}?operation=GetCACert&message={'x' * 256}"),
    ("GET", f"{SCEP}?operation=GetCACert&x=y"),
    ("GET", f"{SCEP}?message=x&operation=GetCACert"),
    ("GET", f"{SCEP}?operation=PKIOperation&message=a,b"),
    ("GET", f"{SCEP}?operation=PKIOperation&message=MIIB&message=abcd"),
    ("GET", f"{SCEP}?operation=PKIOperation&message={'A' * 65_001}"),
    ("POST", f"{SCEP}?operation=PKIOperation&message={'A' * 65_001}"),
    ("POST", f"{SCEP}?operation=PKIOperation&x=y"),
    ("GET", "/certsrv"),
    ("GET", "/certsrv/"),
    ("GET", "/certsrv/certfnsh.asp"),
    ("GET", "/certsrv/mscep_admin/mscep.dll?operation=GetCACert"),
    ("GET", "/certsrv/mscep?operation=GetCACert"),
    ("PROPFIND", SIG),
]


@pytest.mark.parametrize(("method", "target"), TWINS)
def test_a_target_that_matches_no_row_is_refused(
    table: RoleTable,
    decide_role: Callable[[str], Decide],
    request_head: Head,
    method: str,
    target: str,
) -> None:
    directory = read(target).directory
    decide = decide_role(role_of(table, directory))
    denial = denied(decide(request_head(*line_for(method, target))))
    rule = f"{role_of(table, directory)}.directories.{directory}"
    assert (denial.reason, denial.rule) == (Reason.RESOURCE, rule)
    assert requirement(denial) == "BRIDGE-INSPECT"
    assert refusal(denial).status == 404
    # The response offers no other resource.
    assert b"\r\nAllow:" not in response_bytes(denial, "r")


@pytest.mark.parametrize("target", [f"{PKG}/CAS00015/Datalib", f"{PKG}/x/DataLib/sccm?/x"])
def test_a_content_library_is_refused_at_any_depth(
    decide: Decide, request_head: Head, target: str
) -> None:
    denial = denied(decide(request_head("GET", target)))
    assert (denial.reason, denial.rule) == (Reason.RESOURCE, "roles.never_below")


@pytest.mark.parametrize("method", ["GET", "HEAD", "PROPFIND"])
@pytest.mark.parametrize(
    "target",
    [
        *ROWS["sms_mp", 1][1],
        # A row that refuses also matches variants, so that no other row can match them.
        f"{AUT}/?MPLOCATION",
        f"{AUT}/x?MPLOCATION",
        f"{AUT}?MPKEYINFORMATIONMEDIA=1",
        f"{AUT}?MPKEYINFORMATIONMEDIAX",
        f"{AUT}?&MPKEYINFORMATIONMEDIA",
        f"{AUT}?MPLIST&MPLOCATION&ir=1",
        f"{AUT}?MPLIST;mplocation",
    ],
)
def test_a_request_of_boot_media_is_refused_by_its_requirement(
    decide: Decide, request_head: Head, method: str, target: str
) -> None:
    denial = denied(decide(request_head(*line_for(method, target))))
    assert denial.reason is Reason.RESOURCE
    assert denial.rule == "management-point.directories.sms_mp"
    assert requirement(denial) == "NO-OSD"
    assert b"NO-OSD" in response_bytes(denial, "r")


@pytest.mark.parametrize(
    "target",
    [
        f"{POL}?%257BLAB00001%257D.1_00",  # a second encoding
        f"{AUT}?MPLIST%2526CM1",
        f"{AUT}?MPLIST%00",
        f"{AUT}?MPLIST%0d%0aX:1",
        f"{POL}?../x",
        f"{DOC}?Id&DocumentId=../../x",
        f"{DOC}?Id&DocumentId=C:/x",
        f"{PKG}/CAS00015/sccm?/../x",
        f"{PKG}/CAS00015/sccm?//x",
        f"{PKG}/CAS00015/sccm?%2fsetup.exe",
        f"{PKG}/CAS00015/sccm?/x%3fy",
        f"{PKG}/CAS00015/sccm?/x%252fy",
        f"{PKG}/CAS00015/sccm?/SETUP~2.EXE",
        f"{PKG}/CAS00015/sccm?/con",
        "/selfupdate/wuident;x.cab",
        "/selfupdate/WUCLIE~1.CAB",
        f"/selfupdate/x{COMPONENT}.cab.",
        "/selfupdate/x~y./z.cab",
        f"{PKG}/CAS00015%2fsccm?/x",
        f"{PKG}/CAS00015./sccm?/x",
        f"{PKG}/CAS000~1/sccm?/x",
        f"{SIG}/CAS00015.3.tar::$DATA",
        f"{SIG}/CAS00015.3.tar.",
        "/SMS_MP/.sms_aut%3fMPLIST",
        "/ccm_system//request",
        "/ccm_system/./request",
    ],
)
def test_an_ambiguous_target_is_refused_before_any_row_is_matched(
    decide: Decide, request_head: Head, target: str
) -> None:
    for method in ("GET", "HEAD", "PROPFIND"):
        denial = denied(decide(request_head(*line_for(method, target))))
        assert denial.reason is Reason.TARGET_UNSAFE


ALLOWED = [
    (verb, target)
    for key, (verbs, targets) in ROWS.items()
    for verb in sorted(verbs)
    for target in targets
    if key not in (*REFUSED, ("ccm_incoming", 0)) and len(target) < 2_000
]
SAFE = "".join(sorted({*string.printable} - {*string.whitespace} - {*"%#"}))


@given(example=st.sampled_from(ALLOWED), data=st.data())
def test_the_escapes_of_a_target_never_change_a_verdict(
    table: RoleTable,
    decide_role: Callable[[str], Decide],
    request_head: Head,
    example: tuple[str, str],
    data: st.DataObject,
) -> None:
    method, target = example
    decide = decide_role(role_of(table, read(target).directory))
    chosen = data.draw(st.lists(st.booleans(), min_size=len(target), max_size=len(target)))
    # Separators are not part of a name, and an escape is not escaped again.
    other = re.sub(
        r"%..|[^/?&=]",
        lambda m: f"%{ord(m[0]):02X}" if chosen[m.start()] and len(m[0]) == 1 else m[0],
        target,
    )
    result = decide(request_head(*line_for(method, other)))
    assert isinstance(result, Authorized), (other, result)
    assert result.head.target.raw == other.encode()


@given(
    verb=st.sampled_from(("GET", "HEAD", "PROPFIND", "CCM_POST")),
    directory=st.sampled_from(("/ccm_system", "/SMS_MP", "/CCM_Incoming", PKG, SIG)),
    below=st.text(SAFE, min_size=1, max_size=40),
)
def test_arbitrary_text_below_a_directory_is_never_allowed(
    decide: Decide, request_head: Head, verb: str, directory: str, below: str
) -> None:
    if below.strip("/"):
        denied(decide(request_head(*line_for(verb, f"{directory}/{below}"))))


@given(query=st.text(SAFE, max_size=40))
def test_an_arbitrary_keyword_is_never_allowed(
    decide: Decide, request_head: Head, query: str
) -> None:
    known = re.compile(
        "(MPLIST|MPLIST1|MPLIST2|MPCERT|MPCERT2|SITESIGNCERT|MPKEYINFORMATION|"
        "MPKEYINFORMATIONEX|MPTRK)(&[A-Za-z0-9]{3})?",
        re.IGNORECASE,
    )
    result = decide(request_head("GET", f"{AUT}?{query}"))
    assert isinstance(result, Authorized) == bool(known.fullmatch(query))
