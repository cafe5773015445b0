"""What Windows Update Agent asks a software update point in a scan ([MS-WUSP]), and about what.

The requests are SOAP 1.1 in the form of the WSDL of section 6. There is one update, below one
category; they are known by number (2.2.2.2.4) and by GUID (2.2.3.6).
"""

from __future__ import annotations

import base64
import hashlib
from uuid import UUID
from xml.sax.saxutils import escape

from ibcm_bridge.lab.client import Request
from ibcm_bridge.lab.content import content

AGENT = "Windows-Update-Agent/10.0.19041.1 Client-Protocol/2.0"

SIMPLE_AUTH = "simpleauthwebservice/simpleauth.asmx"
CLIENT = "clientwebservice/client.asmx"
REPORTING = "reportingwebservice/reportingwebservice.asmx"

_WSUS = "http://www.microsoft.com/SoftwareDistribution"
NAMESPACES = {
    SIMPLE_AUTH: f"{_WSUS}/Server/SimpleAuthWebService",
    CLIENT: f"{_WSUS}/Server/ClientWebService",
    REPORTING: _WSUS,
    "apiremoting30/webservice.asmx": f"{_WSUS}/Server/ApiRemotingWebService",
    "serversyncwebservice/serversyncwebservice.asmx": _WSUS,
    "dssauthwebservice/dssauthwebservice.asmx": f"{_WSUS}/Server/DssAuthWebService",
}
"""Path of a service in lower case -> namespace of its operations (section 6; the last three, of
administrators and downstream servers, [MS-WSUSSS])."""

_SPELT = {  # 2.1
    SIMPLE_AUTH: "/SimpleAuthWebService/SimpleAuth.asmx",
    CLIENT: "/ClientWebService/Client.asmx",
    REPORTING: "/ReportingWebService/ReportingWebService.asmx",
}

CATEGORY, UPDATE = 1, 2
"""Revision ids."""

NAME = "lab.exe"
FILE = "AB/0123456789012345678901234567890123456789.exe"
SIZE = 4096
DIGEST = base64.b64encode(hashlib.sha1(content(0, SIZE), usedforsecurity=False).digest()).decode()
"""2.2.2.2.6: SHA-1, by which a file is known."""

MICROSOFT_UPDATE = "download.update.example"
"""Where a software update point says files are: the stand-in for Microsoft Update, by HTTP."""

CONTENT = f"Content_{UUID(int=0x200)}.1"
"""The same file on a distribution point (protocol.md 7)."""

_WHEN = "2026-01-01T00:00:00Z"


def update_id(revision: int) -> str:
    """2.2.3.6."""
    return str(UUID(int=0x100 + revision))


def identity(revision: int) -> str:
    """2.2.3.6, as RefreshCache has it."""
    return (
        f"<GlobalID><UpdateID>{update_id(revision)}</UpdateID><RevisionNumber>1</RevisionNumber>"
        "</GlobalID>"
    )


def core(revision: int, kind: str) -> str:
    """The fragment of an update by which a client finds out whether it wants it."""
    return (
        f'<UpdateIdentity UpdateID="{update_id(revision)}" RevisionNumber="1"/>'
        f'<Properties UpdateType="{kind}"/>'
    )


EXTENDED = (
    f'<ExtendedProperties DefaultPropertiesLanguage="en"/><Files><File Digest="{DIGEST}" '
    f'DigestAlgorithm="SHA1" FileName="{NAME}" Size="{SIZE}"/></Files>'
)
"""The fragment that a client asks for once it wants an update."""


def ask(
    service: str, operation: str, inner: str = "", *, action: str = "", target: str = ""
) -> Request:
    """An operation, with `inner` in it. `action` is what the head says, if not the same."""
    namespace = NAMESPACES[service]
    body = (
        '<?xml version="1.0" encoding="utf-8"?>'
        '<soap:Envelope xmlns:soap="http://schemas.xmlsoap.org/soap/envelope/"><soap:Body>'
        f'<{operation} xmlns="{namespace}">{inner}</{operation}></soap:Body></soap:Envelope>'
    )
    fields = (
        ("User-Agent", AGENT),
        ("Content-Type", "text/xml; charset=utf-8"),
        ("SOAPAction", f'"{action or f"{namespace}/{operation}"}"'),
    )
    return Request("POST", target or _SPELT[service], fields, body.encode())


def configuration() -> Request:
    """2.2.2.2.1."""
    return ask(CLIENT, "GetConfig", "<protocolVersion>1.8</protocolVersion>")


def authorization(computer: str) -> Request:
    """2.2.2.1.1."""
    inner = f"<clientId>{UUID(int=9)}</clientId><targetGroupName></targetGroupName>"
    return ask(
        SIMPLE_AUTH, "GetAuthorizationCookie", f"{inner}<dnsName>{escape(computer)}</dnsName>"
    )


