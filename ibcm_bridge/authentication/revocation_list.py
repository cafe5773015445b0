"""A revocation list, read: serial numbers, signed and dated (RFC 5280 §5).

`read_list` takes a list only if a configured authority signed it and all that is critical in it is
understood. An authority is a name and a key, never one of them alone.
"""

from __future__ import annotations

import datetime
from collections.abc import Iterable
from dataclasses import dataclass

from cryptography import x509
from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives.hashes import MD5, SHA1
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from ibcm_bridge.policy.trust import Authority

_UNDERSTOOD = (x509.DeltaCRLIndicator, x509.IssuingDistributionPoint)
"""Extensions of a list that may be critical (RFC 5280 §5.2.4, §5.2.5)."""


@dataclass(frozen=True, slots=True)
class Scope:
    """Which of an authority's certificates a list is about (RFC 5280 §5.2.5)."""

    end_entities: bool = True
    authorities: bool = True
    points: frozenset[str] | None = None
    """Names of its distribution point; only certificates that name one of them are covered."""

    def covers(self, certificate: x509.Certificate) -> bool:
        """Whether the list says anything of this certificate."""
        if not (self.authorities if is_authority(certificate) else self.end_entities):
            return False
        return self.points is None or not self.points.isdisjoint(_points(certificate))

    def describe(self) -> str:
        """Which certificates it covers, in words; at most 300 characters."""
        kind = "certificates"
        if not (self.end_entities and self.authorities):
            kind = "end-entity certificates" if self.end_entities else "certificates of authorities"
        if self.points is None:
            return kind
        urls = ", ".join(sorted(point.partition(" ")[2] for point in self.points))
        return f"{kind} that name the distribution point {urls[:200]}"


Key = tuple[Authority, Scope, bool]
"""The authority, the scope, and whether it is a delta list."""


@dataclass(frozen=True, slots=True)
class RevocationList:
    """What a list says. Only `read_list` says that the authority signed it."""

    authority: Authority
    issuer: str
    scope: Scope
    number: int | None
    base_number: int | None
    """Of a delta list: the base it was made for (RFC 5280 §5.2.4). None: this is a base list."""
    begins: datetime.datetime
    ends: datetime.datetime
    revoked: frozenset[int]
    removed: frozenset[int]
    """Of a delta list: serial numbers that are not revoked any more."""

    @property
    def key(self) -> Key:
        """What a newer list must share to take its place."""
        return self.authority, self.scope, self.base_number is not None

    @property
    def age(self) -> tuple[datetime.datetime, int]:
        """Greater is newer. By date first: a restored backup reuses numbers."""
        return self.begins, self.number or 0

    def describe(self) -> str:
        """In words."""
        kind = "the revocation list" if self.base_number is None else "the delta list"
        return f"{kind} of {self.issuer}"


MALFORMED = (
    ValueError,
    UnsupportedAlgorithm,
    x509.DuplicateExtension,
    x509.UnsupportedGeneralNameType,
)
"""What the library raises of a list or a certificate that it cannot read."""


def read_list(
    crl: x509.CertificateRevocationList, authorities: Iterable[x509.Certificate]
) -> RevocationList | str:
    """A list, or why it cannot be used."""
    signer = next((authority for authority in authorities if signed_by(crl, authority)), None)
    found = _read(crl, None if signer is None else key_of(signer))
    if signer is None and not isinstance(found, str):
        return f"the revocation list of {found.issuer} is not signed by an authority of this list"
    return found


def read_claimed(crl: x509.CertificateRevocationList) -> RevocationList | str:
    """A list of which it is not known who signed it: of the name and key that it claims."""
    return _read(crl, None)


