"""Whether a certificate is revoked: lists of serial numbers, signed and dated (RFC 5280 §5, §6.3).

OpenSSL builds and verifies the path; this room answers the one question that has a policy of its
own. So it can be answered again for a resumed session, with lists that were renewed meanwhile.

1. `read_list` takes a list only if a configured authority signed it and all that is critical in it
   is understood.
2. `Lists` holds the newest base list and the newest delta list of each authority and scope, and
   never goes back to an older one. An authority is a name and a key, never one of them alone.
3. `judge_revocation` asks about each certificate of a path. No answer is a refusal (protocol.md
   §9.2: a list that cannot be had counts as revoked), unless the policy file says otherwise: for a
   stated time (`grace`), or for a named authority (`without_crl`).
"""

from __future__ import annotations

import datetime
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from cryptography import x509
from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives.hashes import MD5, SHA1
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from ibcm_bridge.decisions import Deny, Reason
from ibcm_bridge.policy import Authority, Trust

RULE = "clients.trust"

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
        """Greater is newer. By date first: an authority restored from a backup counts anew."""
        return self.begins, self.number or 0

    def describe(self) -> str:
        """In words."""
        kind = "the revocation list" if self.base_number is None else "the delta list"
        return f"{kind} of {self.issuer}"


_MALFORMED = (
    ValueError,
    UnsupportedAlgorithm,
    x509.DuplicateExtension,
    x509.UnsupportedGeneralNameType,
)
"""What the library raises of a list that it cannot read."""


def read_list(
    crl: x509.CertificateRevocationList, authorities: Iterable[x509.Certificate]
) -> RevocationList | str:
    """A list, or why it cannot be used."""
    signer = next((one for one in authorities if signed_by(crl, one)), None)
    one = _read(crl, None if signer is None else key_of(signer))
    if signer is None and not isinstance(one, str):
        return f"the revocation list of {one.issuer} is not signed by an authority of this list"
    return one


def _read(crl: x509.CertificateRevocationList, signer: Authority | None) -> RevocationList | str:
    """What a list says. If it is not known who signed it: of the name and key that it claims."""
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
    except _MALFORMED as error:
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


@dataclass(frozen=True, slots=True)
class Lists:
    """The newest lists of all authorities of one `Trust`."""

    held: Mapping[Key, RevocationList] = field(default_factory=dict)
    of_others: Mapping[Key, tuple[RevocationList, x509.CertificateRevocationList]] = field(
        default_factory=dict
    )
    """Lists of authorities that are not configured, by what they claim. One that a client sends,
    and whose path ends at an anchor, may have signed them; that is found out when it is asked
    about."""

    def of(
        self, authority: x509.Certificate, certificate: x509.Certificate
    ) -> Sequence[RevocationList]:
        """The lists that speak of this certificate, of whatever scope; the newest first."""
        key = key_of(authority)
        lists = [one for one in self.held.values() if one.authority == key]
        if not lists:
            lists = [one for one, crl in self.of_others.values() if signed_by(crl, authority)]
        covering = (one for one in lists if one.scope.covers(certificate))
        return sorted(covering, key=lambda one: one.age, reverse=True)


@dataclass(frozen=True, slots=True)
class Renewal:
    """What came of reading lists again."""

    lists: Lists
    renewed: tuple[RevocationList, ...]
    problems: tuple[str, ...]
    early: bool
    """Whether a newer one was left because it is not valid yet."""


def renew(
    lists: Lists,
    trust: Trust,
    candidates: Iterable[tuple[str, x509.CertificateRevocationList]],
    now: datetime.datetime,
) -> Renewal:
    """Take what is newer; keep what is held where the candidate is worse, and say why.

    `candidates` are lists with the name of where they came from.
    """
    held = dict(lists.held)
    of_others = dict(lists.of_others)
    renewed: dict[Key, RevocationList] = {}
    problems = []
    early = False
    for source, crl in candidates:
        other = is_of_another(crl, trust)
        # Who signed the list of another is not known yet; it is older or newer all the same.
        authorities = (*trust.anchors, *trust.intermediates)
        one = _read(crl, None) if other else read_list(crl, authorities)
        if isinstance(one, str):
            problems.append(f"{source}: {one}")
            continue
        before = of_others[one.key][0] if other and one.key in of_others else held.get(one.key)
        if _takes_the_place(one, before, now):
            if other:
                of_others[one.key] = one, crl
            else:
                held[one.key] = renewed[one.key] = one
            early = early or (before is not None and now < before.begins)
        elif before is not None and one.age > before.age:
            early = True
            text = f"is not valid before {one.begins:%Y-%m-%d %H:%M} UTC; the one held is kept"
            problems.append(f"{source}: {one.describe()} {text}")
        elif before is not None and one.age < before.age:
            problems.append(f"{source}: {one.describe()} is older than the one held")
    return Renewal(Lists(held, of_others), tuple(renewed.values()), tuple(problems), early)