def first_cookie(data: str) -> Request:
    """2.2.2.2.2; `data` is what GetAuthorizationCookie answered."""
    return ask(
        CLIENT,
        "GetCookie",
        "<authCookies><AuthorizationCookie><PlugInId>SimpleTargeting</PlugInId>"
        f"<CookieData>{data}</CookieData></AuthorizationCookie></authCookies>"
        f"<lastChange>{_WHEN}</lastChange><currentTime>{_WHEN}</currentTime>"
        "<protocolVersion>1.8</protocolVersion>",
    )


def registration(cookie: str, computer: str) -> Request:
    """2.2.2.2.3."""
    numbers = {"OSMajorVersion": 10, "OSMinorVersion": 0, "OSBuildNumber": 19045}
    numbers |= {"OSServicePackMajorNumber": 0, "OSServicePackMinorNumber": 0}
    more = {"SuiteMask": 256, "OldProductType": 1, "NewProductType": 48, "SystemMetrics": 0}
    more |= {f"ClientVersion{part}Number": 10 for part in ("Major", "Minor", "Build", "Qfe")}
    return ask(
        CLIENT,
        "RegisterComputer",
        f"{_cookie(cookie)}<computerInfo><DnsName>{escape(computer)}</DnsName>{_elements(numbers)}"
        "<OSLocale>en-US</OSLocale><ComputerManufacturer>Lab</ComputerManufacturer>"
        "<ComputerModel>PC</ComputerModel><BiosVersion>1.0</BiosVersion><BiosName>Lab</BiosName>"
        f"<BiosReleaseDate>{_WHEN}</BiosReleaseDate><ProcessorArchitecture>AMD64"
        f"</ProcessorArchitecture>{_elements(more)}</computerInfo>",
    )


def synchronization(cookie: str, *installed: int) -> Request:
    """2.2.2.2.4: what is new to who has these."""
    known = "".join(f"<int>{one}</int>" for one in installed)
    return ask(
        CLIENT,
        "SyncUpdates",
        f"{_cookie(cookie)}<parameters><ExpressQuery>false</ExpressQuery>"
        f"<InstalledNonLeafUpdateIDs>{known}</InstalledNonLeafUpdateIDs><OtherCachedUpdateIDs/>"
        "<SystemSpec/><SkipSoftwareSync>false</SkipSoftwareSync></parameters>",
    )


def extended(cookie: str) -> Request:
    """2.2.2.2.6."""
    types = ("Extended", "LocalizedProperties", "Eula")
    return ask(
        CLIENT,
        "GetExtendedUpdateInfo",
        f"{_cookie(cookie)}<revisionIDs><int>{UPDATE}</int></revisionIDs><infoTypes>"
        + "".join(f"<XmlUpdateFragmentType>{one}</XmlUpdateFragmentType>" for one in types)
        + "</infoTypes><locales><string>en-US</string></locales>",
    )


def file_locations(cookie: str) -> Request:
    """2.2.2.2.7."""
    digests = f"<fileDigests><base64Binary>{DIGEST}</base64Binary></fileDigests>"
    return ask(CLIENT, "GetFileLocations", _cookie(cookie) + digests)


def report(cookie: str) -> Request:
    """2.2.2.3.1: that a scan has ended (event 147)."""
    return ask(
        REPORTING,
        "ReportEventBatch",
        f"{_cookie(cookie)}<clientTime>{_WHEN}</clientTime><eventBatch><ReportingEvent><BasicData>"
        f"<TargetID><Sid>{UUID(int=9)}</Sid></TargetID><SequenceNumber>0</SequenceNumber>"
        f"<TimeAtTarget>{_WHEN}</TimeAtTarget><EventInstanceID>{UUID(int=10)}</EventInstanceID>"
        "<NamespaceID>1</NamespaceID><EventID>147</EventID><SourceID>101</SourceID><UpdateID>"
        f"<UpdateID>{UUID(int=0)}</UpdateID><RevisionNumber>0</RevisionNumber></UpdateID>"
        "<Win32HResult>0</Win32HResult><AppName>CcmExec</AppName></BasicData><ExtendedData>"
        "<ReplacementStrings><string>1</string></ReplacementStrings><MiscData><string>D=1</string>"
        "</MiscData><ComputerBrand>Lab</ComputerBrand><ComputerModel>PC</ComputerModel>"
        "<BiosRevision>1.0</BiosRevision><ProcessorArchitecture>Amd64Compatible"
        "</ProcessorArchitecture><OSVersion><Major>10</Major><Minor>0</Minor><Build>19045</Build>"
        "<Revision>0</Revision><ServicePackMajor>0</ServicePackMajor><ServicePackMinor>0"
        "</ServicePackMinor></OSVersion><OSLocaleID>1033</OSLocaleID><DeviceID/></ExtendedData>"
        "<PrivateData><ComputerDnsName/><UserAccountName/></PrivateData></ReportingEvent>"
        "</eventBatch>",
    )


def _cookie(data: str) -> str:
    """2.2.3.5."""
    return (
        "<cookie><Expiration>2036-01-01T00:00:00Z</Expiration>"
        f"<EncryptedData>{data}</EncryptedData></cookie>"
    )


def _elements(numbers: dict[str, int]) -> str:
    return "".join(f"<{name}>{value}</{name}>" for name, value in numbers.items())
