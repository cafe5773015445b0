"""Checks of a certification path beyond OpenSSL's: strength, form and revocation.

OpenSSL builds the path and verifies signatures, dates, constraints and purposes (RFC 5280 §6). This
module checks minimum strengths, the form and the revocation policy, in the handshake and at each
resumption.

The table of refused deviations from RFC 5280 replaces OpenSSL's X509_STRICT, which differs between
versions: 3.0 refuses a non-critical subjectAltName with an empty subject, and non-critical
basicConstraints, and 4.0 accepts them. Windows authorities make both. The table refuses deviations
that two implementations can interpret differently. It accepts deviations from rules that only help
others to build paths: missing key identifiers, and the criticality of extensions that every
implementation understands.
"""

from __future__ import annotations

import datetime
import functools
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from cryptography import x509
from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric import ec, ed448, ed25519, padding, rsa
from cryptography.hazmat.primitives.hashes import MD5, SHA1

from ibcm_bridge.authentication.certificate import extension_of
from ibcm_bridge.authentication.revocation import Lists, Notes, judge_revocation, list_ends
from ibcm_bridge.authentication.revocation_list import MALFORMED
from ibcm_bridge.decisions.denial import Deny, Reason
from ibcm_bridge.policy.trust import Trust

MIN_RSA_BITS = 2048
MIN_EC_BITS = 256
"""NIST SP 800-57 part 1, table 2: at least 112 bits of strength."""


def judge_path(
    trust: Trust, lists: Lists, path: Sequence[x509.Certificate], now: datetime.datetime
) -> Notes | Deny:
    """Check a path that OpenSSL has built. Return a refusal, or notes for the audit.

    `path` begins with the end-entity certificate and ends with the anchor. OpenSSL ends a path at
    any certificate of its store that looks self-signed, so this also checks that it is an anchor.
    """
    if path[-1] not in trust.anchors:
        text = "the path does not end at a trust anchor"
        return Deny(Reason.CERTIFICATE_UNTRUSTED, trust.rule, f"{text} (depth {len(path) - 1})")
    for depth, certificate in enumerate(path):
        is_anchor = depth > 0 and depth == len(path) - 1
        find = _defect_of_authority if depth else _defect
        found = find(certificate, depth > 0, is_anchor)
        if found is not None:
            return Deny(found.reason, trust.rule, f"{found.text} (depth {depth})")
    return judge_revocation(trust, lists, path, now)


def is_in_time(path: Sequence[x509.Certificate], now: datetime.datetime) -> bool:
    """Return whether every certificate is valid now, by the dates as OpenSSL compares them."""
    return all(
        certificate.not_valid_before_utc <= now < certificate.not_valid_after_utc
        for certificate in path
    )


def accepted_until(
    trust: Trust, lists: Lists, path: Sequence[x509.Certificate], now: datetime.datetime
) -> datetime.datetime:
    """Return until when an accepted path stays accepted, unless a list or the policy is newer.

    It is the first end of a certificate of the path, or of any list: not only of those that were
    used, so the path may have to be judged once more than necessary.
    """
    ends = (certificate.not_valid_after_utc for certificate in path)
    return min((*ends, *list_ends(trust, lists, now)))


class _Defect(NamedTuple):
    """Why a certificate is refused in any path."""

    reason: Reason
    text: str


def _defect(certificate: x509.Certificate, issues: bool, is_anchor: bool) -> _Defect | None:
    # No one verifies the signature of an anchor: it is trusted as configured.
    weakness = weak_key(certificate) or (None if is_anchor else weak_signature(certificate))
    if weakness is not None:
        return _Defect(Reason.CERTIFICATE_WEAK, weakness)
    malformed = malformation(certificate, issues=issues)
    return None if malformed is None else _Defect(Reason.CERTIFICATE_INVALID, malformed)


_defect_of_authority = functools.lru_cache(maxsize=64)(_defect)
"""Cached: every handshake checks the same few authorities."""


def issued(issuer: x509.Certificate, certificate: x509.Certificate) -> bool:
    """Return whether a certificate has the name and the signature of this issuer."""
    try:
        certificate.verify_directly_issued_by(issuer)
    except (ValueError, TypeError, InvalidSignature, UnsupportedAlgorithm):
        return False
    return True


def is_self_signed(certificate: x509.Certificate) -> bool:
    """Return whether the key of a certificate verifies its signature, whatever its names are.

    Names do not decide: an authority that renews its key issues itself a certificate that its old
    key signs (RFC 5280 §3.2), and OpenSSL takes names in different letters or encodings as equal.
    """
    signed = certificate.signature, certificate.tbs_certificate_bytes
    try:
        digest = certificate.signature_hash_algorithm
        match certificate.public_key(), certificate.signature_algorithm_parameters:
            case rsa.RSAPublicKey() as key, (padding.PKCS1v15() | padding.PSS()) as how if digest:
                key.verify(*signed, how, digest)
            case ec.EllipticCurvePublicKey() as key, ec.ECDSA() as how:
                key.verify(*signed, how)
            case (ed25519.Ed25519PublicKey() | ed448.Ed448PublicKey()) as key, None:
                key.verify(*signed)
            case _:
                return False
    except (ValueError, InvalidSignature, UnsupportedAlgorithm):
        return False
    return True


