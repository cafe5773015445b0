"""The signatures of ConfigMgr clients (protocol.md 1.6 and 5)."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import padding
from cryptography.hazmat.primitives.asymmetric.rsa import (
    RSAPrivateKey,
    RSAPublicKey,
)

SHA256_WITH_RSA = "1.2.840.113549.1.1.11"
"""The value of HashAlgorithm (1.5)."""


def sign(key: RSAPrivateKey, data: bytes) -> str:
    """Sign with RSA PKCS#1 v1.5 and SHA-256; return CryptoAPI byte order as upper-case hex."""
    return key.sign(data, padding.PKCS1v15(), hashes.SHA256())[::-1].hex().upper()


def verifies(public_key: RSAPublicKey, signature: str, data: bytes) -> bool:
    """Return whether a signature of `sign` is valid."""
    try:
        reverse = bytes.fromhex(signature)[::-1]
        public_key.verify(reverse, data, padding.PKCS1v15(), hashes.SHA256())
    except (InvalidSignature, ValueError):
        return False
    return True


def terminated(text: str) -> bytes:
    """Encode a GUID, a timestamp or a token for a signature: UTF-16LE with a NUL (1.6)."""
    return text.encode("utf-16-le") + b"\0\0"


def client_authentication_hook(client_guid: str, payload: bytes, key: RSAPrivateKey) -> str:
    """Return the hook `clientauth` (1.5), which signs the payload as sent."""
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
    """Return a PUBLICKEYBLOB of CryptoAPI: 20 bytes and the modulus, little-endian (1.6)."""
    numbers, size = key.public_numbers(), key.key_size
    rsa_header = b"RSA1" + size.to_bytes(4, "little") + numbers.e.to_bytes(4, "little")
    return b"\x06\x02\0\0\0\xa4\0\0" + rsa_header + numbers.n.to_bytes(size // 8, "little")


def identification_headers(
    client_guid: str, key: RSAPrivateKey, timestamp: str
) -> Mapping[str, str]:
    """Return the CCMClient* header fields of a GET for a policy, as spelled on the wire (5)."""
    return {
        "CCMClientID": smsid(client_guid),
        "CCMClientIDSignature": sign(key, terminated(smsid(client_guid))),
        "CCMClientTimestamp": timestamp,
        "CCMClientTimestampSignature": sign(key, terminated(timestamp)),
    }


def client_token(client_guid: str, key: RSAPrivateKey, timestamp: str) -> Mapping[str, str]:
    """Return the alternative pair of header fields, ClientToken (5)."""
    token = f"{smsid(client_guid)};{timestamp};2"
    return {"ClientToken": token, "ClientTokenSignature": sign(key, terminated(token))}


def written(now: datetime) -> str:
    """Format a time as clients do: UTC, without fractions of a second (5)."""
    return now.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def smsid(client_guid: str) -> str:
    """Return `GUID:` and the GUID in upper case; an empty or prefixed value is unchanged."""
    if not client_guid or client_guid.upper().startswith("GUID:"):
        return client_guid
    return f"GUID:{client_guid.upper()}"
