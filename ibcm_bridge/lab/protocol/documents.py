"""The documents in the messages of the lab's clients. Section numbers: protocol.md."""

from __future__ import annotations

from uuid import UUID
from xml.sax.saxutils import escape

from cryptography import x509
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey

from ibcm_bridge.lab.protocol.ccm import SENT_TIME
from ibcm_bridge.lab.protocol.signing import (
    SHA256_WITH_RSA,
    identification_headers,
    sign,
    smsid,
    terminated,
)
from ibcm_bridge.lab.protocol.xml_style import PLAIN, XmlStyle

PACKAGE = '<Package ID="LAB00001" Version="1" DeploymentFlags="0" />'


def registration_request(
    certificate: x509.Certificate,
    key: RSAPrivateKey,
    *,
    fqdn: str,
    internet_flag: int = 2,
    key_type: int = 2,
    agent_type: int = 0,
    client_guid: str = "",
    timestamp: str = SENT_TIME,
    xml_style: XmlStyle = PLAIN,
) -> str:
    """3.1. By default for an Internet-only client with a PKI certificate.

    A registered client renews its registration with its GUID. The signature covers the text as
    written, so the caller must not reformat the document.
    """
    der = certificate.public_bytes(serialization.Encoding.DER).hex().upper()
    held = "".join(
        f'<{use} Encoding="HexBinary" KeyType="{key_type}">{der}</{use}>'
        for use in ("Encryption", "Signing")
    )
    discovery = {
        "Netbios Name": _netbios(fqdn),
        "FQ Name": fqdn,
        "Locale ID": "1033",
        "InternetFlag": str(internet_flag),
        "Agent Edition": "0",
    }
    properties = "".join(f'<Property Name="{n}" Value="{v}" />' for n, v in discovery.items())
    document = xml_style.document(
        f'<ClientRegistrationRequest><Data HashAlgorithm="{SHA256_WITH_RSA}" '
        f'SMSID="{smsid(client_guid)}" RequestType="Registration" TimeStamp="{timestamp}">'
        '<AgentInformation AgentIdentity="CcmExec.exe" AgentVersion="5.00.9128.1000" '
        f'AgentType="{agent_type}" /><Certificates>{held}</Certificates>'
        f"<DiscoveryProperties>{properties}</DiscoveryProperties>"
        f"{_registration_hint(client_guid, key, timestamp)}</Data><Signature>"
        f"<SignatureValue>{_SIGNATURE}</SignatureValue></Signature></ClientRegistrationRequest>"
    )
    data = document[document.index("<Data ") : document.index("</Data>") + len("</Data>")]
    return document.replace(_SIGNATURE, sign(key, data.encode("utf-16-le")))


_SIGNATURE = "the signature"


def _registration_hint(client_guid: str, key: RSAPrivateKey, timestamp: str) -> str:
    """The hint of a registered client; the format of its lines is inferred."""
    if not client_guid:
        return "<RegistrationHint />"
    kind = "1;2"
    lines = {
        **identification_headers(client_guid, key, timestamp),
        "CCMAuthHeaderType": kind,
        "CCMAuthHeaderTypeSignature": sign(key, terminated(kind)),
    }
    # The spelling differs from that of the header field.
    lines["CCMClientTimeStampSignature"] = lines.pop("CCMClientTimestampSignature")
    text = "\n".join(f"{name}: {value}" for name, value in lines.items())
    return f"<RegistrationHint>{escape(text)}</RegistrationHint>"


def _netbios(fqdn: str) -> str:
    """At most 15 characters, in upper case."""
    return fqdn.partition(".")[0][:15].upper()


def policy_request(
    client_guid: str, *, fqdn: str = "pc1.corp.example", site: str = "LAB", user: str = ""
) -> str:
    """3.2. The client GUID must equal the one in the message header.

    With a `user`, such as CORP\\alice, it requests the policy of this user.
    """
    whose = f"<User><SID /><NT4UserName>{escape(user)}</NT4UserName></User>" if user else "<User />"
    return (
        '<RequestAssignments SchemaVersion="1.00" ACK="false" RequestType="Always" '
        'ValidationRequested="CRC"><Identification><Machine>'
        f"<ClientID>{escape(smsid(client_guid))}</ClientID><FQDN>{escape(fqdn)}</FQDN>"
        f"<NetBIOSName>{escape(_netbios(fqdn))}</NetBIOSName><SID /></Machine>{whose}"
        f"</Identification><PolicySource>SMS:{site}</PolicySource>"
        f'<Resource ResourceType="{"User" if user else "Machine"}" /><ServerCookie />'
        "</RequestAssignments>"
    )


def location_request(
    root: str = "SiteInformationRequest",
    *,
    site: str = "LAB",
    package: str = PACKAGE,
    kind: str = "SMSPackage",
    on_internet: bool = True,
) -> str:
    """3.4. `root` is one of the eight roots of 2.2, including those not for the Internet.

    `kind` is SMSPackage, SMSUpdate or SMSWSUS.
    """
    inner = {"ContentLocationRequest": package, "WSUSLocationRequest": _UPDATE_POINT}.get(root, "")
    internet = int(on_internet)
    return (
        f'<{root} SchemaVersion="1.00">{inner}<AssignedSite SiteCode="{site}" />'
        f'<ClientLocationInfo OnInternet="{internet}" LocationType="{kind}" DistributeOnDemand="0" '
        'UseProtected="0" AllowCaching="0" BranchDPFlags="0" AllowHTTP="1" AllowSMB="0" '
        f'AllowMulticast="0" UseInternetDP="{internet}"><ADSite Name="" /><Forest Name="" />'
        f'<Domain Name="" /><IPAddresses /></ClientLocationInfo></{root}>'
    )