def _read(crl: x509.CertificateRevocationList, signer: Authority | None) -> RevocationList | str:
    """What a list says; None where it is not known who signed it."""
    issuer = crl.issuer.rfc4514_string()[:200]
    try:
        weak = crl.signature_hash_algorithm
        if isinstance(weak, SHA1 | MD5):
            # As of certificates (protocol.md §9.1). The library would not verify it either.
            return f"the revocation list of {issuer} is signed with {weak.name}"
        if crl.next_update_utc is None:
            # RFC 5280 §5.1.2.5: nextUpdate must be there; without it a list would hold for ever.
            return f"the revocation list of {issuer} has no nextUpdate"
        scope = _scope(crl)
        number = _extension(crl, x509.CRLNumber)
        base = _extension(crl, x509.DeltaCRLIndicator)
        claimed = _extension(crl, x509.AuthorityKeyIdentifier)
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
    """Whether this authority signed the list, and may (RFC 5280 §4.2.1.3, cRLSign)."""
    if authority.subject != crl.issuer:
        return False
    try:
        usage = authority.extensions.get_extension_for_class(x509.KeyUsage).value
    except x509.ExtensionNotFound:
        usage = None
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
    point = _extension(crl, x509.IssuingDistributionPoint)
    if point is None:
        return Scope()
    if point.indirect_crl or point.only_some_reasons or point.only_contains_attribute_certs:
        raise ValueError("it is indirect, or not about all reasons, or not about certificates")
    if point.relative_name is not None:
        raise ValueError("its distribution point has a relative name")
    return Scope(
        end_entities=not point.only_contains_ca_certs,
        authorities=not point.only_contains_user_certs,
        points=None if point.full_name is None else frozenset(map(_text, point.full_name)),
    )


def _extension[T: x509.ExtensionType](
    crl: x509.CertificateRevocationList, kind: type[T]
) -> T | None:
    try:
        return crl.extensions.get_extension_for_class(kind).value
    except x509.ExtensionNotFound:
        return None


def _serials(crl: x509.CertificateRevocationList) -> tuple[frozenset[int], frozenset[int]]:
    revoked: set[int] = set()
    removed: set[int] = set()
    for entry in crl:
        reason = None
        for extension in entry.extensions:
            if isinstance(extension.value, x509.CRLReason):
                reason = extension.value.reason
            elif extension.critical:
                # RFC 5280 §5.3: a list with one that is not understood must not be used.
                raise ValueError(f"an entry with {extension.oid.dotted_string}")
        released = reason is x509.ReasonFlags.remove_from_crl
        (removed if released else revoked).add(entry.serial_number)
    return frozenset(revoked), frozenset(removed)


def _text(name: x509.GeneralName) -> str:
    return f"{type(name).__name__} {name.value}"


def _points(certificate: x509.Certificate) -> frozenset[str]:
    try:
        found = certificate.extensions.get_extension_for_class(x509.CRLDistributionPoints).value
    except x509.ExtensionNotFound:
        return frozenset()
    return frozenset(_text(name) for point in found for name in point.full_name or ())


def is_authority(certificate: x509.Certificate) -> bool:
    """Whether basicConstraints say so (RFC 5280 §4.2.1.9)."""
    try:
        return certificate.extensions.get_extension_for_class(x509.BasicConstraints).value.ca
    except x509.ExtensionNotFound:
        return False


def key_of(authority: x509.Certificate) -> Authority:
    """What a list is held by: a renewed authority may have the same name and another key, and two
    authorities may share a key (RFC 5280 §6.3.3 (b) asks for the issuer's name too)."""
    key = authority.public_key()
    return authority.subject, key.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)


def is_superseded(base: RevocationList | None, delta: RevocationList | None) -> bool:
    """Whether the base was made after the delta, and so says all of it (RFC 5280 §5.2.3: lists of
    one scope are numbered together)."""
    if base is None or delta is None or base.number is None or delta.number is None:
        return False
    return base.scope == delta.scope and base.number >= delta.number


def applies(base: RevocationList | None, delta: RevocationList | None) -> bool:
    """Whether a delta list may be combined with this base (RFC 5280 §5.2.4, §6.3.3 (c))."""
    if base is None or delta is None or delta.base_number is None or base.scope != delta.scope:
        return False
    return base.number is not None and base.number >= delta.base_number
