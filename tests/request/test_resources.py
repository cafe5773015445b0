"""What is published below a directory: each row of the table, and its refused twins."""

from __future__ import annotations

import re
import string
from collections.abc import Callable, Iterator
from urllib.parse import unquote

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ibcm_bridge.decisions.denial import Deny, Reason
from ibcm_bridge.decisions.refusal_response import response_bytes
from ibcm_bridge.decisions.refusals import refusal, requirement
from ibcm_bridge.policy.bodies import Inspection
from ibcm_bridge.policy.resources import Resource
from ibcm_bridge.policy.roles import RoleTable
from ibcm_bridge.policy_file.patterns import ambiguities
from ibcm_bridge.request.authorization import Authorized
from ibcm_bridge.request.head import RequestHead
from ibcm_bridge.request.target import RequestTarget, read_request_target

Decide = Callable[[RequestHead], Authorized | Deny]
Head = Callable[..., RequestHead]

MULTIPART = "Content-Type: multipart/mixed; boundary=x"
XML = "Content-Type: text/xml"
GUID = "11111111-2222-3333-4444-555555555555"
DCM = "Id&DocumentId=ScopeId_8DBB/RequiredApplication_4C1A/10/MANIFEST"
AUT, POL, DOC = "/SMS_MP/.sms_aut", "/SMS_MP/.sms_pol", "/SMS_MP/.sms_dcm"
PKG, SIG = "/SMS_DP_SMSPKG$", "/SMS_DP_SMSSIG$"
COMPONENT = "~31bf3856ad364e35~amd64~~7.6.7600.320"
SCEP = "/certsrv/mscep/mscep.dll"

