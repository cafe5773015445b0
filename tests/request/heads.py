"""Request heads for the tests of authorization, and helpers for their decisions."""

from __future__ import annotations

from collections.abc import Callable

from ibcm_bridge.decisions.denial import Deny
from ibcm_bridge.request.authorization import Authorized
from ibcm_bridge.request.head import RequestHead

Decide = Callable[[RequestHead], Authorized | Deny]
Head = Callable[..., RequestHead]

MULTIPART = 'Content-Type: multipart/mixed; boundary="aAbBcCdDv1234567890VxXyYzZ"'
XML = "Content-Type: text/xml"
MESSAGE = ("CCM_POST", "/ccm_system/request", MULTIPART, "Content-Length: 3000")
POLICY = ("GET", "/SMS_MP/.sms_pol?{LAB00001}.1_00")
PACKAGE = "/SMS_DP_SMSPKG$/Content_11111111-2222-3333-4444-555555555555.1"
LISTING = ("PROPFIND", PACKAGE, XML, "Content-Length: 90")
DOWNLOAD = ("GET", f"{PACKAGE}/sccm?/dir/setup.exe")
SIGNATURE = ("GET", f"{PACKAGE.replace('PKG', 'SIG')}.1.tar")


def allowed(result: Authorized | Deny) -> Authorized:
    assert isinstance(result, Authorized), result
    return result


def denied(result: Authorized | Deny) -> Deny:
    assert isinstance(result, Deny), result
    return result


# Requests of the other roles

SCAN = ("POST", "/ClientWebService/client.asmx")
REPORT = ("POST", "/SMS_FSP/.sms_fsp")
FORM = ("POST", "/CMApplicationCatalog/x")
ENROL = ("POST", "/certsrv/mscep/mscep.dll?operation=PKIOperation")
OTHERS = {
    # role -> line, accepted media types, refused media types, limit
    "software-update-point": (
        SCAN,
        ["text/xml", "text/xml; charset=utf-8", "application/soap+xml"],
        ["application/json", "multipart/mixed", "text/xml; charset=utf-16", ""],
        4_194_304,
    ),
    "fallback-status-point": (
        REPORT,
        ["text/xml", "application/xml", "text/plain; charset=utf-16", "application/octet-stream"],
        ["multipart/mixed", "text/html", "text/xml; charset=utf-7", "text/xml; x=y"],
        65_536,
    ),
    "application-catalog-website-point": (
        FORM,
        ["application/x-www-form-urlencoded", "application/json", "application/soap+xml"],
        ["multipart/form-data", "text/html", ""],
        1_048_576,
    ),
    "policy-module": (
        ENROL,
        ["application/x-pki-message", "application/octet-stream"],
        ["application/x-www-form-urlencoded", "text/xml", ""],
        1_048_576,
    ),
}
