"""What a certification path must be besides well-built: strong enough, and not revoked.

OpenSSL builds the path and verifies signatures, dates, constraints and purposes (RFC 5280 §6). Here
is judged what has floors and a policy of ours, for a handshake and again for a resumed session.
"""

from __future__ import annotations

import datetime
from collections.abc import Sequence

from cryptography import x509
from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric import ec, ed448, ed25519, rsa
from cryptography.hazmat.primitives.hashes import MD5, SHA1

from ibcm_bridge.decisions import Deny, Reason
from ibcm_bridge.policy import Trust
from ibcm_bridge.revocation import RULE, Lists, Notes, judge_revocation

MIN_RSA_BITS = 2048
MIN_EC_BITS = 256
"""NIST SP 800-57 part 1, table 2: 112 bits of strength."""


def judge_path(
    trust: Trust, lists: Lists, path: Sequence[x509.Certificate], now: datetime.datetime
) -> Notes | Deny:
    """Refuse a path that OpenSSL has built, or say what the audit should note of it.

    `path` leads from the end-entity certificate to the anchor.
    """
    for depth, certificate in enumerate(path):
        is_anchor = depth and depth == len(path) - 1
        # Nobody relies on the signature of an anchor: it is trusted as it is.
        weakness = weak_key(certificate) or (None if is_anchor else weak_signature(certificate))
        if weakness is not None:
            return Deny(Reason.CERTIFICATE_WEAK, RULE, f"{weakness} (depth {depth})")
    return judge_revocation(trust, lists, path, now)


def issued(issuer: x509.Certificate, certificate: x509.Certificate) -> bool:
    """Whether a certificate bears the name and the signature of this issuer."""
    try:
        certificate.verify_directly_issued_by(issuer)
    except (ValueError, TypeError, InvalidSignature, UnsupportedAlgorithm):
        return False
    return True


def weak_key(certificate: x509.Certificate) -> str | None:
    """What is too weak about its key, after "it has"."""
    try:
        key = certificate.public_key()
    except (ValueError, UnsupportedAlgorithm):
        return "a key of an unknown kind"
    if isinstance(key, rsa.RSAPublicKey):
        if key.key_size < MIN_RSA_BITS:
            return f"an RSA key of {key.key_size} bits, fewer than {MIN_RSA_BITS}"
    elif isinstance(key, ec.EllipticCurvePublicKey):
        if key.key_size < MIN_EC_BITS:
            return f"an EC key of {key.key_size} bits, fewer than {MIN_EC_BITS}"
    elif not isinstance(key, ed25519.Ed25519PublicKey | ed448.Ed448PublicKey):
        return f"a key that is none of RSA, EC, Ed25519, Ed448 ({type(key).__name__})"
    return None


def weak_signature(certificate: x509.Certificate) -> str | None:
    """What is too weak about its signature, after "it has" (protocol.md §9.1: SHA-2)."""
    try:
        algorithm = certificate.signature_hash_algorithm
    except UnsupportedAlgorithm:
        return "a signature of an unknown kind"
    if isinstance(algorithm, SHA1 | MD5):
        return f"a signature with {algorithm.name}"
    return None