# The table in its own order, a row for a row: the verbs, and targets that are of it.
ROWS: dict[tuple[str, int], tuple[set[str], list[str]]] = {
    ("ccm_system", 0): (
        {"CCM_POST"},
        ["/ccm_system/request", "/CCM_System/Request", "/ccm%5Fsystem/%72equest"],
    ),
    ("sms_mp", 0): (
        {"HEAD", "GET"},
        [
            f"{AUT}?MPLIST",
            f"{AUT}?MPLIST1",
            f"{AUT}?MPLIST1&CM1",
            f"{AUT}?MPLIST2",
            f"{AUT}?MPLIST2&CM1",
            f"{AUT}?mplist2&cm1",
            f"{AUT}?MpList",
            f"{AUT}?MPCERT",
            f"{AUT}?MPCERT2",
            f"{AUT}?SITESIGNCERT",
            f"{AUT}?MPKEYINFORMATION",
            f"{AUT}?MPKEYINFORMATIONEX",
            f"{AUT}?mpkeyinformation&cm1",
            f"{AUT}?MPTRK",
            f"{AUT}?%4dPLIST",
            "/sms_mp/.SMS_AUT?MPLIST",
            "/SMS_MP/%2esms%5faut?MPLIST",
        ],
    ),
    ("sms_mp", 1): (
        {"HEAD", "GET"},
        [
            f"{AUT}?MPKEYINFORMATIONMEDIA",
            f"{AUT}?MPKeyInformationMedia",
            f"{AUT}?MPKEYINFORMATION%4dEDIA",
            f"{AUT}?MPKEYINFORMATIONMEDIA&CM1",
            f"{AUT}?MPLOCATION",
            f"{AUT}?MPLOCATION&ir=10.0.0.1&ip=10.0.0.0",
            f"{AUT}?mplocation&ir=10.0.0.1&ip=10.0.0.0",
            f"{AUT}?MPLOCATION%26ir=10.0.0.1",
            f"{AUT}?MPLOCATION&",
        ],
    ),
    ("sms_mp", 2): (
        {"HEAD", "GET"},
        [
            f"{POL}?{{LAB00001}}.1_00",
            f"{POL}?%7BLAB00001%7D.1_00",
            f"{POL}?%7blab00001%7d.1_00",
            f"{POL}?{{{GUID}}}.2_00",
            f"{POL}?LAB20000-PR100003-6F6BCC28.1_00",
            f"{POL}?ScopeId_8DBB/AuthList_4C1A/VI.1_00",
            f"{POL}?{'x' * 512}",
        ],
    ),
    ("sms_mp", 3): (
        {"HEAD", "GET"},
        [
            f"{DOC}?{DCM}",
            f"{DOC}?{DCM}&Version=10.0",
            f"{DOC}?{DCM}&Hash=0A1B&Compression=zlib",
            f"{DOC}?{DCM.lower()}&version=1",
            f"{DOC}?Id&DocumentId=ScopeId_1%2FApplication_2%2F10%2FMANIFEST&Version=1",
            f"{DOC}?{DCM}{'&A=b' * 4}",
        ],
    ),
    ("sms_mp", 4): ({"PROPFIND"}, ["/SMS_MP/", "/SMS_MP", "/sms_mp"]),
    ("ccm_incoming", 0): (
        {"BITS_POST"},
        [
            f"/CCM_Incoming/{{{GUID}}}",
            f"/CCM_Incoming/{{{GUID}}}/{GUID}.msg",
            "/ccm_incoming/a/b/c/d",
        ],
    ),
    ("sms_dp_smspkg$", 0): (
        {"PROPFIND"},
        [
            f"{PKG}/CAS00015",
            f"{PKG}/cas0001f",
            f"{PKG}/CAS00015.3",
            f"{PKG}/{GUID}",
            f"{PKG}/Content_{GUID}.2",
            f"{PKG}/Content_{GUID}",
            f"{PKG}/content_{GUID}.12",
            f"{PKG}/Content_{GUID}.2/",
            f"/SMS_DP_SMSPKG%24/Content%5f{GUID}.2",
        ],
    ),
    ("sms_dp_smspkg$", 1): (
        {"HEAD", "GET"},
        [
            f"{PKG}/CAS00015/sccm?/x",
            f"{PKG}/CAS00015/SCCM?/dir/setup.exe",
            f"{PKG}/{GUID}/sccm?/setup.exe",
            f"{PKG}/Content_{GUID}.2/sccm?/dir/setup.exe",
            f"{PKG}/Content_{GUID}.2/sccm?/a%20b/c+d&e=f,g(1).cab",
            f"{PKG}/Content_{GUID}.2/sccm?/{'x' * 1024}",
            f"{PKG}/Content_{GUID}.2/sccm?/{'%C3%B1' * 1023}",
            f"{PKG}/CAS00015/sccm?/themes/100%25.theme",
            f"{PKG}/CAS00015/sccm?/C%23/a;b.txt",
        ],
    ),
    ("sms_dp_smssig$", 0): (
        {"HEAD", "GET"},
        [
            f"{SIG}/CAS00015.3.tar",
            f"{SIG}/cas00015.3.TAR",
            f"{SIG}/Content_{GUID}.1.tar",
            f"{SIG}/Content_{GUID}.1.2.tar",
            f"{SIG}/{GUID}.1.tar",
        ],
    ),
    ("simpleauthwebservice", 0): (
        {"POST"},
        ["/SimpleAuthWebService/SimpleAuth.asmx", "/simpleauthwebservice/SIMPLEAUTH.ASMX"],
    ),
    ("clientwebservice", 0): (
        {"POST"},
        ["/ClientWebService/client.asmx", "/ClientWebService/Client.asmx"],
    ),
    ("clientwebservice", 1): (
        {"HEAD", "GET"},
        [
            "/ClientWebService/wusserverversion.xml",
            "/clientwebservice/WUSServerVersion.XML",
        ],
    ),
    ("reportingwebservice", 0): (
        {"POST"},
        ["/ReportingWebService/ReportingWebService.asmx"],
    ),
    ("selfupdate", 0): (
        {"HEAD", "GET"},
        [
            "/SelfUpdate/wuident.cab",
            "/selfupdate/WSUS3/x86/Other/wsus3setup.cab",
            "/SelfUpdate/a/b/c/d/iuident.cab",
        ],
    ),
    ("selfupdate", 1): (
        {"HEAD", "GET"},
        ["/SelfUpdate/wuident.cab?1011091232", "/SelfUpdate/WSUS3/x64/wuident.cab?0"],
    ),
    ("selfupdate", 2): (
        {"HEAD", "GET"},
        [
            f"/SelfUpdate/WSUS3/x64/Vista/WUClient-SelfUpdate-ActiveX{COMPONENT}.cab",
            "/selfupdate/a/b/c/d/x~.cab",
            f"/selfupdate/{'x' * 64}~{'y' * 128}{('.' + 'z' * 64) * 8}.cab",
        ],
    ),
    ("selfupdate", 3): (
        {"HEAD", "GET"},
        [f"/SelfUpdate/WUClient-SelfUpdate-Aux-TopLevel{COMPONENT}.cab?2601011200"],
    ),
    ("apiremoting30", 0): (
        {"GET", "HEAD", "POST"},
        ["/ApiRemoting30/WebService.asmx", "/apiremoting30", "/ApiRemoting30/x?wsdl"],
    ),
    ("serversyncwebservice", 0): (
        {"GET", "HEAD", "POST"},
        ["/ServerSyncWebService/serversyncwebservice.asmx", "/serversyncwebservice/"],
    ),
    ("dssauthwebservice", 0): (
        {"GET", "HEAD", "POST"},
        ["/DssAuthWebService/dssauthwebservice.asmx"],
    ),
    ("inventory", 0): ({"GET", "HEAD", "POST"}, ["/Inventory/InventoryRules.cab"]),
    ("content", 0): ({"GET", "HEAD", "POST"}, ["/Content/0A/0A1B.cab", "/content/EULA/x.txt?y"]),
    ("sms_fsp", 0): ({"POST"}, ["/SMS_FSP/.sms_fsp", "/sms_fsp/.SMS_FSP"]),
    ("cmapplicationcatalog", 0): (
        {"GET", "POST"},
        [
            "/CMApplicationCatalog",
            "/CMApplicationCatalog/",
            "/cmapplicationcatalog/Default.aspx",
            "/CMApplicationCatalog/a/b-c/d_e.svc",
            "/CMApplicationCatalog/a/b/",
        ],
    ),
    ("cmapplicationcatalog", 1): (
        {"GET", "POST"},
        ["/CMApplicationCatalog/Default.aspx?id=1&x=%20y", "/CMApplicationCatalog?"],
    ),
    ("certsrv", 0): (
        {"GET"},
        [
            f"{SCEP}?operation=GetCACert",
            f"{SCEP}?operation=GetCACert&message=NDES-CA_1.x",
            f"{SCEP}?operation=GetCACaps&message=",
            f"{SCEP}?operation=GetCACertChain",
            f"{SCEP}?operation=GetNextCACert",
            f"{SCEP}?operation=getcacaps",
            f"{SCEP}/pkiclient.exe?operation=GetCACaps&message=default",
            f"{SCEP}/PKIClient.EXE?operation=GetCACert",
            f"{SCEP}?operation=GetCACert&message=Contoso%20Issuing%20CA%201",
            f"{SCEP}?operation=GetCACert&message=Contoso+Issuing+CA+1",
            f"{SCEP}?operation=GetCACert&message=Contoso%20CA%20(2)",
            "/CertSrv/MSCEP/mscep.DLL?operation=GetCACaps",
        ],
    ),
    ("certsrv", 1): (
        {"GET"},
        [
            f"{SCEP}?operation=PKIOperation&message=MIIB%2Babc/def%3D%3D",
            f"{SCEP}?operation=PKIOperation&message={'A' * 65_000}",
            f"{SCEP}?operation=PKIOperation&message=MIIB%0D%0Aabc%2B%0D%0A",
            f"{SCEP}?operation=PKIOperation&message=MIIB%0aabc%3d",
            f"{SCEP}/pkiclient.exe?operation=PKIOperation&message=MII/",
        ],
    ),
    ("certsrv", 2): (
        {"POST"},
        [
            f"{SCEP}?operation=PKIOperation",
            f"{SCEP}?operation=PKIOperation&message=",
            f"{SCEP}?operation=PKIOperation&message=Contoso%20CA%20(2)",
            f"{SCEP}/pkiclient.exe?operation=PKIOperation",
        ],
    ),
}
ALL_VERBS = ("HEAD", "GET", "PROPFIND", "CCM_POST", "BITS_POST", "POST", "DELETE", "get", "post")
REFUSED = {
    ("sms_mp", 1): "NO-OSD",
    **{
        (directory, 0): "SUP-WSUS"
        for directory in (
            "apiremoting30",
            "serversyncwebservice",
            "dssauthwebservice",
            "inventory",
            "content",
        )
    },
}


