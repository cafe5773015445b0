"""ConfigMgr messages as bytes, the way clients and management points put them together.

How it works (section numbers are those of protocol.md):

1. The body XML becomes UTF-16LE without BOM, ended by one NUL character (1.3).
2. Clients append CR LF to that and compress it; `Body@Length` counts the NUL, not the CR LF.
3. A client that signs puts a `clientauth` hook into the header. The payload signature covers the
   compressed bytes exactly as sent, so they are made before the header (1.5, 1.6).
4. Header and payload become the two parts of a multipart message with a constant boundary (1.3).

The same call makes the same bytes, as a benchmark and a byte-for-byte test need. Nothing here is
careful with hostile input: `raw_message` is there to build what the bridge must refuse.
"""

from __future__ import annotations

import zlib
from collections.abc import Mapping
from dataclasses import dataclass
from uuid import UUID
from xml.etree import ElementTree as ET
from xml.sax.saxutils import escape

from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import padding
from cryptography.hazmat.primitives.asymmetric.rsa import (
    RSAPrivateKey,
    RSAPublicKey,
)

BOUNDARY = b"aAbBcCdDv1234567890VxXyYzZ"
"""The messaging SDK's RequestMimeBoundary; clients use it for every message (1.2)."""

CONTENT_TYPE = f'multipart/mixed; boundary="{BOUNDARY.decode()}"'

SHA256_WITH_RSA = "1.2.840.113549.1.1.11"
"""The value of HashAlgorithm (1.5)."""

ZLIB_HOOK = '<Hook3 Name="zlib-compress"/>'
SENT_TIME = "2026-01-01T00:00:00Z"

NO_REPLY = (
    b"--%b\r\ncontent-type: text/plain; charset=UTF-16\r\n\r\n" % BOUNDARY
    + "\ufeffNoReply".encode("utf-16-le")
    + b"\r\n--%b--" % BOUNDARY
)
"""What answers a message that is only taken in: one MIME part (1.7)."""

MAX_INFLATED = 64 * 1024 * 1024
"""More than any message of the lab; a stand-in that is sent a zlib bomb should survive it."""


@dataclass(frozen=True)
class Message:
    """A message taken apart. `payload` is part 2 as sent; None in a reply of one part (1.7)."""

    header_xml: str
    payload: bytes | None

    def body_text(self) -> str | None:
        """The body the header points at, without the NUL that ends it."""
        if self.payload is None:
            return None
        header = ET.fromstring(self.header_xml)
        data = self.payload
        if any(hook.get("Name") == "zlib-compress" for hook in header.iterfind("Hooks/*")):
            data = zlib.decompressobj().decompress(data, MAX_INFLATED)
        body = header.find("Body")
        if body is None:
            raise ValueError("the message header has no Body")
        offset, length = int(body.get("Offset", "0")), int(body.get("Length", "0"))
        return data[offset : offset + length].decode("utf-16-le").removesuffix("\0")

    def hook_properties(self) -> dict[str, str]:
        """The properties of the `clientauth` hook; none when the message is not signed (1.5)."""
        found = ET.fromstring(self.header_xml).iterfind("Hooks/*[@Name='clientauth']/Property")
        return {one.get("Name", ""): one.text or "" for one in found}


def ccm_post_body(
    *,
    endpoint: str,
    body_xml: str,
    client_guid: str,
    target_host: str = "mp01.corp.example",
    key: RSAPrivateKey | None = None,
    trailing_crlf: bool = True,
    boundary: bytes = BOUNDARY,
    inner_type: bytes = b"application/octet-stream",
    reply_mode: str = "Sync",
) -> bytes:
    """What a client sends with CCM_POST: compressed, and signed when a key is given."""
    text = body_xml.encode("utf-16-le") + b"\0\0"
    payload = zlib.compress(text + b"\r\n" if trailing_crlf else text)
    hooks = ZLIB_HOOK
    if key:
        hooks = client_authentication_hook(client_guid, payload, key) + hooks
    header = message_header(
        endpoint, len(text), hooks, client_guid, target_host=target_host, reply_mode=reply_mode
    )
    return raw_message(header, payload, boundary=boundary, inner_type=inner_type)


def message_header(
    endpoint: str,
    length: int,
    hooks: str = ZLIB_HOOK,
    client_guid: str = "",
    *,
    target_host: str = "mp01.corp.example",
    reply_mode: str = "Sync",
) -> str:
    """The Msg element (1.4). Senders differ in the order of its children; none is the right one."""
    children = {
        "ID": f"{{{UUID(int=1)}}}",
        "Protocol": "http",
        "ReplyMode": reply_mode,
        "ReplyTo": "direct:PC1:SccmMessaging",
        "SentTime": SENT_TIME,
        "SourceHost": "PC1",
        "SourceID": smsid(client_guid),
        "TargetAddress": f"mp:{endpoint}",
        "TargetEndpoint": endpoint,
        "TargetHost": target_host,
    }
    return (
        '<Msg ReplyCompression="zlib" SchemaVersion="1.1">'
        f'<Body Type="ByteRange" Length="{length}" Offset="0"/>'
        f"<CorrelationID>{{{UUID(int=0)}}}</CorrelationID>"
        f'<Hooks>{hooks}</Hooks><Payload Type="inline"/>'
        + "".join(f"<{name}>{escape(text)}</{name}>" for name, text in children.items())
        + "</Msg>"
    )


