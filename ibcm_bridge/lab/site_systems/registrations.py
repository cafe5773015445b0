"""Who has registered with the stand-in management point, and whether they signed what comes.

Signatures are checked with the key of the registration (protocol.md 1.6, 3.1, 5).
"""

from __future__ import annotations

from collections.abc import Mapping
from uuid import UUID, uuid5
from xml.etree import ElementTree as ET

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey, RSAPublicNumbers
from cryptography.hazmat.primitives.serialization import Encoding

from ibcm_bridge.lab.protocol.ccm import Message
from ibcm_bridge.lab.protocol.reply_documents import registration_response
from ibcm_bridge.lab.protocol.signing import smsid, terminated, verifies

REGISTERED, PENDING, ERROR = 0, 1, 3
"""Status in the reply to a registration (3.1)."""

_SELF_SIGNED = {"1": True, "2": False}
"""KeyType (3.1)."""

_SIGNED_FIELDS = (
    {
        "ccmclientid": "ccmclientidsignature",
        "ccmclienttimestamp": "ccmclienttimestampsignature",
    },
    {"clienttoken": "clienttokensignature"},
)
"""Header fields that prove a client, and their signatures (5): either will do."""


def client_guid(certificate: x509.Certificate) -> str:
    """What a client that registers with this certificate is called; the same each time."""
    return smsid(str(uuid5(UUID(int=0), certificate.public_bytes(Encoding.DER).hex())))


class Registrations:
    """Client GUID -> key. `pending`: names of clients that nobody has approved yet."""

    def __init__(self) -> None:
        self.pending: set[str] = set()
        self._keys: dict[str, RSAPublicKey | None] = {}
        """None: registered, and not approved."""

    def register(self, text: str) -> str:
        """The reply to a registration (3.1). ValueError where there is none."""
        request = ET.fromstring(text)
        certificate, key = _signing_certificate(request)
        signed = text[text.index("<Data ") : text.index("</Data>") + len("</Data>")]
        signature = request.findtext("Signature/SignatureValue", "")
        if not verifies(key, signature, signed.encode("utf-16-le")):
            raise ValueError("the registration is not signed with the key it names")
        # Whoever registers once more says who it is.
        guid = _attribute(request, "Data", "SMSID") or client_guid(certificate)
        if self._keys.get(guid) not in (None, key):
            return registration_response(guid, ERROR)
        pending = _property(request, "FQ Name") in self.pending
        self._keys[guid] = None if pending else key
        return registration_response(guid, PENDING if pending else REGISTERED)

    def signed(self, message: Message, guid: str) -> bool:
        """Whether a message is signed, and by whom it says (1.6)."""
        properties = message.hook_properties()
        if not properties or message.payload is None:
            return False
        # Whoever has not registered is believed the key it sends, so that a test may skip that.
        key = self._keys.get(guid, read_public_key_blob(properties["PublicKey"]))
        signed = {"ClientIDSignature": terminated(guid), "PayloadSignature": message.payload}
        return key is not None and all(
            verifies(key, properties[name], data) for name, data in signed.items()
        )

    def signed_fields(self, headers: Mapping[str, str]) -> bool:
        """Whether header fields, by name in lower case, prove a registered client (5)."""
        return any(self._prove(fields, headers) for fields in _SIGNED_FIELDS)

    def _prove(self, fields: Mapping[str, str], headers: Mapping[str, str]) -> bool:
        texts = [headers.get(name, "") for name in fields]
        key = self._keys.get(texts[0].partition(";")[0])
        return key is not None and all(
            verifies(key, headers.get(signature, ""), terminated(text))
            for text, signature in zip(texts, fields.values(), strict=True)
        )


def read_public_key_blob(text: str) -> RSAPublicKey:
    """1.6, the other way round."""
    blob = bytes.fromhex(text)
    exponent, modulus = (int.from_bytes(field, "little") for field in (blob[16:20], blob[20:]))
    return RSAPublicNumbers(exponent, modulus).public_key()


def _signing_certificate(request: ET.Element) -> tuple[x509.Certificate, RSAPublicKey]:
    signing = request.find("Data/Certificates/Signing")
    if signing is None:
        raise ValueError("no signing certificate")
    certificate = x509.load_der_x509_certificate(bytes.fromhex(signing.text or ""))
    if _SELF_SIGNED[signing.get("KeyType", "")] != (certificate.subject == certificate.issuer):
        raise ValueError("the certificate is not of its KeyType")
    key = certificate.public_key()
    if not isinstance(key, RSAPublicKey):
        raise ValueError("ConfigMgr signs with RSA keys")
    return certificate, key


def _property(request: ET.Element, name: str) -> str:
    """As an attribute, or as text."""
    found = request.find(f"Data/DiscoveryProperties/Property[@Name='{name}']")
    return (found.get("Value") or found.text or "") if found is not None else ""


def _attribute(request: ET.Element, path: str, name: str) -> str:
    found = request.find(path)
    return found.get(name, "") if found is not None else ""
