"""The registrations of the simulated management point.

It verifies signatures with the registered key (protocol.md 1.6, 3.1, 5).
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
"""Header fields with signatures (5); one of the two forms is sufficient."""


def client_guid(certificate: x509.Certificate) -> str:
    """Return the client GUID for this certificate; always the same."""
    return smsid(str(uuid5(UUID(int=0), certificate.public_bytes(Encoding.DER).hex())))


class Registrations:
    """Client GUID -> key. `pending`: names of clients that are not approved yet."""

    def __init__(self) -> None:
        self.pending: set[str] = set()
        self._keys: dict[str, RSAPublicKey | None] = {}
        """None: registered, but not approved."""

    def register(self, text: str) -> str:
        """Register a client; return the reply (3.1). ValueError if it is refused."""
        request = ET.fromstring(text)
        certificate, key = _signing_certificate(request)
        signed = text[text.index("<Data ") : text.index("</Data>") + len("</Data>")]
        signature = request.findtext("Signature/SignatureValue", "")
        if not verifies(key, signature, signed.encode("utf-16-le")):
            raise ValueError("the registration is not signed with the key it names")
        # A renewal contains the client GUID.
        guid = _attribute(request, "Data", "SMSID") or client_guid(certificate)
        if self._keys.get(guid) not in (None, key):
            return registration_response(guid, ERROR)
        pending = _property(request, "FQ Name") in self.pending
        self._keys[guid] = None if pending else key
        return registration_response(guid, PENDING if pending else REGISTERED)

    def signed(self, message: Message, guid: str) -> bool:
        """Return whether a message has a valid signature of this client (1.6)."""
        properties = message.hook_properties()
        if not properties or message.payload is None:
            return False
        # For an unregistered client, accept the key in its message: tests need no registration.
        key = self._keys.get(guid, read_public_key_blob(properties["PublicKey"]))
        signed = {"ClientIDSignature": terminated(guid), "PayloadSignature": message.payload}
        return key is not None and all(
            verifies(key, properties[name], data) for name, data in signed.items()
        )

    def signed_fields(self, headers: Mapping[str, str]) -> bool:
        """Return whether a registered client signed the fields (names in lower case) (5)."""
        return any(self._verified(fields, headers) for fields in _SIGNED_FIELDS)

    def _verified(self, fields: Mapping[str, str], headers: Mapping[str, str]) -> bool:
        texts = [headers.get(name, "") for name in fields]
        key = self._keys.get(texts[0].partition(";")[0])
        return key is not None and all(
            verifies(key, headers.get(signature, ""), terminated(text))
            for text, signature in zip(texts, fields.values(), strict=True)
        )


def read_public_key_blob(text: str) -> RSAPublicKey:
    """Parse a PUBLICKEYBLOB (1.6)."""
    blob = bytes.fromhex(text)
    exponent, modulus = (int.from_bytes(field, "little") for field in (blob[16:20], blob[20:]))
    return RSAPublicNumbers(exponent, modulus).public_key()


def _signing_certificate(request: ET.Element) -> tuple[x509.Certificate, RSAPublicKey]:
    signing = request.find("Data/Certificates/Signing")
    if signing is None:
        raise ValueError("no signing certificate")
    certificate = x509.load_der_x509_certificate(bytes.fromhex(signing.text or ""))
    if _SELF_SIGNED[signing.get("KeyType", "")] != (certificate.subject == certificate.issuer):
        raise ValueError("the certificate does not match its KeyType")
    key = certificate.public_key()
    if not isinstance(key, RSAPublicKey):
        raise ValueError("the key is not RSA")
    return certificate, key


def _property(request: ET.Element, name: str) -> str:
    """Return the value of a property, from its attribute or its text."""
    found = request.find(f"Data/DiscoveryProperties/Property[@Name='{name}']")
    return (found.get("Value") or found.text or "") if found is not None else ""


def _attribute(request: ET.Element, path: str, name: str) -> str:
    found = request.find(path)
    return found.get(name, "") if found is not None else ""
