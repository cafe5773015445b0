"""The content of a certificate revocation list (RFC 5280 §5).

`read_list` accepts a list only if a configured authority signed it, and if the bridge understands
all its critical extensions. A name and a key together identify an authority.
"""

from __future__ import annotations

import datetime
import functools
from collections.abc import Iterable
from dataclasses import dataclass, replace

from cryptography import x509
from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives.hashes import MD5, SHA1
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from ibcm_bridge.authentication.certificate import extension_of
from ibcm_bridge.policy.trust import Authority

_UNDERSTOOD = (x509.DeltaCRLIndicator, x509.IssuingDistributionPoint)
"""Extensions of a list that may be critical (RFC 5280 §5.2.4, §5.2.5)."""


@dataclass(frozen=True, slots=True)
class Scope:
    """The certificates of an authority that a list covers (RFC 5280 §5.2.5)."""

    end_entities: bool = True
    authorities: bool = True
    points: frozenset[str] | None = None
    """Names of its distribution point. It covers only certificates with one of these names."""

    def covers(self, certificate: x509.Certificate) -> bool:
        """Return whether the list covers this certificate."""
        if not (self.authorities and self.end_entities):
            kind = self.authorities if is_authority(certificate) else self.end_entities
            if not kind:
                return False
        return self.points is None or not self.points.isdisjoint(_points(certificate))

    def includes(self, other: Scope) -> bool:
        """Return whether this scope covers every certificate that the other covers."""
        if other.end_entities > self.end_entities or other.authorities > self.authorities:
            return False
        if self.points is None:
            return True
        return other.points is not None and other.points <= self.points

    def describe(self) -> str:
        """The covered certificates, in words; at most 300 characters."""
        kind = "certificates"
        if not (self.end_entities and self.authorities):
            kind = "end-entity certificates" if self.end_entities else "CA certificates"
        if self.points is None:
            return kind
        urls = ", ".join(sorted(point.partition(" ")[2] for point in self.points))
        return f"{kind} that name the distribution point {urls[:200]}"


Key = tuple[Authority, Scope, bool]
"""The authority, the scope, and True for a delta list."""

type Age = tuple[datetime.datetime, int]
"""The date and the number. Greater is newer."""


@dataclass(frozen=True, slots=True)
class RevocationList:
    """The content of a list. The signature is verified only if `read_list` made it."""

    authority: Authority
    issuer: str
    scope: Scope
    number: int | None
    base_number: int | None
    """BaseCRLNumber of a delta list (RFC 5280 §5.2.4); None for a base list."""
    begins: datetime.datetime
    ends: datetime.datetime
    revoked: frozenset[int]
    removed: frozenset[int]
    """Serial numbers that a delta list removes from the base list."""

    @property
    def key(self) -> Key:
        """A list replaces only a list with the same key."""
        return self.authority, self.scope, self.base_number is not None

    @property
    def age(self) -> Age:
        """The date is compared first, as a restored backup reuses numbers."""
        return self.begins, self.number or 0

    def revokes_more_than(self, other: RevocationList) -> bool:
        """Return whether this list revokes a certificate that the other does not revoke."""
        return not (self.revoked <= other.revoked and self.removed >= other.removed)

    def with_revocations_of(self, other: RevocationList) -> RevocationList:
        """Return this list with all that either list revokes; a removal needs both."""
        return replace(
            self, revoked=self.revoked | other.revoked, removed=self.removed & other.removed
        )

    def describe(self) -> str:
        """The list as a phrase, with its issuer."""
        kind = "the revocation list" if self.base_number is None else "the delta list"
        return f"{kind} of {self.issuer}"


MALFORMED = (
    ValueError,
    UnsupportedAlgorithm,
    x509.DuplicateExtension,
    x509.UnsupportedGeneralNameType,
)
"""The errors of `cryptography` for a list or a certificate that it cannot parse."""


def read_list(
    crl: x509.CertificateRevocationList, authorities: Iterable[x509.Certificate]
) -> RevocationList | str:
    """Parse and verify a list. Return a message if it cannot be used."""
    signer = next((authority for authority in authorities if signed_by(crl, authority)), None)
    found = _read(crl, None if signer is None else key_of(signer))
    if signer is None and not isinstance(found, str):
        return f"the revocation list of {found.issuer} is not signed by a configured CA"
    return found


def read_claimed(crl: x509.CertificateRevocationList) -> RevocationList | str:
    """Parse a list without verifying its signature; its authority is the claimed one."""
    return _read(crl, None)


