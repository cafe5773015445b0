"""A ConfigMgr client: its name, client GUID and key, and the requests that it sends.

Section numbers are those of protocol.md.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import Self, TypedDict, Unpack

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.x509.oid import NameOID

from ibcm_bridge.lab.pki.certificates import LabCredential
from ibcm_bridge.lab.protocol import ccm, documents, signing
from ibcm_bridge.lab.protocol.client import Request
from ibcm_bridge.lab.protocol.xml_style import SDK, XmlStyle

Clock = Callable[[], datetime]

AGENT = "SMS CCM 5.0"
"""User-Agent of a GET (1.2)."""


class MessageOptions(TypedDict, total=False):
    """Deviations from the defaults of a message."""

    client_guid: str
    attached: str
    reply_mode: str
    reply_to: str
    file_type: str
    sent: str
    inner_type: bytes
    trailing_crlf: bool


def utc_now() -> datetime:
    """Return the current time."""
    return datetime.now(UTC)


@dataclass(frozen=True)
class Device:
    """A ConfigMgr client (11)."""

    name: str
    key: rsa.RSAPrivateKey
    """Signs the messages."""
    certificate: x509.Certificate
    """The certificate of `key`."""
    clock: Clock = utc_now
    guid: str = ""
    """The client GUID; empty before registration."""
    key_type: int = 2
    """1: self-signed certificate; 2: PKI certificate (3.1)."""
    session: str = ""
    """The id of the upload session; empty if there is none."""
    cookie: str = ""
    """The last cookie of a software update point ([MS-WUSP] 2.2.3.4 and 2.2.3.5)."""
    on_internet: bool = True
    """The current network, which location requests contain (3.4, 3.6)."""
    site: str = "LAB"
    """The code of its site (3.2, 3.4)."""
    internet_flag: int = 2
    """0: intranet only; 1: intranet and Internet; 2: Internet only (3.1)."""
    token: bool = False
    """True if a signed GET has ClientToken instead of the CCMClient fields (5)."""
    xml_style: XmlStyle = SDK
    """The XML style of its messages."""

    @classmethod
    def of(cls, credential: LabCredential, name: str, clock: Clock = utc_now) -> Self:
        """Create a client that signs with its TLS key."""
        assert isinstance(credential.key, rsa.RSAPrivateKey)
        return cls(name, credential.key, credential.certificate, clock)

    @classmethod
    def with_own_key(cls, name: str, clock: Clock = utc_now) -> Self:
        """Create a client that signs with a separate, self-signed key."""
        key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
        certificate = _own_certificate(key, clock())
        return cls(name, key, certificate, clock, key_type=1, token=True)

    @property
    def now(self) -> str:
        """The current time in the format of messages."""
        return signing.written(self.clock())

    def with_guid(self, guid: str) -> Device:
        """Return the same client with this client GUID."""
        return replace(self, guid=guid)

    def registration(self, *, agent_type: int = 0) -> Request:
        """3.1; a renewal if the client has a GUID."""
        xml = documents.registration_request(
            self.certificate,
            self.key,
            fqdn=self.name,
            internet_flag=self.internet_flag,
            key_type=self.key_type,
            agent_type=agent_type,
            client_guid=self.guid,
            timestamp=self.now,
            xml_style=self.xml_style,
        )
        return posted(self._message("MP_ClientRegistration", xml))

    def post(
        self, endpoint: str, xml: str, *, agent: str = "ccmhttp", **message: Unpack[MessageOptions]
    ) -> Request:
        """Return a request with a signed message."""
        return posted(self.message(endpoint, xml, **message), agent)

    def report(self, endpoint: str, xml: str, **message: Unpack[MessageOptions]) -> Request:
        """Return a request with a signed message that gets no reply (1.7)."""
        options: MessageOptions = {"reply_mode": "ASync", **message}
        return self.post(endpoint, xml, **options)

    def message(self, endpoint: str, xml: str, **message: Unpack[MessageOptions]) -> bytes:
        """Return the body of `post`."""
        if attached := message.get("attached"):
            message["attached"] = self.xml_style.document(attached)
        return self._message(endpoint, self.xml_style.document(xml), **message)

    def _message(self, endpoint: str, xml: str, **message: Unpack[MessageOptions]) -> bytes:
        options: MessageOptions = {
            "client_guid": self.guid,
            "sent": self.now,
            "trailing_crlf": self.xml_style.trailing_crlf,
            **message,
        }
        return ccm.ccm_post_body(
            endpoint=endpoint, body_xml=xml, key=self.key, xml_style=self.xml_style, **options
        )

    def get(self, target: str, *, signed: bool = False, agent: str = AGENT) -> Request:
        """Return a GET, with signed header fields if `signed`."""
        fields = self.signed_fields() if signed else ()
        return Request("GET", target, (("User-Agent", agent), *fields))

    def signed_fields(self, timestamp: str = "") -> tuple[tuple[str, str], ...]:
        """5: header fields with client GUID and timestamp, signed."""
        make = signing.client_token if self.token else signing.identification_headers
        return tuple(make(self.guid, self.key, timestamp or self.now).items())


def posted(body: bytes, agent: str = "ccmhttp", *more: tuple[str, str]) -> Request:
    """Return the request that posts a message to a management point."""
    headers = (("User-Agent", agent), ("Content-Type", ccm.CONTENT_TYPE), *more)
    return Request("CCM_POST", "/ccm_system/request", headers, body)


def fallback_status(client_guid: str, *, state: int = 101) -> Request:
    """8.1: a state message, for clients that cannot reach a management point."""
    fields = (("User-Agent", "ccmsetup"), ("Content-Type", "text/xml"))
    body = documents.fallback_report(client_guid, state).encode()
    return Request("POST", "/SMS_FSP/.sms_fsp", fields, body, plaintext=True)


_SIGNING = x509.ObjectIdentifier("1.3.6.1.4.1.311.101")
_ENCRYPTION = x509.ObjectIdentifier("1.3.6.1.4.1.311.101.2")


def _own_certificate(key: rsa.RSAPrivateKey, now: datetime) -> x509.Certificate:
    """3.1: a self-signed certificate with these extended key usages."""
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "ConfigMgr Client")])
    builder = x509.CertificateBuilder(name, name, key.public_key(), x509.random_serial_number())
    return (
        builder.not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=365))
        .add_extension(x509.ExtendedKeyUsage([_SIGNING, _ENCRYPTION]), critical=False)
        .sign(key, hashes.SHA256())
    )