def line_for(method: str, target: str) -> tuple[str, ...]:
    """With the body that belongs to the verb, so that nothing is refused for that."""
    media_type = XML
    if unquote(target).lower().startswith("/certsrv"):
        media_type = "Content-Type: application/x-pki-message"
    fields = {
        "CCM_POST": (MULTIPART, "Content-Length: 30"),
        "PROPFIND": (XML, "Content-Length: 30"),
        "POST": (media_type, "Content-Length: 30"),
    }
    return (method, target, *fields.get(method, ()))


def read(target: str) -> RequestTarget:
    result = read_request_target(target.encode())
    assert isinstance(result, RequestTarget), result
    return result


def rows_of(table: RoleTable) -> Iterator[tuple[str, str, int, Resource]]:
    """Role, directory, number and row."""
    for role in table.roles.values():
        for name, directory in role.directories.items():
            for number, row in enumerate(directory.resources):
                yield role.name, name, number, row


def role_of(table: RoleTable, directory: str) -> str:
    (name,) = (name for name, role in table.roles.items() if directory in role.directories)
    return name


def denied(result: Authorized | Deny) -> Deny:
    assert isinstance(result, Deny), result
    return result


# Each row


def test_each_row_has_examples_and_each_verb_is_the_one_that_is_meant(table: RoleTable) -> None:
    there = {(name, number): row.methods for _, name, number, row in rows_of(table)}
    meant = {key: {verb.encode() for verb in verbs} for key, (verbs, _) in ROWS.items()}
    assert there == meant


