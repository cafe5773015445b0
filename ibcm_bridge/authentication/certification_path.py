"""What a certification path must be besides well-built: well-formed, strong enough, not revoked.

OpenSSL builds the path and verifies signatures, dates, constraints and purposes (RFC 5280 §6). Here
is judged what has floors and a policy of ours, for a handshake and again for a resumed session.

Which deviations from RFC 5280 are refused is a table of ours and not OpenSSL's X509_STRICT, whose
verdicts differ between its versions: 3.0 refuses an empty subject whose subjectAltName is not
critical and basicConstraints that are not critical, as Windows authorities make both, and 4.0 does
not. Refused is what lets two readers see different things in one certificate. What RFC 5280 asks
only of authorities, for others to find paths faster, is not: key identifiers, and whether an
extension that everybody understands is critical.
"""

from __future__ import annotations

import datetime
import functools
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from cryptography import x509
from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric import ec, ed448, ed25519, rsa
from cryptography.hazmat.primitives.hashes import MD5, SHA1

from ibcm_bridge.authentication.revocation import Lists, Notes, judge_revocation
from ibcm_bridge.authentication.revocation_list import MALFORMED
from ibcm_bridge.decisions.denial import Deny, Reason
from ibcm_bridge.policy.trust import Trust

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
            return Deny(Reason.CERTIFICATE_WEAK, trust.rule, f"{weakness} (depth {depth})")
        malformed = malformation(certificate, issues=depth > 0)
        if malformed is not None:
            return Deny(Reason.CERTIFICATE_INVALID, trust.rule, f"{malformed} (depth {depth})")
    return judge_revocation(trust, lists, path, now)


def issued(issuer: x509.Certificate, certificate: x509.Certificate) -> bool:
    """Whether a certificate bears the name and the signature of this issuer."""
    try:
        certificate.verify_directly_issued_by(issuer)
    except (ValueError, TypeError, InvalidSignature, UnsupportedAlgorithm):
        return False
    return True


@dataclass(frozen=True, slots=True)
class _Form:
    """What the table below is about."""

    issues: bool
    """Whether another certificate of the path was issued by it."""
    version_3: bool
    extensions: int
    subject: bool
    issuer: bool
    """Whether these names have anything in them."""
    authority: bool
    """Whether basicConstraints say that it is one."""
    signs_certificates: bool | None
    signs_lists: bool
    """As keyUsage says; None: there is none."""
    names: int | None
    """How many a subjectAltName has; None: there is none."""


@dataclass(frozen=True, slots=True)
class _Malformation:
    """One way in which a certificate of a path is refused."""

    text: str
    """After the certificate's name."""
    section: str
    """Of RFC 5280."""
    found: Callable[[_Form], bool]


MALFORMATIONS = (
    # A reader that goes by the version does not look at the extensions, constraints among them.
    _Malformation(
        "has extensions and is not of version 3",
        "4.1.2.9",
        lambda form: form.extensions > 0 and not form.version_3,
    ),
    # Chains are followed by name. With an empty one anything could be the issuer.
    _Malformation("has an empty issuer name", "4.1.2.4", lambda form: not form.issuer),
    _Malformation(
        "has an empty subject, and issues certificates or revocation lists",
        "4.1.2.6",
        lambda form: not form.subject and (form.issues or form.authority or form.signs_lists),
    ),
    _Malformation(
        "has neither a subject nor a subjectAltName",
        "4.1.2.6",
        lambda form: not form.subject and form.names is None,
    ),
    # Nobody knows whether the subject counts then.
    _Malformation("has an empty subjectAltName", "4.2.1.6", lambda form: form.names == 0),
    # OpenSSL alone lets an anchor be without (version 1, Netscape's extension).
    _Malformation(
        "is not an authority by its basicConstraints",
        "6.1.4 (k)",
        lambda form: form.issues and not form.authority,
    ),
    _Malformation(
        "may not sign certificates by its keyUsage",
        "6.1.4 (n)",
        lambda form: form.issues and form.signs_certificates is False,
    ),
    # A reader that goes by keyUsage alone takes it for an authority.
    _Malformation(
        "may sign certificates by its keyUsage, and is not an authority by its basicConstraints",
        "4.2.1.9",
        lambda form: not form.authority and form.signs_certificates is True,
    ),
)
"""What OpenSSL checks with X509_STRICT, or some of its versions do, where it matters who reads."""


def malformation(certificate: x509.Certificate, *, issues: bool) -> str | None:
    """In which way a certificate of a path is malformed, after its name or "it".

    `issues`: it is not the end-entity certificate.
    """
    return (
        _authority_malformation(certificate) if issues else _malformation(certificate, issues=False)
    )


@functools.lru_cache(maxsize=64)
def _authority_malformation(certificate: x509.Certificate) -> str | None:
    """The same. Paths have few authorities, and each is looked at in every handshake (30 us)."""
    return _malformation(certificate, issues=True)


def _malformation(certificate: x509.Certificate, *, issues: bool) -> str | None:
    try:
        form = _form(certificate, issues=issues)
    except MALFORMED:
        return "has an extension that cannot be read (RFC 5280 section 4.2)"
    row = next((row for row in MALFORMATIONS if row.found(form)), None)
    return None if row is None else f"{row.text} (RFC 5280 section {row.section})"


def _form(certificate: x509.Certificate, *, issues: bool) -> _Form:
    constraints = _extension(certificate, x509.BasicConstraints)
    usage = _extension(certificate, x509.KeyUsage)
    names = _extension(certificate, x509.SubjectAlternativeName)
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


def _extension[T: x509.ExtensionType](certificate: x509.Certificate, kind: type[T]) -> T | None:
    try:
        return certificate.extensions.get_extension_for_class(kind).value
    except x509.ExtensionNotFound:
        return None


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
