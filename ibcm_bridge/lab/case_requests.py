"""What the cases of the demonstration send. A request that needs a signature is given the key."""

from __future__ import annotations

import zlib
from collections.abc import Callable
from dataclasses import dataclass

from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey

from ibcm_bridge.lab import ccm, documents, signing

GUID = "5E2B7C1A-94D0-4B6E-8F3A-0C1D2E3F4A5B"
PACKAGE = f"/SMS_DP_SMSPKG$/Content_{GUID.lower()}.1/sccm?/setup/application.msi"
POLICY = f"?{{{GUID}}}.1_00"
RANGE = (1_048_576, 3_145_727)
"""First and last byte asked for (RFC 9110 §14.1.2: both included)."""

TICKET = ("Authorization", "Negotiate bGFi")
"""As if from Kerberos; the stand-ins believe it."""

WSUS = "http://www.microsoft.com/SoftwareDistribution/"


@dataclass(frozen=True)
class Request:
    """What is sent; `plaintext` sends it without TLS."""

    method: str
    target: str
    headers: tuple[tuple[str, str], ...] = ()
    body: bytes | None = None
    plaintext: bool = False
    version: str = "HTTP/1.1"


type MakeRequest = Callable[[RSAPrivateKey], Request]


def plain(
    method: str, target: str, *headers: tuple[str, str], version: str = "HTTP/1.1"
) -> MakeRequest:
    """A request without body, as ConfigMgr's clients send it, and these header fields."""
    fields = (("User-Agent", "SMS CCM 5.0"), *headers)
    return lambda _key: Request(method, target, fields, version=version)


def inventory(key: RSAPrivateKey) -> Request:
    return _ccm_post(_report(key))


def inventory_with_header(key: RSAPrivateKey) -> Request:
    return _ccm_post(_report(key), ("X-Original-URL", "/ccm_system_altauth/request"))


def inventory_to(target: str) -> MakeRequest:
    """The inventory report, sent elsewhere."""
    return lambda key: Request("CCM_POST", target, inventory(key).headers, _report(key))


def policy_download(key: RSAPrivateKey) -> Request:
    """5: who asks is said, and signed, in the header fields of Microsoft's list."""
    who = signing.identification_headers(GUID, key, ccm.SENT_TIME)
    fields = (("User-Agent", "SMS CCM 5.0"), *who.items())
    return Request("GET", f"/SMS_MP/.sms_pol{POLICY}", fields)


def download(*more: tuple[str, str]) -> MakeRequest:
    """A part of a package, as BITS asks for it."""
    first, last = RANGE
    fields = (("User-Agent", "Microsoft BITS/7.8"), ("Range", f"bytes={first}-{last}"), *more)
    return lambda _key: Request("GET", PACKAGE, fields)


def site_assignment(key: RSAPrivateKey) -> Request:
    """2.4: to which site do I belong?"""
    xml = documents.location_request("AssignedSiteRequest")
    return _ccm_post(_message(key, "MP_LocationManager", xml))


def out_of_band(key: RSAPrivateKey) -> Request:
    """2.4: a message about waking and managing a computer that is off."""
    return _ccm_post(_message(key, "MP_OOBMgr", "<OOBRequest/>"))


def malware(key: RSAPrivateKey) -> Request:
    xml = documents.inventory_report(GUID).replace("</Report>", f"<!-- {eicar()} --></Report>")
    return _ccm_post(_report(key, xml))


def external_entity(key: RSAPrivateKey) -> Request:
    declaration = '<!DOCTYPE r [<!ENTITY x SYSTEM "file:///C:/Windows/win.ini">]>'
    return _ccm_post(_report(key, declaration + "<Report>&x;</Report>"))


def bomb(_key: RSAPrivateKey) -> Request:
    header = ccm.message_header("MP_HinvEndpoint", 200_000_000, client_guid=GUID)
    packer = zlib.compressobj(9)
    pieces = [packer.compress(bytes(1_000_000)) for _ in range(200)]
    return _ccm_post(ccm.raw_message(header, b"".join([*pieces, packer.flush()])))


def unclosed(key: RSAPrivateKey) -> Request:
    whole = _report(key)
    return _ccm_post(whole[: whole.rindex(b"\r\n--")])


def wrong_part(key: RSAPrivateKey) -> Request:
    return _ccm_post(_report(key, inner_type=b"text/html"))


