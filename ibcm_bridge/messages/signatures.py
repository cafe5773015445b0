"""Signatures of ConfigMgr clients (protocol.md §1.6).

1. RSA with PKCS#1 v1.5 padding (RFC 8017 §8.2), over NUL-terminated UTF-16LE text or over the
   payload exactly as sent.
2. In CryptoAPI's little-endian byte order, the reverse of PKCS#1's, and in hexadecimal.
3. With or without the hash's identifier (DigestInfo): the messaging SDK has an option for
   CryptoAPI's CRYPT_NOHASHOID.

SHA-256, SHA-384 and SHA-512 are accepted. A signature with SHA-1 or MD5 does not verify.
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
"""The DER prefix of the hash (RFC 8017 §9.2, note 1)."""

MIN_KEY_BITS = 2_048
MAX_KEY_BITS = 8_192
"""Larger keys are slow to verify and not more secure in practice; OpenSSL accepts 16,384 bits."""
MAX_EXPONENT = 1 << 256
"""FIPS 186-5 §A.1.1; larger exponents are slow, too."""

_BLOB_HEADER = bytes.fromhex("06020000")
_BLOB_ALGORITHMS = (bytes.fromhex("00a40000"), bytes.fromhex("00240000"))
"""CALG_RSA_KEYX and CALG_RSA_SIGN ([MS-WCCE], PUBLICKEYBLOB of CryptoAPI)."""


def terminated(text: str) -> bytes:
    """The signed bytes of a client GUID, a timestamp or a token: UTF-16LE and a NUL."""
    return text.encode("utf-16-le") + b"\0\0"


def verifies(key: RSAPublicKey, signature: str, data: bytes) -> bool:
    """Return whether the hexadecimal signature of the data verifies with the key."""
    sent = _sent(signature)
    return sent is not None and _verifies(key, sent, data)


def verifies_again(public_key: bytes, signature: str, data: bytes) -> bool:
    """The same, for a key in DER and a signature that a client sends with each message.

    A success is remembered. It only says that this signature of this data verifies with this key,
    which stays true: whose key it is, and whether it may be used, is decided for each message.
    """
    sent = _sent(signature)
    try:
        return sent is not None and _verified(public_key, sent, data)
    except _DoesNotVerifyError:
        return False


REMEMBERED = 4_096
"""Signatures that verified, about 1 KB each; the least recently used one is forgotten."""


class _DoesNotVerifyError(Exception):
    """Raised because `lru_cache` does not remember an exception."""


# The bytes of the signature and not its text, which may have any amount of white space.
@lru_cache(maxsize=REMEMBERED)
def _verified(public_key: bytes, sent: bytes, data: bytes) -> bool:
    key = rsa_key(public_key)
    if key is None or not _verifies(key, sent, data):
        raise _DoesNotVerifyError
    return True


def _sent(signature: str) -> bytes | None:
    """The signature in the order of PKCS#1; None if it is not hexadecimal."""
    try:
        return bytes.fromhex(signature)[::-1]
    except ValueError:
        return None


def _verifies(key: RSAPublicKey, sent: bytes, data: bytes) -> bool:
    # RFC 8017 §8.2.2, step 1. OpenSSL recovers a signature without its leading zeros, too.
    if len(sent) != (key.key_size + 7) // 8:
        return False
    try:
        whole = key.recover_data_from_signature(sent, PKCS1v15(), None)
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
    """The RSA key of a SubjectPublicKeyInfo (DER); None for another algorithm or a weak key."""
    try:
        key = load_der_public_key(public_key)
    except (ValueError, UnsupportedAlgorithm):
        return None
    if not isinstance(key, RSAPublicKey) or not MIN_KEY_BITS <= key.key_size <= MAX_KEY_BITS:
        return None
    exponent = key.public_numbers().e
    # RFC 8017 §3.1. OpenSSL accepts exponent 1, with which every message is its own signature.
    return key if 3 <= exponent < MAX_EXPONENT and exponent % 2 else None


def read_public_key_blob(text: str) -> bytes | None:
    """CryptoAPI's PUBLICKEYBLOB (hexadecimal) -> SubjectPublicKeyInfo (DER); None if invalid."""
    try:
        blob = bytes.fromhex(text)
    except ValueError:
        return None
    return _encoded_key(blob) if len(blob) <= _LARGEST_BLOB else None


_LARGEST_BLOB = 20 + MAX_KEY_BITS // 8


# A client sends its key with each signed message.
@lru_cache(maxsize=REMEMBERED)
def _encoded_key(blob: bytes) -> bytes | None:
    if blob[:4] != _BLOB_HEADER or blob[4:8] not in _BLOB_ALGORITHMS or blob[8:12] != b"RSA1":
        return None
    bits, exponent = (int.from_bytes(blob[at : at + 4], "little") for at in (12, 16))
    if bits != 8 * len(blob[20:]):
        return None
    modulus = int.from_bytes(blob[20:], "little")
    if modulus.bit_length() != bits:
        return None
    try:
        key = RSAPublicNumbers(exponent, modulus).public_key()
    except ValueError:
        return None
    return key.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