@pytest.mark.parametrize(
    ("key", "target"), [(key, target) for key, (_, targets) in ROWS.items() for target in targets]
)
def test_a_target_is_of_one_row(
    table: RoleTable,
    decide_role: Callable[[str], Decide],
    request_head: Head,
    key: tuple[str, int],
    target: str,
) -> None:
    directory, number = key
    role = role_of(table, directory)
    decide = decide_role(role)
    asked = read(target)
    query = asked.query_text
    rows = table.roles[role].directories[directory].resources
    of_it = [one for one in rows if one.has(asked.below, query)]
    # An empty message can be asked for with either verb, and is of the row of each.
    assert rows[number] in of_it
    assert len(of_it) == len({frozenset(one.methods) for one in of_it})

    rule = f"{role}.directories.{directory}"
    for verb in ALL_VERBS:
        result = decide(request_head(*line_for(verb, target)))
        if verb.encode() not in table.roles[role].bodies:
            assert (denied(result).reason, denied(result).rule) == (Reason.VERB, f"{role}.verbs")
        elif rows[number].refused:
            denial = denied(result)
            assert (denial.reason, denial.rule) == (Reason.RESOURCE, rule)
            assert requirement(denial) == REFUSED[key]
            assert denial.allowed_methods == ()
        elif verb not in ROWS[key][0]:
            denial = denied(result)
            assert (denial.reason, denial.rule) == (Reason.VERB, rule)
            assert denial.allowed_methods == tuple(sorted(ROWS[key][0]))
        elif verb == "BITS_POST":
            assert denied(result).reason in (Reason.UPLOAD_PACKET, Reason.LENGTH_REQUIRED)
        else:
            assert isinstance(result, Authorized), result
            assert result.rule == f"{role}.verbs.{verb}"
            # As it was sent: what was decoded is only what was looked at.
            assert result.head.target == target.encode()


