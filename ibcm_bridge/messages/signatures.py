"""Signatures as ConfigMgr's clients make them (protocol.md §1.6).

1. RSA with PKCS#1 v1.5 padding (RFC 8017 §8.2), over text in UTF-16LE with the NUL that ends it, or
   over the payload exactly as it is sent.
2. In CryptoAPI's byte order, which is the reverse of everybody else's, and in hexadecimal.
3. With the hash's identifier before the hash (DigestInfo), or without: CryptoAPI's
   CRYPT_NOHASHOID, which the messaging SDK has an option for.

SHA-256 and longer are taken. What is signed with SHA-1 or MD5 is as good as unsigned.
"""

from __future__ import annotations

import hashlib
from functools import lru_cache

from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.padding import PKCS1v15
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey, RSAPublicNumbers
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    PublicFormat,
    load_der_public_key,
)

_DIGEST_INFO = {
    "sha256": bytes.fromhex("3031300d060960864801650304020105000420"),
    "sha384": bytes.fromhex("3041300d060960864801650304020205000430"),
    "sha512": bytes.fromhex("3051300d060960864801650304020305000440"),
}
"""What stands before the hash (RFC 8017 §9.2, note 1)."""

MIN_KEY_BITS = 2_048
MAX_KEY_BITS = 8_192
"""A larger key only costs time: OpenSSL takes as much as 16,384 bits."""
MAX_EXPONENT = 1 << 256
"""FIPS 186-5 §A.1.1; a larger one only costs time too."""

_BLOB_HEADER = bytes.fromhex("06020000")
_BLOB_ALGORITHMS = (bytes.fromhex("00a40000"), bytes.fromhex("00240000"))
"""CALG_RSA_KEYX and CALG_RSA_SIGN ([MS-WCCE], PUBLICKEYBLOB of CryptoAPI)."""


def terminated(text: str) -> bytes:
    """How a client GUID, a timestamp or a token is signed: UTF-16LE and a NUL."""
    return text.encode("utf-16-le") + b"\0\0"


def verifies(key: RSAPublicKey, signature: str, data: bytes) -> bool:
    """Whether the signature, in hexadecimal, is the key's, and of this data."""
    try:
        whole = key.recover_data_from_signature(bytes.fromhex(signature)[::-1], PKCS1v15(), None)
    except (InvalidSignature, ValueError, UnsupportedAlgorithm):
        return False
    for name, before in _DIGEST_INFO.items():
        digest_size = before[-1]
        if len(whole) in (digest_size, len(before) + digest_size):
            digest = hashlib.new(name, data).digest()
            return whole in (digest, before + digest)
    return False


@lru_cache(maxsize=4_096)
def rsa_key(public_key: bytes) -> RSAPublicKey | None:
    """The RSA key in a SubjectPublicKeyInfo (DER); None for another kind, or a weak one."""
    try:
        key = load_der_public_key(public_key)
    except (ValueError, UnsupportedAlgorithm):
        return None
    if not isinstance(key, RSAPublicKey) or not MIN_KEY_BITS <= key.key_size <= MAX_KEY_BITS:
        return None
    exponent = key.public_numbers().e
    # RFC 8017 §3.1. With 1, which OpenSSL reads, everything would be a signature of itself.
    return key if 3 <= exponent < MAX_EXPONENT and exponent % 2 else None


def read_public_key_blob(text: str) -> bytes | None:
    """CryptoAPI's PUBLICKEYBLOB, hexadecimal -> SubjectPublicKeyInfo, DER; None for no RSA key."""
    try:
        blob = bytes.fromhex(text)
    except ValueError:
        return None
    if blob[:4] != _BLOB_HEADER or blob[4:8] not in _BLOB_ALGORITHMS or blob[8:12] != b"RSA1":
        return None
    bits, exponent = (int.from_bytes(blob[at : at + 4], "little") for at in (12, 16))
    if bits > MAX_KEY_BITS or bits != 8 * len(blob[20:]):
        return None
    modulus = int.from_bytes(blob[20:], "little")
    if modulus.bit_length() != bits:
        return None
    try:
        key = RSAPublicNumbers(exponent, modulus).public_key()
    except ValueError:
        return None
    return key.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
