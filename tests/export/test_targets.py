"""The lines for targets decide like the bridge, for the spellings that clients send."""

from __future__ import annotations

import re

import pytest

from ibcm_bridge.export.model import ExportedPublication
from ibcm_bridge.export.reading import exported_policy
from ibcm_bridge.export.targets import Line

from .conftest import Load

GUID = "5E2B7C1A-94D0-4B6E-8F3A-0C1D2E3F4A5B"
FILES = f"/SMS_DP_SMSPKG$/Content_{GUID}.1/sccm?/"


@pytest.fixture(scope="module")
def lines(load: Load) -> dict[str, tuple[Line, ...]]:
    listeners = exported_policy(load(), holds_legs=False).listeners
    found: dict[str, ExportedPublication] = {}
    for listener in listeners:
        for publication in listener.publications:
            found[f"{publication.name}:{listener.address[1]}"] = publication
    return {name: publication.lines for name, publication in found.items()}


def decide(lines: tuple[Line, ...], request: str) -> tuple[str, str]:
    """The role and the requirement of the first line that matches."""
    for line in lines:
        if re.search(line.pattern, request, re.IGNORECASE):
            return line.role, line.requirement
    return "", ""


ALLOWED = (
    "CCM_POST /ccm_system/request",
    "GET /sms_mp/.sms_aut?mplist",
    "GET /SMS_MP/.sms_aut?MPLIST1&LAB",
    "GET /SMS_MP/.sms_pol?{LAB00001}.1_00",
    "GET /SMS_MP/.sms_pol?%7BLAB00001%7d.1_00",
    "PROPFIND /SMS_MP",
    "PROPFIND /SMS_MP/",
    f"BITS_POST /CCM_Incoming/{{{GUID}}}/{{{GUID}}}.msg",
    f"GET {FILES}setup/application.msi",
    f"GET {FILES}Espa%C3%B1ol.txt",
    f"GET {FILES}100%25.theme",
    f"GET {FILES}C%23/readme.txt",
    f"GET {FILES}a;b.txt",
    f"GET {FILES}a{'.' * 31}b",
    f"GET {FILES}{'b.c%20d+' * 99}e",
    f"GET {FILES}package~31bf3856ad364e35~amd64~~.cab",
    "GET /SMS_DP_SMSPKG%24/LAB00001/sccm?/a.txt",
    "PROPFIND /SMS_DP_SMSPKG$/LAB00001/",
)

REFUSED = {
    "GET /SMS_MP/.sms_aut": "",
    "GET /SMS_MP/.sms_aut?": "",
    "DELETE /SMS_MP/.sms_aut?MPLIST": "",
    "CCM_POST /SMS_MP/.sms_aut?MPLIST": "",
    "GET /SMS_MP/.sms_aut?MPLISTX": "",
    "GET /SMS_MP/.sms_aut?MPKEYINFORMATIONMEDIA": "NO-OSD",
    "GET /SMS_MP/x.sms_aut?A&MPLOCATION": "NO-OSD",
    "GET /SMS_MP_WindowsAuth/.sms_pol?x": "NO-USER-DEPLOYMENT",
    "CCM_POST /ccm_system_altauth/request": "BRIDGE-AUTH-COMPUTER",
    "GET /SMS_MP_TokenAuth/.sms_aut?MPLIST": "BRIDGE-AUTH-COMPUTER",
    "GET /CCM_Client/ccmsetup.exe": "NO-CLIENT-DEPLOYMENT",
    "GET /bgb/handler.ashx": "BRIDGE-INSPECT",
    "GET /SMS_DP_SMSPKG$/Datalib": "BRIDGE-INSPECT",
    "PROPFIND /SMS_MP//": "BRIDGE-INSPECT",
    "PROPFIND /SMS_MP/../ccm_system": "BRIDGE-INSPECT",
    "PROPFIND /SMS_MP.": "BRIDGE-INSPECT",
    "CCM_POST /SMS_MP/..%5cccm_system/request": "BRIDGE-INSPECT",
    "CCM_POST /SMS_MP/..%2fccm_system/request": "BRIDGE-INSPECT",
    "CCM_POST /ccm_system/%72equest": "",
    f"GET {FILES}../../Windows/win.ini": "BRIDGE-INSPECT",
    f"GET {FILES}%2e%2e/win.ini": "",
    f"GET {FILES}a%2fb": "BRIDGE-INSPECT",
    f"GET {FILES}a.txt::$DATA": "BRIDGE-INSPECT",
    f"GET {FILES}a.txt%3a%3a$DATA": "BRIDGE-INSPECT",
    f"GET {FILES}a.": "BRIDGE-INSPECT",
    f"GET {FILES}a%20/b": "BRIDGE-INSPECT",
    f"GET {FILES}SETUP~1.EXE": "BRIDGE-INSPECT",
    f"GET {FILES}aux.txt": "BRIDGE-INSPECT",
    f"GET {FILES}x/COM1": "BRIDGE-INSPECT",
    f"GET {FILES}a%252e": "BRIDGE-INSPECT",
    f"GET {FILES}a//b": "BRIDGE-INSPECT",
    f"GET {FILES}+%20./b": "BRIDGE-INSPECT",
    f"GET {FILES}+.%20": "BRIDGE-INSPECT",
    f"GET {FILES}x/nul+%20+.txt": "BRIDGE-INSPECT",
    f"GET {FILES}{'.' * 32}b": "BRIDGE-INSPECT",
    f"GET {FILES}a{'+%20.' * 11}b": "BRIDGE-INSPECT",
}


