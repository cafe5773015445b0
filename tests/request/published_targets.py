"""Targets and verbs of each row of the resource table, in its order."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from urllib.parse import unquote

from ibcm_bridge.decisions.denial import Deny
from ibcm_bridge.policy.resources import Resource
from ibcm_bridge.policy.roles import RoleTable
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

# (directory, row) -> its verbs, and matching targets.
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
    """The request line, with the body that the verb requires."""
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
    """All rows, with their role, directory and number."""
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