def _takes_the_place(
    one: RevocationList, before: RevocationList | None, now: datetime.datetime
) -> bool:
    """Whether it is newer and valid already; any list is better than one that is not valid yet."""
    if before is None:
        return True
    return one.begins <= now and (one.age > before.age or now < before.begins)


def is_of_another(crl: x509.CertificateRevocationList, trust: Trust) -> bool:
    """Whether a list names an issuer that is not configured."""
    return all(crl.issuer != one.subject for one in (*trust.anchors, *trust.intermediates))


def lists_of(trust: Trust, now: datetime.datetime) -> Lists:
    """The lists a trust was loaded with."""
    ordered = sorted(trust.crls, key=lambda crl: crl.last_update_utc)
    return renew(Lists(), trust, (("", crl) for crl in ordered), now).lists


Notes = tuple[str, ...]


def judge_revocation(
    trust: Trust, lists: Lists, path: Sequence[x509.Certificate], now: datetime.datetime
) -> Notes | Deny:
    """Refuse a path with a revoked certificate, or one of which it cannot be told.

    `path` leads from the end-entity certificate to the anchor. What is returned otherwise is what
    the audit should say: that a list was accepted in its grace, or that there is none by policy.
    """
    notes: list[str] = []
    for depth, certificate in enumerate(path):
        authority = path[min(depth + 1, len(path) - 1)]
        if depth and certificate is authority:
            break  # the anchor: trusted because the policy says so
        judged = _judge(trust, lists, certificate, authority, now)
        if isinstance(judged, Deny):
            return Deny(judged.reason, RULE, f"{judged.detail} (depth {depth})")
        notes += judged
    return tuple(dict.fromkeys(notes))


def _judge(
    trust: Trust,
    lists: Lists,
    certificate: x509.Certificate,
    authority: x509.Certificate,
    now: datetime.datetime,
) -> Notes | Deny:
    found = lists.of(authority, certificate)
    current = _Answers([one for one in found if one.begins <= now])
    # One that begins later takes nothing back and replaces nothing, but what it revokes is revoked.
    early = [one for one in found if now < one.begins]
    serial = certificate.serial_number
    if current.revoke(serial) or any(serial in one.revoked for one in early):
        return Deny(Reason.CERTIFICATE_REVOKED, RULE, "certificate revoked")
    name = authority.subject.rfc4514_string()[:200]
    said = current.newest()
    if not said:
        later = next((one for one in early if one.base_number is None), None)
        if later is not None:
            return Deny(Reason.REVOCATION_UNKNOWN, RULE, f"{later.describe()} is not valid yet")
        # By name and key: a client may send another authority of this name.
        because = trust.revocation.without_crl.get(key_of(authority))
        if because is None:
            return Deny(Reason.REVOCATION_UNKNOWN, RULE, f"no revocation list of {name}")
        return (f"no revocation list of {name}, by policy",)
    return _dates(trust, said, now)


class _Answers:
    """What the lists that cover a certificate say, scope by scope."""

    def __init__(self, lists: Sequence[RevocationList]) -> None:
        """`lists`: the newest first."""
        self._pairs: list[tuple[RevocationList | None, RevocationList | None]] = []
        held = {(one.scope, one.base_number is not None): one for one in lists}
        for scope in dict.fromkeys(one.scope for one in lists):
            base, delta = held.get((scope, False)), held.get((scope, True))
            self._pairs.append((base, None if is_superseded(base, delta) else delta))

    def revoke(self, serial: int) -> bool:
        """Whether any revokes it: a list of one scope says nothing against one of another."""
        return any(_is_revoked(serial, base, delta) for base, delta in self._pairs)

    def newest(self) -> Sequence[RevocationList]:
        """The newest base list, and the delta lists that add to it; nothing without a base."""
        bases = [base for base, _ in self._pairs if base is not None]
        if not bases:
            return ()
        chosen = max(bases, key=lambda one: one.age)
        deltas = [delta for base, delta in self._pairs if delta and base in (chosen, None)]
        return (chosen, *deltas)


def _dates(trust: Trust, lists: Sequence[RevocationList], now: datetime.datetime) -> Notes | Deny:
    notes = []
    for one in lists:
        if now > one.ends + trust.revocation.grace:
            text = f"{one.describe()} ended on {one.ends:%Y-%m-%d %H:%M} UTC"
            return Deny(Reason.REVOCATION_UNKNOWN, RULE, text)
        if now > one.ends:
            notes.append(f"{one.describe()} ended on {one.ends:%Y-%m-%d %H:%M} UTC, in its grace")
    return tuple(notes)


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


def _is_revoked(serial: int, base: RevocationList | None, delta: RevocationList | None) -> bool:
    """Whether a list revokes it. A delta that does not fit can add, and takes nothing back."""
    if delta is not None and serial in delta.revoked:
        return True
    if base is None or serial not in base.revoked:
        return False
    return not (delta is not None and serial in delta.removed and applies(base, delta))
