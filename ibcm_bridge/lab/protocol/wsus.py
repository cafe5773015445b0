"""The requests of Windows Update Agent in a scan ([MS-WUSP]), and the update that it finds.

The requests are SOAP 1.1 by the WSDL in section 6, with the values of Windows 11 (protocol.md 8.2).
There is one update in one category; both have a revision id (2.2.2.2.4) and a GUID (2.2.3.6).
"""

from __future__ import annotations

import base64
import hashlib
from uuid import UUID
from xml.sax.saxutils import escape

from ibcm_bridge.lab.protocol.client import Request
from ibcm_bridge.lab.protocol.content import content

VERSION = "1500.2600.10000.0"
"""The version of the agent."""

PROTOCOL = "2.90"

AGENT = f"Windows-Update-Agent/{VERSION} Client-Protocol/{PROTOCOL}"

DEVICE = {
    "ActivationChannel": "Retail",
    "App": "WU_OS",
    "AppVer": VERSION,
    "AttrDataVer": "300",
    "BranchReadinessLevel": "CB",
    "DefaultUserRegion": "244",
    "FlightingBranchName": "",
    "InstallationType": "Client",
    "OEMModel": "Lab PC (L1 + L2, 2026)",
    "OSArchitecture": "AMD64",
    "OSVersion": "10.0.26200.1000",
    "ProcessorModel": "Lab(R) CPU(TM) 1 @ 2.00GHz",
    "SampleDriver": r"C:\WINDOWS\System32\DriverStore\lab.dll",
    "UpdateServiceUrl": "https://bridge.internet.example:8531",
    "WuClientVer": VERSION,
}
"""The device attributes, as `name=value;`. A real agent sends about 80."""

SCANNER = {"Interactive": "0", "SheddingAware": "1", "Id": "CcmExec"}
"""The caller attributes of a scan for the ConfigMgr client."""

NAMELESS = "<<PROCESS>>: inventory.exe"
"""The id of a caller without a name."""

SIMPLE_AUTH = "simpleauthwebservice/simpleauth.asmx"
CLIENT = "clientwebservice/client.asmx"
REPORTING = "reportingwebservice/reportingwebservice.asmx"

TEST_PAGE = "clientwebservice/wusserverversion.xml"
"""A test page for administrators (protocol.md 8.2); its content is not known."""

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
"""2.2.2.2.6: SHA-1, the id of a file."""

MICROSOFT_UPDATE = "download.update.example"
"""The host in file locations: the simulated Microsoft Update, over HTTP."""

CONTENT = f"Content_{UUID(int=0x200)}.1"
"""The same file on a distribution point (protocol.md 7)."""

_WHEN = "2026-01-01T00:00:00Z"


def update_id(revision: int) -> str:
    """2.2.3.6."""
    return str(UUID(int=0x100 + revision))


def identity(revision: int) -> str:
    """2.2.3.6, in the form of RefreshCache."""
    return (
        f"<GlobalID><UpdateID>{update_id(revision)}</UpdateID><RevisionNumber>1</RevisionNumber>"
        "</GlobalID>"
    )


def core(revision: int, kind: str) -> str:
    """The fragment that a client evaluates to decide if an update applies."""
    return (
        f'<UpdateIdentity UpdateID="{update_id(revision)}" RevisionNumber="1"/>'
        f'<Properties UpdateType="{kind}"/>'
    )


EXTENDED = (
    f'<ExtendedProperties DefaultPropertiesLanguage="en"/><Files><File Digest="{DIGEST}" '
    f'DigestAlgorithm="SHA1" FileName="{NAME}" Size="{SIZE}"/></Files>'
)
"""The fragment that a client requests for an update that applies."""


def operation_request(
    service: str, operation: str, inner: str = "", *, action: str = "", target: str = ""
) -> Request:
    """Return the request for an operation. `action` is the SOAPAction, if it differs."""
    namespace = NAMESPACES[service]
    body = (
        '<s:Envelope xmlns:s="http://schemas.xmlsoap.org/soap/envelope/"><s:Body>'
        f'<{operation} xmlns="{namespace}">{inner}</{operation}></s:Body></s:Envelope>'
    )
    fields = (
        ("User-Agent", AGENT),
        ("MS-CV", "LabLabLabLabLabL.1.0"),
        ("Content-Type", "text/xml; charset=utf-8"),
        ("SOAPAction", f'"{action or f"{namespace}/{operation}"}"'),
    )
    return Request("POST", target or _SPELT[service], fields, body.encode())