def smuggled(key: RSAPrivateKey) -> Request:
    """Two lengths, for two readers: behind the chunks' end stands a request of its own."""
    hidden = b"GET /SMS_MP_AltAuth/.sms_aut?MPLIST HTTP/1.1\r\nHost: x\r\n\r\n"
    body = b"0\r\n\r\n" + hidden
    lengths = (("Content-Length", str(len(body))), ("Transfer-Encoding", "chunked"))
    return Request("CCM_POST", "/ccm_system/request", (*inventory(key).headers, *lengths), body)


def plaintext(_key: RSAPrivateKey) -> Request:
    return Request("GET", "/SMS_MP/.sms_aut?MPLIST", plaintext=True)


def state_message(_key: RSAPrivateKey) -> Request:
    """protocol.md 8.1."""
    body = (
        "<Report><ReportHeader><ReportDetails><ReportContent>State Message Data</ReportContent>"
        f"</ReportDetails></ReportHeader><ReportBody><StateMessage><Topic ID='GUID:{GUID}' "
        "Type='800'/><State ID='101'/></StateMessage></ReportBody></Report>"
    )
    fields = (("User-Agent", "ccmsetup"), ("Content-Type", "text/xml"))
    return Request("POST", "/SMS_FSP/.sms_fsp", fields, body.encode(), plaintext=True)


def state_question(_key: RSAPrivateKey) -> Request:
    return Request("GET", "/SMS_FSP/.sms_fsp", plaintext=True)


def update_scan(_key: RSAPrivateKey) -> Request:
    """The first question of a scan (8.2, [MS-WUSP] GetConfig)."""
    return _soap(
        "/ClientWebService/client.asmx",
        WSUS + "Server/ClientWebService/GetConfig",
        "<protocolVersion>1.20</protocolVersion>",
    )


def update_administration(_key: RSAPrivateKey) -> Request:
    """A question that only an administrator's console asks."""
    return _soap("/ApiRemoting30/WebService.asmx", WSUS + "ApiRemotingWebService/GetServers")


def enrollment(_key: RSAPrivateKey) -> Request:
    """8.4."""
    return _soap("/EnrollmentServer/Discovery.svc", "urn:lab/IDiscoveryService/Discover")


def scep(_key: RSAPrivateKey) -> Request:
    """RFC 8894, 4.1: the body would be a signed message, which nobody here reads."""
    fields = (("Content-Type", "application/x-pki-message"),)
    target = "/certsrv/mscep/mscep.dll?operation=PKIOperation"
    return Request("POST", target, fields, b"\x30\x80 stand-in for a signed message")


def eicar() -> str:
    """The EICAR test file, put together so that it stands whole in no file of the project."""
    return "".join(
        ("X5O!P%@AP[4\\PZX54(P^)7CC)7}$", "EICAR-STANDARD-", "ANTIVIRUS-TEST-FILE!$H+H*")
    )


def _report(
    key: RSAPrivateKey, xml: str | None = None, inner_type: bytes = b"application/octet-stream"
) -> bytes:
    return _message(key, "MP_HinvEndpoint", xml or documents.inventory_report(GUID), inner_type)


def _message(
    key: RSAPrivateKey, endpoint: str, xml: str, inner_type: bytes = b"application/octet-stream"
) -> bytes:
    return ccm.ccm_post_body(
        endpoint=endpoint,
        body_xml=xml,
        client_guid=GUID,
        key=key,
        inner_type=inner_type,
        reply_mode="ASync",
    )


def _ccm_post(body: bytes, *more: tuple[str, str]) -> Request:
    headers = (("User-Agent", "ccmhttp"), ("Content-Type", ccm.CONTENT_TYPE), *more)
    return Request("CCM_POST", "/ccm_system/request", headers, body)


def _soap(target: str, action: str, inner: str = "") -> Request:
    namespace, _, name = action.rpartition("/")
    body = (
        '<?xml version="1.0" encoding="utf-8"?>'
        '<s:Envelope xmlns:s="http://schemas.xmlsoap.org/soap/envelope/"><s:Body>'
        f'<{name} xmlns="{namespace}">{inner}</{name}></s:Body></s:Envelope>'
    )
    fields = (("Content-Type", "text/xml; charset=utf-8"), ("SOAPAction", f'"{action}"'))
    return Request("POST", target, fields, body.encode())
