"""What the lab's clients write about: the documents in their messages (protocol.md 3)."""

from __future__ import annotations

from uuid import UUID
from xml.sax.saxutils import escape

from cryptography import x509
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey

from ibcm_bridge.lab.ccm import SENT_TIME
from ibcm_bridge.lab.signing import SHA256_WITH_RSA, sign, smsid


def registration_request(
    certificate: x509.Certificate, key: RSAPrivateKey, *, fqdn: str, internet_flag: int = 2
) -> str:
    """3.1, of a client with a PKI certificate (KeyType 2) that is only ever on the Internet."""
    der = certificate.public_bytes(serialization.Encoding.DER).hex().upper()
    held = "".join(
        f'<{use} Encoding="HexBinary" KeyType="2">{der}</{use}>'
        for use in ("Encryption", "Signing")
    )
    discovery = {"FQ Name": fqdn, "InternetFlag": str(internet_flag)}
    properties = "".join(f'<Property Name="{n}" Value="{v}"/>' for n, v in discovery.items())
    data = (
        f'<Data HashAlgorithm="{SHA256_WITH_RSA}" SMSID="" RequestType="Registration" '
        f'TimeStamp="{SENT_TIME}">'
        '<AgentInformation AgentIdentity="CcmExec.exe" AgentVersion="5.00.9128.1000" '
        f'AgentType="0"/><Certificates>{held}</Certificates>'
        f"<DiscoveryProperties>{properties}</DiscoveryProperties></Data>"
    )
    signature = sign(key, data.encode("utf-16-le"))
    return (
        f"<ClientRegistrationRequest>{data}<Signature>"
        f"<SignatureValue>{signature}</SignatureValue></Signature></ClientRegistrationRequest>"
    )


def policy_request(client_guid: str, *, fqdn: str = "pc1.corp.example", site: str = "LAB") -> str:
    """3.2. The GUID is named here again: it must be the one of the message header."""
    return (
        '<RequestAssignments SchemaVersion="1.00" ACK="false" RequestType="Always">'
        f"<Identification><Machine><ClientID>{escape(smsid(client_guid))}</ClientID>"
        f"<FQDN>{escape(fqdn)}</FQDN></Machine></Identification><PolicySource>SMS:{site}"
        '</PolicySource><Resource ResourceType="Machine"/></RequestAssignments>'
    )


def location_request(root: str = "SiteInformationRequest", *, site: str = "LAB") -> str:
    """3.4. `root` is any of the eight of 2.2, also those that have no place on the Internet."""
    inner = '<Package ID="LAB00001" Version="1"/>' if root == "ContentLocationRequest" else ""
    return (
        f'<{root} SchemaVersion="1.00">{inner}<AssignedSite SiteCode="{site}"/>'
        '<ClientLocationInfo OnInternet="1" LocationType="SMSPackage" UseInternetDP="1">'
        f'<ADSite Name=""/><IPAddresses/></ClientLocationInfo></{root}>'
    )


def inventory_report(client_guid: str, rows: int = 32) -> str:
    """3.5, hardware inventory; 32 rows are about 28 KB of UTF-16 and compress to about 3 KB."""
    instances = "".join(_installed_product(number) for number in range(rows))
    return (
        "<Report><ReportHeader><Identification><Machine><ClientType>1</ClientType><ClientID "
        f'IDType="0" IDFlag="1">{escape(smsid(client_guid))}</ClientID><NetBIOSName>PC1'
        "</NetBIOSName></Machine></Identification><ReportDetails><ReportContent>Inventory Data"
        "</ReportContent><ReportType>Full</ReportType><Date>20260101000000.000000+000</Date>"
        '</ReportDetails><InventoryAction ActionType="Predefined"><InventoryActionID>'
        "{00000000-0000-0000-0000-000000000001}</InventoryActionID></InventoryAction>"
        f"</ReportHeader><ReportBody>{instances}</ReportBody></Report>"
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