def configuration() -> Request:
    """2.2.2.2.1."""
    return operation_request(CLIENT, "GetConfig", f"<protocolVersion>{PROTOCOL}</protocolVersion>")


def authorization(computer: str) -> Request:
    """2.2.2.1.1."""
    # Without targetGroupName, because no computer policy sets a target group.
    inner = f"<clientId>{UUID(int=9)}</clientId><dnsName>{escape(computer)}</dnsName>"
    return operation_request(SIMPLE_AUTH, "GetAuthorizationCookie", inner)


def first_cookie(data: str) -> Request:
    """2.2.2.2.2; `data` is the cookie from GetAuthorizationCookie."""
    return operation_request(
        CLIENT,
        "GetCookie",
        "<authCookies><AuthorizationCookie><PlugInId>SimpleTargeting</PlugInId>"
        f"<CookieData>{data}</CookieData></AuthorizationCookie></authCookies>"
        # An agent sends only the expiration of its old cookie.
        f"<oldCookie><Expiration>{_WHEN}</Expiration></oldCookie>"
        f"<lastChange>{_WHEN}</lastChange><currentTime>{_WHEN}</currentTime>"
        f"<protocolVersion>{PROTOCOL}</protocolVersion>",
    )


def registration(cookie: str, computer: str) -> Request:
    """2.2.2.2.3."""
    system = {"OSMajorVersion": "10", "OSMinorVersion": "0", "OSBuildNumber": "26200"}
    system |= {"OSServicePackMajorNumber": "0", "OSServicePackMinorNumber": "0"}
    more = {"SuiteMask": "256", "OldProductType": "1", "NewProductType": "48", "SystemMetrics": "0"}
    parts = zip(("Major", "Minor", "Build", "Qfe"), VERSION.split("."), strict=True)
    more |= {f"ClientVersion{part}Number": number for part, number in parts}
    # Windows 10 and 11 add these.
    more |= {"OSDescription": "Windows 11 Pro", "OEM": "Lab", "DeviceType": "PC"}
    more |= {"FirmwareVersion": "1.0", "MobileOperator": "Not Present"}
    return operation_request(
        CLIENT,
        "RegisterComputer",
        f"{_cookie(cookie)}<computerInfo><DnsName>{escape(computer)}</DnsName>{_elements(system)}"
        "<OSLocale>en-US</OSLocale><ComputerManufacturer>Lab</ComputerManufacturer>"
        "<ComputerModel>PC</ComputerModel><BiosVersion>1.0</BiosVersion><BiosName>Lab</BiosName>"
        f"<BiosReleaseDate>{_WHEN}</BiosReleaseDate><ProcessorArchitecture>AMD64"
        f"</ProcessorArchitecture>{_elements(more)}</computerInfo>",
    )


def synchronization(cookie: str, *installed: int) -> Request:
    """2.2.2.2.4: request the updates for a client with these installed."""
    known = "".join(f"<int>{revision}</int>" for revision in installed)
    return operation_request(
        CLIENT,
        "SyncUpdates",
        f"{_cookie(cookie)}<parameters><ExpressQuery>false</ExpressQuery>"
        f"<InstalledNonLeafUpdateIDs>{known}</InstalledNonLeafUpdateIDs>"
        "<SkipSoftwareSync>false</SkipSoftwareSync><FilterCategoryIds><CategoryIdentifier>"
        f"<Id>{update_id(CATEGORY)}</Id></CategoryIdentifier></FilterCategoryIds>"
        "<NeedTwoGroupOutOfScopeUpdates>true</NeedTwoGroupOutOfScopeUpdates>"
        "<AlsoPerformRegularSync>false</AlsoPerformRegularSync><ComputerSpec/><ProductsParameters>"
        "<SyncCurrentVersionOnly>false</SyncCurrentVersionOnly>"
        f"<DeviceAttributes>{_attributes(DEVICE)}</DeviceAttributes><CallerAttributes>"
        # Both forms in one scan: a caller without a name, then the ConfigMgr client.
        f"{_attributes(SCANNER if installed else SCANNER | {'Id': NAMELESS})}"
        "</CallerAttributes><Products/></ProductsParameters></parameters>",
    )