_UPDATE_POINT = f'<Content ID="{{{UUID(int=6)}}}" Version="1" />'


def inventory_report(client_guid: str, rows: int = 31) -> str:
    """3.5, hardware inventory; 31 rows are 28 KB of UTF-16, compressed to 3 KB."""
    return _report(client_guid, "".join(_installed_product(number) for number in range(rows)))


def software_inventory(client_guid: str) -> str:
    """3.5."""
    file = (
        '<Instance ParentClass="FileSystemFile" Class="FileSystemFile" '
        'Namespace="root\\ccm\\invagt" Content="New"><FileSystemFile><Name>setup.exe</Name>'
        "<Path>C:\\Program Files\\Lab</Path></FileSystemFile></Instance>"
    )
    return _report(client_guid, file, action=2)


def heartbeat(client_guid: str, *, name: str) -> tuple[str, str]:
    """3.5, discovery data: two documents; the first one is attached to the second one (1.3)."""
    body = (
        '<ReportBody><Instance ParentClass="CCM_Client" Class="CCM_Client" '
        'Namespace="root\\ccm" Content="New"><CCM_Client><ClientVersion>5.00.9128.1000'
        "</ClientVersion></CCM_Client></Instance><Instance "
        'ParentClass="CCM_ComputerSystem" Class="CCM_ComputerSystem" '
        'Namespace="root\\ccm\\invagt" Content="New"><CCM_ComputerSystem><Name>'
        f"{escape(name)}</Name></CCM_ComputerSystem></Instance></ReportBody>"
    )
    return _report_header(client_guid, "Inventory Data", action=3), body


def state_report(client_guid: str) -> str:
    """3.5: the state of the client's deployment (topic 12)."""
    message = (
        '<StateMessage MessageTime="20260101000000.000000+000" SerialNumber="1"><Topic '
        f'ID="{escape(smsid(client_guid))}" Type="12" IDType="0" User="" UserSID="" />'
        '<State ID="1" Criticality="0" /><UserParameters Flags="0" Count="0" /></StateMessage>'
    )
    return _report(client_guid, message, content="State Message Data")


def fallback_report(client_guid: str, state: int) -> str:
    """8.1."""
    return (
        "<Report><ReportHeader><ReportDetails><ReportContent>State Message Data</ReportContent>"
        "</ReportDetails></ReportHeader><ReportBody><StateMessage><Topic "
        f"ID='{escape(client_guid)}' Type='800'/><State ID='{state}'/></StateMessage></ReportBody>"
        "</Report>"
    )


def status_message(client_guid: str) -> str:
    """3.5."""
    return (
        '<Status SchemaVersion="1.00" CodePage="1252" LocaleID="1033"><Type>Milestone</Type>'
        f'<Properties><Property Name="ClientID">{escape(smsid(client_guid))}</Property>'
        '</Properties><Qualifiers><Qualifier Name="LAB00001" /></Qualifiers></Status>'
    )


def application_state() -> str:
    """2.1; its content is not known."""
    return "<AppStateServicesRequest />"


def upload_request(*, network: int = 1) -> str:
    """3.6: a request for an upload location. `network`: 1 is the Internet, 0 the intranet."""
    return (
        f"<UploadRequest><MessageID>{{{UUID(int=3)}}}</MessageID>"
        f"<NetworkType>{network}</NetworkType></UploadRequest>"
    )


def _report(
    client_guid: str, body: str, *, content: str = "Inventory Data", action: int = 1
) -> str:
    header = _report_header(client_guid, content, action)
    return f"<Report>{header}<ReportBody>{body}</ReportBody></Report>"


def _report_header(client_guid: str, content: str, action: int) -> str:
    return (
        "<ReportHeader><Identification><Machine><ClientInstalled>1</ClientInstalled><ClientType>1"
        f'</ClientType><ClientID IDType="0" IDFlag="1">{escape(smsid(client_guid))}</ClientID>'
        "<ClientVersion>5.00.9128.1000</ClientVersion><NetBIOSName>PC1</NetBIOSName><CodePage>1252"
        "</CodePage><SystemDefaultLCID>1033</SystemDefaultLCID><Priority /></Machine>"
        f"</Identification><ReportDetails><ReportContent>{content}</ReportContent><ReportType>Full"
        "</ReportType><Date>20260101000000.000000+000</Date><Version>1.0</Version><Format>1.1"
        '</Format></ReportDetails><InventoryAction ActionType="Predefined"><InventoryActionID>'
        f"{{{UUID(int=action)}}}</InventoryActionID></InventoryAction></ReportHeader>"
    )


def _installed_product(number: int) -> str:
    # Pseudorandom values: without them, a report compresses better than a real one.
    code = UUID(int=pow(3, 1000 + number, 2**128))
    return (
        '<Instance ParentClass="SMS_InstalledSoftware" Class="SMS_InstalledSoftware" '
        'Namespace="root\\cimv2\\sms" Content="New"><SMS_InstalledSoftware>'
        f"<ProductName>Lab Product {code.hex[:12]}</ProductName>"
        f"<ProductVersion>{code.int % 17}.{code.int % 9973}.{number}</ProductVersion>"
        f"<Publisher>Publisher {code.int % 11}</Publisher><SoftwareCode>{{{code}}}</SoftwareCode>"
        f"<LocalPackage>C:\\Windows\\Installer\\{code.int % 99999999991:x}.msi</LocalPackage>"
        "</SMS_InstalledSoftware></Instance>"
    )