# Their refused twins

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
    # packages: the listings of all that there is
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
    # ... names that are none of a package
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
def test_what_is_of_no_row_is_refused(
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
    # Nothing is offered in its place.
    assert b"\r\nAllow:" not in response_bytes(denial, "r")


@pytest.mark.parametrize("target", [f"{PKG}/CAS00015/Datalib", f"{PKG}/x/DataLib/sccm?/x"])
def test_a_content_library_is_refused_wherever_it_stands(
    decide: Decide, request_head: Head, target: str
) -> None:
    denial = denied(decide(request_head("GET", target)))
    assert (denial.reason, denial.rule) == (Reason.RESOURCE, "roles.never_below")


@pytest.mark.parametrize("method", ["GET", "HEAD", "PROPFIND"])
@pytest.mark.parametrize(
    "target",
    [
        *ROWS["sms_mp", 1][1],
        # Refused by name, so by more than the letter: no other row may take it.
        f"{AUT}/?MPLOCATION",
        f"{AUT}/x?MPLOCATION",
        f"{AUT}?MPKEYINFORMATIONMEDIA=1",
        f"{AUT}?MPKEYINFORMATIONMEDIAX",
        f"{AUT}?&MPKEYINFORMATIONMEDIA",
        f"{AUT}?MPLIST&MPLOCATION&ir=1",
        f"{AUT}?MPLIST;mplocation",
    ],
)
def test_what_boot_media_asks_for_is_refused_for_that(
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
def test_what_could_be_read_in_two_ways_is_refused_before_any_row_is_asked(
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
    # What divides a target is no part of a name, and an escape stays the escape that it is.
    other = re.sub(
        r"%..|[^/?&=]",
        lambda m: f"%{ord(m[0]):02X}" if chosen[m.start()] and len(m[0]) == 1 else m[0],
        target,
    )
    result = decide(request_head(*line_for(method, other)))
    assert isinstance(result, Authorized), (other, result)
    assert result.head.target == other.encode()


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


# The table as a whole


def test_no_row_is_about_a_listing_or_a_bypass_directory(table: RoleTable) -> None:
    # An upload's name is the client's own, and nothing is listed by sending.
    seen = 0
    names = [*table.never.below, "SCCMContentLib", *table.never.directories, "SMS_MP_WindowsAuth"]
    for role, _, _, row in rows_of(table):
        if row.refused or role == "application-catalog-website-point":
            continue  # whose paths are not known, so that any is taken
        bodies = {table.roles[role].bodies[method].inspection for method in row.methods}
        if bodies == {Inspection.BITS_UPLOAD}:
            continue
        seen += 1
        for name in names:
            for spelling in (name, name.lower(), name.upper()):
                for around in ("{}", "{}/", "{}/x", "x/{}", "CAS00015/{}", "{}/sccm", "{}.tar"):
                    assert not row.path.fullmatch(around.format(spelling))
    # All but uploads, what is refused, and the catalog's two.
    assert seen == len(ROWS) - 1 - len(REFUSED) - 2


def test_hardly_a_row_is_about_a_bare_directory(table: RoleTable) -> None:
    bare = {
        name: row.methods
        for _, name, _, row in rows_of(table)
        if row.path.fullmatch("") and not row.refused
    }
    assert bare == {
        "sms_mp": frozenset({b"PROPFIND"}),
        "cmapplicationcatalog": frozenset({b"GET", b"POST"}),
    }


def test_a_row_is_about_the_whole_of_a_path_and_of_a_query(table: RoleTable) -> None:
    for key, (_, targets) in ROWS.items():
        directory, number = key
        if key in REFUSED or directory == "cmapplicationcatalog":
            continue  # which are about more than the letter, or nearly anything
        row = table.roles[role_of(table, directory)].directories[directory].resources[number]
        for target in targets:
            asked = read(target)
            query = asked.query_text
            assert row.has(asked.below, query)
            assert not row.has(f"/{asked.below}", query)
            if directory != "ccm_incoming":  # where a name may be any, and a control is unsafe
                assert not row.has(f"{asked.below}\n", query)
                assert not row.has(f"\n{asked.below}", query)
            if query is None:
                assert not row.has(asked.below, "")
                assert not row.has(asked.below, "x")
            else:
                assert not row.has(asked.below, None)
                assert not row.has(asked.below, "")
                if key != ("certsrv", 1):  # where a message in base64 may end in one
                    assert not row.has(asked.below, f"{query}\n")
                assert not row.has(asked.below, f"\n{query}")


def test_a_letter_outside_ascii_is_no_other_case_of_one_inside(table: RoleTable) -> None:
    # U+212A KELVIN SIGN and U+017F LONG S are, to `re` without ASCII.
    for _, _, _, row in rows_of(table):
        for pattern in filter(None, (row.path, row.query)):
            assert pattern.flags & re.ASCII
            assert pattern.flags & re.IGNORECASE
    assert not any(
        row.has(".\u017fms_aut", "MPLIST") or row.has(".sms_aut", "MPTR\u212a")
        for role, _, _, row in rows_of(table)
        if not row.refused and role != "application-catalog-website-point"
    )


def test_no_pattern_of_the_table_takes_its_time(table: RoleTable) -> None:
    patterns = {
        pattern.pattern
        for _, _, _, row in rows_of(table)
        for pattern in (row.path, row.query)
        if pattern is not None
    }
    # Where it may take any text of a kind, there is one way in which it does.
    assert {one: ambiguities(one).slow for one in patterns} == {one: [] for one in patterns}


@pytest.mark.parametrize(
    "text",
    [
        "A" * 65_536,
        "0" * 65_536,
        "x/" * 32_768,
        "/" + "x" * 65_535,
        "." * 65_536,
        "CAS00015" + ".1" * 32_764,
        f"Content_{GUID}" + ".1" * 32_746,
        "MPLIST" + "&CM1" * 16_382,
        "Id&DocumentId=" + "x" * 65_522,
        DCM + "&A=b" * 16_368,
        DCM + "&" * 65_472,
        "{" * 65_536,
    ],
)
def test_no_row_is_about_what_is_very_long(table: RoleTable, text: str) -> None:
    for _, _, _, row in rows_of(table):
        if row.refused:
            continue
        assert not row.has(text, None)
        for path in (".sms_aut", ".sms_pol", ".sms_dcm", "CAS00015/sccm", "request", text):
            assert not row.has(path, text)