def extended(cookie: str) -> Request:
    """2.2.2.2.6."""
    types = ("Extended", "LocalizedProperties", "Eula")
    return operation_request(
        CLIENT,
        "GetExtendedUpdateInfo",
        f"{_cookie(cookie)}<revisionIDs><int>{UPDATE}</int></revisionIDs><infoTypes>"
        + "".join(
            f"<XmlUpdateFragmentType>{fragment_type}</XmlUpdateFragmentType>"
            for fragment_type in types
        )
        + "</infoTypes><locales><string>en-US</string><string>en</string></locales>"
        f"<deviceAttributes>{_attributes(DEVICE)}</deviceAttributes><GeoId>USA</GeoId>"
        f"<callerAttributes>{_attributes(SCANNER)}</callerAttributes>",
    )


def file_locations(cookie: str) -> Request:
    """2.2.2.2.7."""
    digests = f"<fileDigests><base64Binary>{DIGEST}</base64Binary></fileDigests>"
    return operation_request(CLIENT, "GetFileLocations", _cookie(cookie) + digests)


TAGS = {"B": "3", "G": VERSION, "J": "775", "K": "Lab", "L": _WHEN.removesuffix("Z"), "c": "48"}
TAGS |= {"T": "UEFI", "CsiErrorType": "0", "k": "true", "dd": "0", "ff": "0", "WUfBOn": "0"}
TAGS |= {"WUfBDS": "0", "DisableDS": "1", "PauseQU": "0", "PauseFU": "0"}
"""The tags that an agent adds to each event (2.2.2.3.1)."""


def report(cookie: str) -> Request:
    """2.2.2.3.1: report the end of two scans (event 147), one of a caller without a name."""
    return operation_request(
        REPORTING,
        "ReportEventBatch",
        f"{_cookie(cookie)}<clientTime>{_WHEN}</clientTime><eventBatch>"
        + _event("CcmExec", 10)
        + _event(NAMELESS, 11)
        + "</eventBatch>",
    )


def _event(caller: str, number: int) -> str:
    tags = "".join(
        f"<string>{escape(f'{tag}={value}')}</string>"
        for tag, value in {**TAGS, "AppName": caller}.items()
    )
    return (
        "<ReportingEvent><BasicData>"
        f"<TargetID><Sid>{UUID(int=9)}</Sid></TargetID><SequenceNumber>0</SequenceNumber>"
        f"<TimeAtTarget>{_WHEN}</TimeAtTarget><EventInstanceID>{UUID(int=number)}</EventInstanceID>"
        "<NamespaceID>1</NamespaceID><EventID>147</EventID><SourceID>101</SourceID><UpdateID>"
        f"<UpdateID>{UUID(int=0)}</UpdateID><RevisionNumber>0</RevisionNumber></UpdateID>"
        "<Win32HResult>0</Win32HResult>"
        f"{'' if caller == NAMELESS else f'<AppName>{caller}</AppName>'}</BasicData>"
        "<ExtendedData><ReplacementStrings><string>1</string></ReplacementStrings>"
        f"<MiscData>{tags}</MiscData><ComputerBrand>Lab</ComputerBrand>"
        f"<ComputerModel>{DEVICE['OEMModel']}</ComputerModel><BiosRevision>1.0</BiosRevision>"
        "<ProcessorArchitecture>Amd64Compatible</ProcessorArchitecture><OSVersion><Major>10</Major>"
        "<Minor>0</Minor><Build>26200</Build><Revision>0</Revision><ServicePackMajor>0"
        "</ServicePackMajor><ServicePackMinor>0</ServicePackMinor></OSVersion>"
        "<OSLocaleID>1033</OSLocaleID></ExtendedData><PrivateData/></ReportingEvent>"
    )


def _cookie(data: str) -> str:
    """2.2.3.5."""
    return (
        "<cookie><Expiration>2036-01-01T00:00:00Z</Expiration>"
        f"<EncryptedData>{data}</EncryptedData></cookie>"
    )


def _attributes(named: dict[str, str]) -> str:
    """Return the attributes as one text, as agents write them."""
    return escape("".join(f"{name}={value};" for name, value in named.items()))


def _elements(values: dict[str, str]) -> str:
    return "".join(f"<{name}>{value}</{name}>" for name, value in values.items())