def _read(crl: x509.CertificateRevocationList, signer: Authority | None) -> RevocationList | str:
    """Parse a list; `signer` is None if the signature was not verified."""
    issuer = crl.issuer.rfc4514_string()[:200]
    try:
        weak = crl.signature_hash_algorithm
        if isinstance(weak, SHA1 | MD5):
            # As for certificates (protocol.md §9.1). `cryptography` does not verify it either.
            return f"the revocation list of {issuer} is signed with {weak.name}"
        if crl.next_update_utc is None:
            # RFC 5280 §5.1.2.5: nextUpdate is required; without it the list would never expire.
            return f"the revocation list of {issuer} has no nextUpdate"
        scope = _scope(crl)
        number = extension_of(crl, x509.CRLNumber)
        base = extension_of(crl, x509.DeltaCRLIndicator)
        claimed = extension_of(crl, x509.AuthorityKeyIdentifier)
        revoked, removed = _serials(crl)
    except MALFORMED as error:
        return f"the revocation list of {issuer} cannot be used: {error}"
    return RevocationList(
        authority=signer or (crl.issuer, (claimed.key_identifier if claimed else None) or b""),
        issuer=issuer,
        scope=scope,
        number=number.crl_number if number else None,
        base_number=base.crl_number if base else None,
        begins=crl.last_update_utc,
        ends=crl.next_update_utc,
        revoked=revoked,
        removed=removed if base else frozenset(),
    )


def signed_by(crl: x509.CertificateRevocationList, authority: x509.Certificate) -> bool:
    """Return whether this authority signed the list and has cRLSign (RFC 5280 §4.2.1.3)."""
    if authority.subject != crl.issuer:
        return False
    usage = extension_of(authority, x509.KeyUsage)
    if usage is not None and not usage.crl_sign:
        return False
    try:
        return crl.is_signature_valid(authority.public_key())  # type: ignore[arg-type]
    except (TypeError, ValueError, InvalidSignature, UnsupportedAlgorithm):
        return False


def _scope(crl: x509.CertificateRevocationList) -> Scope:
    for extension in crl.extensions:
        if extension.critical and not isinstance(extension.value, _UNDERSTOOD):
            raise ValueError(f"critical extension {extension.oid.dotted_string}")
    point = extension_of(crl, x509.IssuingDistributionPoint)
    if point is None:
        return Scope()
    if point.indirect_crl or point.only_some_reasons or point.only_contains_attribute_certs:
        raise ValueError("it is indirect, limited to some reasons, or for attribute certificates")
    if point.relative_name is not None:
        raise ValueError("its distribution point has a relative name")
    return Scope(
        end_entities=not point.only_contains_ca_certs,
        authorities=not point.only_contains_user_certs,
        points=None if point.full_name is None else frozenset(map(_text, point.full_name)),
    )


def _serials(crl: x509.CertificateRevocationList) -> tuple[frozenset[int], frozenset[int]]:
    revoked: set[int] = set()
    removed: set[int] = set()
    for entry in crl:
        reason = None
        for extension in entry.extensions:
            if isinstance(extension.value, x509.CRLReason):
                reason = extension.value.reason
            elif extension.critical:
                # RFC 5280 §5.3: a list with an unknown critical entry extension must not be used.
                raise ValueError(f"critical entry extension {extension.oid.dotted_string}")
        released = reason is x509.ReasonFlags.remove_from_crl
        (removed if released else revoked).add(entry.serial_number)
    return frozenset(revoked), frozenset(removed)


def _text(name: x509.GeneralName) -> str:
    return f"{type(name).__name__} {name.value}"


def _points(certificate: x509.Certificate) -> frozenset[str]:
    found = extension_of(certificate, x509.CRLDistributionPoints)
    return frozenset(_text(name) for point in found or () for name in point.full_name or ())


def is_authority(certificate: x509.Certificate) -> bool:
    """Return whether basicConstraints has cA (RFC 5280 §4.2.1.9)."""
    constraints = extension_of(certificate, x509.BasicConstraints)
    return constraints is not None and constraints.ca


@functools.lru_cache(maxsize=64)
def key_of(authority: x509.Certificate) -> Authority:
    """The name and the key of an authority. A renewed authority may have the same name and another
    key, and two authorities may share a key (RFC 5280 §6.3.3 (b) also compares the name).

    Cached: every handshake looks for the lists of the same few authorities.
    """
    key = authority.public_key()
    return authority.subject, key.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)


def is_superseded(base: RevocationList | None, delta: RevocationList | None) -> bool:
    """Return whether the base list is not older than the delta list, and so includes it (RFC 5280
    §5.2.3: the lists of one scope share their numbering)."""
    if base is None or delta is None or base.number is None or delta.number is None:
        return False
    return base.scope == delta.scope and base.number >= delta.number


def applies(base: RevocationList | None, delta: RevocationList | None) -> bool:
    """Return whether the delta list applies to this base list (RFC 5280 §5.2.4, §6.3.3 (c))."""
    if base is None or delta is None or delta.base_number is None or base.scope != delta.scope:
        return False
    return base.number is not None and base.number >= delta.base_number