@dataclass(frozen=True, slots=True)
class _Form:
    """The properties of a certificate that the table below checks."""

    issues: bool
    """True if it issued another certificate of the path."""
    version_3: bool
    extensions: int
    subject: bool
    issuer: bool
    """True if the name is not empty."""
    authority: bool
    """True if basicConstraints has cA."""
    signs_certificates: bool | None
    signs_lists: bool
    """From keyUsage; `signs_certificates` is None without keyUsage."""
    names: int | None
    """Number of names in the subjectAltName; None without one."""


@dataclass(frozen=True, slots=True)
class _Malformation:
    """A row of the table: a deviation that is refused."""

    text: str
    """A phrase with the certificate as its subject."""
    section: str
    """The section of RFC 5280."""
    found: Callable[[_Form], bool]


MALFORMATIONS = (
    # An implementation that checks the version ignores the extensions, including constraints.
    _Malformation(
        "has extensions but is not version 3",
        "4.1.2.9",
        lambda form: form.extensions > 0 and not form.version_3,
    ),
    # Paths are built by name. With an empty name, any certificate could be the issuer.
    _Malformation("has an empty issuer name", "4.1.2.4", lambda form: not form.issuer),
    _Malformation(
        "has an empty subject but issues certificates or revocation lists",
        "4.1.2.6",
        lambda form: not form.subject and (form.issues or form.authority or form.signs_lists),
    ),
    _Malformation(
        "has neither a subject nor a subjectAltName",
        "4.1.2.6",
        lambda form: not form.subject and form.names is None,
    ),
    # It is undefined whether the subject is then the name.
    _Malformation("has an empty subjectAltName", "4.2.1.6", lambda form: form.names == 0),
    # Only OpenSSL accepts anchors without it (version 1, Netscape's extension).
    _Malformation(
        "is not a CA according to its basicConstraints",
        "6.1.4 (k)",
        lambda form: form.issues and not form.authority,
    ),
    _Malformation(
        "may not sign certificates according to its keyUsage",
        "6.1.4 (n)",
        lambda form: form.issues and form.signs_certificates is False,
    ),
    # An implementation that checks only keyUsage accepts it as an authority.
    _Malformation(
        "may sign certificates according to its keyUsage but is not a CA",
        "4.2.1.9",
        lambda form: not form.authority and form.signs_certificates is True,
    ),
)
"""The checks of X509_STRICT in some version of OpenSSL, where implementations can differ."""


def malformation(certificate: x509.Certificate, *, issues: bool) -> str | None:
    """The first deviation of a certificate, as a phrase with the certificate as its subject.

    `issues`: True if it is not the end-entity certificate.
    """
    try:
        form = _form(certificate, issues=issues)
    except MALFORMED:
        return "has an extension that cannot be read (RFC 5280 section 4.2)"
    row = next((row for row in MALFORMATIONS if row.found(form)), None)
    return None if row is None else f"{row.text} (RFC 5280 section {row.section})"


def _form(certificate: x509.Certificate, *, issues: bool) -> _Form:
    constraints = extension_of(certificate, x509.BasicConstraints)
    usage = extension_of(certificate, x509.KeyUsage)
    names = extension_of(certificate, x509.SubjectAlternativeName)
    return _Form(
        issues=issues,
        version_3=certificate.version is x509.Version.v3,
        extensions=len(certificate.extensions),
        subject=len(certificate.subject.rdns) > 0,
        issuer=len(certificate.issuer.rdns) > 0,
        authority=constraints is not None and constraints.ca,
        signs_certificates=None if usage is None else usage.key_cert_sign,
        signs_lists=usage is not None and usage.crl_sign,
        names=None if names is None else len(tuple(names)),
    )


def weak_key(certificate: x509.Certificate) -> str | None:
    """The weakness of the key, as an object of "has"; None if it is strong enough."""
    try:
        key = certificate.public_key()
    except (ValueError, UnsupportedAlgorithm):
        return "a key of an unknown type"
    if isinstance(key, rsa.RSAPublicKey):
        if key.key_size < MIN_RSA_BITS:
            return f"an RSA key of {key.key_size} bits, fewer than {MIN_RSA_BITS}"
    elif isinstance(key, ec.EllipticCurvePublicKey):
        if key.key_size < MIN_EC_BITS:
            return f"an EC key of {key.key_size} bits, fewer than {MIN_EC_BITS}"
    elif not isinstance(key, ed25519.Ed25519PublicKey | ed448.Ed448PublicKey):
        return f"a key other than RSA, EC, Ed25519, Ed448 ({type(key).__name__})"
    return None


def weak_signature(certificate: x509.Certificate) -> str | None:
    """The weakness of the signature, as an object of "has" (protocol.md §9.1: SHA-2)."""
    try:
        algorithm = certificate.signature_hash_algorithm
    except UnsupportedAlgorithm:
        return "a signature of an unknown type"
    if isinstance(algorithm, SHA1 | MD5):
        return f"a signature with {algorithm.name}"
    return None
