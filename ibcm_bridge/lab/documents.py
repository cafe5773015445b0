"""What the lab's clients write about: the documents in their messages (protocol.md 3)."""

from __future__ import annotations

from uuid import UUID
from xml.sax.saxutils import escape

from cryptography import x509
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey

from ibcm_bridge.lab.ccm import SENT_TIME
from ibcm_bridge.lab.signing import SHA256_WITH_RSA, sign, smsid

PACKAGE = '<Package ID="LAB00001" Version="1"/>'


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
) -> str:
    """3.1. As it is, of a client with a PKI certificate that is only ever on the Internet.

    A client that has registered before says so with its GUID.
    """
    der = certificate.public_bytes(serialization.Encoding.DER).hex().upper()
    held = "".join(
        f'<{use} Encoding="HexBinary" KeyType="{key_type}">{der}</{use}>'
        for use in ("Encryption", "Signing")
    )
    discovery = {"FQ Name": fqdn, "InternetFlag": str(internet_flag)}
    properties = "".join(f'<Property Name="{n}" Value="{v}"/>' for n, v in discovery.items())
    data = (
        f'<Data HashAlgorithm="{SHA256_WITH_RSA}" SMSID="{smsid(client_guid)}" '
        f'RequestType="Registration" TimeStamp="{timestamp}">'
        '<AgentInformation AgentIdentity="CcmExec.exe" AgentVersion="5.00.9128.1000" '
        f'AgentType="{agent_type}"/><Certificates>{held}</Certificates>'
        f"<DiscoveryProperties>{properties}</DiscoveryProperties></Data>"
    )
    signature = sign(key, data.encode("utf-16-le"))
    return (
        f"<ClientRegistrationRequest>{data}<Signature>"
        f"<SignatureValue>{signature}</SignatureValue></Signature></ClientRegistrationRequest>"
    )


def policy_request(
    client_guid: str, *, fqdn: str = "pc1.corp.example", site: str = "LAB", user: str = ""
) -> str:
    """3.2. The GUID is named here again: it must be the one of the message header.

    With a `user`, such as CORP\\alice, it asks for that user's policy.
    """
    whose = f"<User><NT4UserName>{escape(user)}</NT4UserName></User>" if user else ""
    return (
        '<RequestAssignments SchemaVersion="1.00" ACK="false" RequestType="Always">'
        f"<Identification><Machine><ClientID>{escape(smsid(client_guid))}</ClientID>"
        f"<FQDN>{escape(fqdn)}</FQDN></Machine>{whose}</Identification><PolicySource>SMS:{site}"
        f'</PolicySource><Resource ResourceType="{"User" if user else "Machine"}"/>'
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
    """3.4. `root` is any of the eight of 2.2, also those that have no place on the Internet.

    `kind` is SMSPackage, SMSUpdate or SMSWSUS.
    """
    inner = package if root == "ContentLocationRequest" else ""
    there = int(on_internet)
    return (
        f'<{root} SchemaVersion="1.00">{inner}<AssignedSite SiteCode="{site}"/>'
        f'<ClientLocationInfo OnInternet="{there}" LocationType="{kind}" UseInternetDP="{there}">'
        f'<ADSite Name=""/><IPAddresses/></ClientLocationInfo></{root}>'
    )


def inventory_report(client_guid: str, rows: int = 32) -> str:
    """3.5, hardware inventory; 32 rows are about 28 KB of UTF-16 and compress to about 3 KB."""
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
    """3.5, discovery data: two documents, of which the first is attached to the second (1.3)."""
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
        f'ID="{escape(smsid(client_guid))}" Type="12" IDType="0" User="" UserSID=""/>'
        '<State ID="1" Criticality="0"/><UserParameters Flags="0" Count="0"/></StateMessage>'
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
        '</Properties><Qualifiers><Qualifier Name="LAB00001"/></Qualifiers></Status>'
    )


def application_state() -> str:
    """2.1; what stands in it is not known."""
    return "<AppStateServicesRequest />"


def upload_request(*, network: int = 1) -> str:
    """3.6: where may I upload a report? 1 is the Internet, 0 the intranet."""
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
        "<ReportHeader><Identification><Machine><ClientType>1</ClientType><ClientID "
        f'IDType="0" IDFlag="1">{escape(smsid(client_guid))}</ClientID><NetBIOSName>PC1'
        f"</NetBIOSName></Machine></Identification><ReportDetails><ReportContent>{content}"
        "</ReportContent><ReportType>Full</ReportType><Date>20260101000000.000000+000</Date>"
        '</ReportDetails><InventoryAction ActionType="Predefined"><InventoryActionID>'
        f"{{{UUID(int=action)}}}</InventoryActionID></InventoryAction></ReportHeader>"
    )


def _installed_product(number: int) -> str:
    # Noise from a counter: without it a report compresses far better than a real one.
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