@pytest.mark.parametrize("request_line", ALLOWED)
def test_a_request_of_a_client_is_allowed(
    lines: dict[str, tuple[Line, ...]], request_line: str
) -> None:
    role, _ = decide(lines["bridge.internet.example:8443"], request_line)
    assert role in ("management-point", "distribution-point")


@pytest.mark.parametrize(("request_line", "requirement"), REFUSED.items())
def test_another_request_is_refused(
    lines: dict[str, tuple[Line, ...]], request_line: str, requirement: str
) -> None:
    assert decide(lines["bridge.internet.example:8443"], request_line) == ("", requirement)


SUP = {
    "POST /ClientWebService/client.asmx": "software-update-point",
    "GET /SelfUpdate/WUClient~31bf3856ad364e35~amd64~~7.6.7600.320.cab": "software-update-point",
    "GET /SelfUpdate/wuident.cab?1011091232": "software-update-point",
    "GET /SelfUpdate/wuident.asp": "",
    "GET /SelfUpdate/a.b.cab": "",
    "POST /ApiRemoting30/WebService.asmx": "",
    "GET /Inventory/": "",
}


@pytest.mark.parametrize(("request_line", "role"), SUP.items())
def test_the_files_of_a_scan_are_allowed(
    lines: dict[str, tuple[Line, ...]], request_line: str, role: str
) -> None:
    assert decide(lines["bridge.internet.example:8531"], request_line)[0] == role


def test_the_message_of_an_enrollment_is_allowed(lines: dict[str, tuple[Line, ...]]) -> None:
    scep = lines["scep.internet.example:8443"]
    target = "GET /certsrv/mscep/mscep.dll/pkiclient.exe?operation="
    for query in ("GetCACert&message=My%20CA", "PKIOperation&message=MII%2BAB/=="):
        assert decide(scep, target + query)[0] == "policy-module"
    for query in ("Other", "PKIOperation&message=%3Cx"):
        assert decide(scep, target + query)[0] == ""


def test_an_added_path_does_not_publish_what_is_refused(load: Load) -> None:
    extra = (
        "        connect: 127.0.0.1:9443      # where to connect, if the name does not "
        "resolve to it\n"
        "        extra_paths:\n"
        "          - {directory: SMS_MP, path: '.*', query: '.*', verbs: [GET],\n"
        "             because: a test of the export}\n"
    )
    before = extra.partition("        extra_paths")[0]
    policy = exported_policy(load((before, extra)), holds_legs=False)
    lines = policy.listeners[0].publications[0].lines
    assert decide(lines, "GET /SMS_MP/own/page?x=1")[0] == "management-point"
    assert decide(lines, "GET /SMS_MP/.sms_aut?MPLOCATION") == ("", "NO-OSD")
    assert decide(lines, "GET /SMS_MP/own?x=datalib") == ("", "BRIDGE-INSPECT")
    assert decide(lines, "GET /SMS_MP/own/../page?x") == ("", "BRIDGE-INSPECT")
    assert decide(lines, "GET /SMS_MP/own?x=//server/share") == ("", "BRIDGE-INSPECT")