def raw_message(
    header_xml: str,
    part2: bytes,
    *,
    boundary: bytes = BOUNDARY,
    inner_type: bytes = b"application/octet-stream",
) -> bytes:
    """The frame alone (1.3), around whatever a hostile case wants in it."""
    return (
        b"--%b\r\ncontent-type: text/plain; charset=UTF-16\r\n\r\n" % boundary
        + b"\xff\xfe"
        + header_xml.encode("utf-16-le")
        + b"\r\n--%b\r\ncontent-type: %b\r\n\r\n" % (boundary, inner_type)
        + part2
        + b"\r\n--%b--" % boundary
    )


def read_message(data: bytes) -> Message:
    """Take a request or a reply apart; ValueError when it is not framed as in 1.3."""
    opening, closing = b"--%b\r\n" % BOUNDARY, b"\r\n--%b--" % BOUNDARY
    if not (data.startswith(opening) and data.endswith(closing)):
        raise ValueError("not the two-part frame of a ConfigMgr message")
    # Compressed bytes may hold anything, the separator too: only its first occurrence counts.
    parts = data[len(opening) : -len(closing)].split(b"\r\n" + opening, 1)
    contents = [part.partition(b"\r\n\r\n")[2] for part in parts]
    header_xml = contents[0].decode("utf-16")
    return Message(header_xml, contents[1] if len(contents) == 2 else None)


def parse_reply(data: bytes) -> tuple[str, str | None]:
    """A reply's header and body; of `NoReply` that text and None. Empty replies are ValueError."""
    message = read_message(data)
    return message.header_xml, message.body_text()


def sign(key: RSAPrivateKey, data: bytes) -> str:
    """RSA PKCS#1 v1.5 with SHA-256, in the byte order of CryptoAPI, as upper-case hex."""
    return key.sign(data, padding.PKCS1v15(), hashes.SHA256())[::-1].hex().upper()


def verifies(public_key: RSAPublicKey, signature: str, data: bytes) -> bool:
    """Whether `sign` with the matching private key made this signature."""
    try:
        reverse = bytes.fromhex(signature)[::-1]
        public_key.verify(reverse, data, padding.PKCS1v15(), hashes.SHA256())
    except (InvalidSignature, ValueError):
        return False
    return True


def terminated(text: str) -> bytes:
    """How a GUID, a timestamp or a token is signed: UTF-16LE with its NUL (1.6)."""
    return text.encode("utf-16-le") + b"\0\0"


def client_authentication_hook(client_guid: str, payload: bytes, key: RSAPrivateKey) -> str:
    """Hook2 `clientauth` (1.5), over the payload exactly as it will be sent."""
    properties = {
        "AuthSenderMachine": "PC1",
        "PublicKey": public_key_blob(key.public_key()).hex().upper(),
        "ClientIDSignature": sign(key, terminated(smsid(client_guid))),
        "PayloadSignature": sign(key, payload),
        "ClientCapabilities": "SSL",
        "HashAlgorithm": SHA256_WITH_RSA,
    }
    inner = "".join(f'<Property Name="{n}">{text}</Property>' for n, text in properties.items())
    return f'<Hook2 Name="clientauth">{inner}</Hook2>'


def public_key_blob(key: RSAPublicKey) -> bytes:
    """CryptoAPI's PUBLICKEYBLOB: a header of 20 bytes and the modulus, all little-endian (1.6)."""
    numbers, size = key.public_numbers(), key.key_size
    rsa_header = b"RSA1" + size.to_bytes(4, "little") + numbers.e.to_bytes(4, "little")
    return b"\x06\x02\0\0\0\xa4\0\0" + rsa_header + numbers.n.to_bytes(size // 8, "little")


def identification_headers(
    client_guid: str, key: RSAPrivateKey, timestamp: str = SENT_TIME
) -> Mapping[str, str]:
    """The CCMClient* header fields of a GET for a policy, spelt as on the wire (5)."""
    return {
        "CCMClientID": smsid(client_guid),
        "CCMClientIDSignature": sign(key, terminated(smsid(client_guid))),
        "CCMClientTimestamp": timestamp,
        "CCMClientTimestampSignature": sign(key, terminated(timestamp)),
    }


def smsid(client_guid: str) -> str:
    """`GUID:` and the GUID in upper case. Empty stays so, and a prefixed value is the caller's."""
    if not client_guid or client_guid.upper().startswith("GUID:"):
        return client_guid
    return f"GUID:{client_guid.upper()}"


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
