"""Revocation of certificates by CRLs, base and delta (RFC 5280 §5, §6.3).

OpenSSL builds and verifies the path. The revocation check is separate because it has its own
policy, and so that a resumed session is checked against the current lists.

1. `revocation_list` parses one list.
2. `Lists` has the newest base list and the newest delta list of each authority and scope. An older
   list never replaces a newer one.
3. `judge_revocation` checks each certificate of a path. Without a current list it refuses the path
   (protocol.md §9.2: if no list is available, the certificate is treated as revoked), unless the
   policy file allows it for some time (`grace`) or for an authority (`without_crl`).
"""

from __future__ import annotations

import datetime
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from cryptography import x509

from ibcm_bridge.authentication.revocation_list import (
    Age,
    Key,
    RevocationList,
    applies,
    is_superseded,
    key_of,
    read_claimed,
    read_list,
    signed_by,
)
from ibcm_bridge.decisions.denial import Deny, Reason
from ibcm_bridge.policy.trust import Trust


@dataclass(frozen=True, slots=True)
class Lists:
    """The newest lists for one `Trust`."""

    held: Mapping[Key, RevocationList] = field(default_factory=dict)
    claimed: Mapping[Key, tuple[RevocationList, x509.CertificateRevocationList]] = field(
        default_factory=dict
    )
    """Lists whose issuer is not configured, by the key that they claim. An authority that a client
    sends may have signed them; `issued_by` verifies the signature."""

    def covering(
        self, authority: x509.Certificate, certificate: x509.Certificate
    ) -> Sequence[RevocationList]:
        """The lists whose scope includes this certificate, the newest first."""
        found = (held for held in self.issued_by(authority) if held.scope.covers(certificate))
        return sorted(found, key=lambda held: held.age, reverse=True)

    def issued_by(self, authority: x509.Certificate) -> Sequence[RevocationList]:
        """All lists of an authority."""
        key = key_of(authority)
        lists = [held for held in self.held.values() if held.authority == key]
        if lists:
            return lists
        return [held for held, crl in self.claimed.values() if signed_by(crl, authority)]


@dataclass(frozen=True, slots=True)
class RenewedLists:
    """The result of a renewal."""

    lists: Lists
    renewed: tuple[RevocationList, ...]
    problems: tuple[str, ...]
    early: bool
    """True if a newer list is not valid yet."""


def renew(
    lists: Lists,
    trust: Trust,
    candidates: Iterable[tuple[str, x509.CertificateRevocationList]],
    now: datetime.datetime,
) -> RenewedLists:
    """Replace lists by newer candidates. Keep the others and report why.

    `candidates` are pairs of a source and a list. Older lists beside the current one are normal, as
    in a folder with all that a CA has published.
    """
    held = dict(lists.held)
    claimed = dict(lists.claimed)
    renewed: dict[Key, RevocationList] = {}
    problems = []
    older: list[tuple[Key, str]] = []
    seen: set[tuple[Key, Age]] = set()
    early = False
    for source, crl in candidates:
        other = is_of_unknown_issuer(crl, trust)
        # The signer of such a list is not known yet, but its age is.
        authorities = (*trust.anchors, *trust.intermediates)
        candidate = read_claimed(crl) if other else read_list(crl, authorities)
        if isinstance(candidate, str):
            problems.append(f"{source}: {candidate}")
            continue
        seen.add((candidate.key, candidate.age))
        before = (
            claimed[candidate.key][0]
            if other and candidate.key in claimed
            else held.get(candidate.key)
        )
        successor = _successor(candidate, before, now, verified=not other)
        if successor is not None:
            if other:
                claimed[candidate.key] = successor, crl
            else:
                held[candidate.key] = renewed[candidate.key] = successor
            early = early or (before is not None and now < before.begins)
        elif before is not None and candidate.age > before.age:
            early = True
            text = f"is not valid before {candidate.begins:%Y-%m-%d %H:%M} UTC; keeping the old one"
            problems.append(f"{source}: {candidate.describe()} {text}")
        elif before is not None and candidate.age < before.age:
            text = f"{source}: {candidate.describe()} is older than the current one"
            older.append((candidate.key, text))
        elif before is not None and before.revokes_more_than(candidate):
            text = "has the date and number of the current one, and lacks revocations of it"
            problems.append(f"{source}: {candidate.describe()} {text}")
    ages = {key: listed.age for key, (listed, _) in claimed.items()}
    ages |= {key: listed.age for key, listed in held.items()}
    problems += [text for key, text in older if (key, ages[key]) not in seen]
    return RenewedLists(Lists(held, claimed), tuple(renewed.values()), tuple(problems), early)


def _successor(
    candidate: RevocationList,
    before: RevocationList | None,
    now: datetime.datetime,
    *,
    verified: bool,
) -> RevocationList | None:
    """Return the list to use instead of `before`, or None if that one stays.

    A newer valid list replaces an older one, or one that is not valid yet. Of two lists with the
    same date and number, the revocations of both count. A list whose signature is not `verified`
    gets no revocations of another: it must have them.
    """
    if before is None:
        return candidate
    if candidate.age != before.age:
        newer = candidate.age > before.age or now < before.begins
        return candidate if newer and candidate.begins <= now else None
    if not candidate.revokes_more_than(before):
        return None
    both = candidate.with_revocations_of(before)
    return both if verified or both == candidate else None


def is_of_unknown_issuer(crl: x509.CertificateRevocationList, trust: Trust) -> bool:
    """Return whether the issuer of a list is not configured."""
    return all(
        crl.issuer != authority.subject for authority in (*trust.anchors, *trust.intermediates)
    )


def loaded_lists(trust: Trust, now: datetime.datetime) -> Lists:
    """The lists from the policy's files, as of its load."""
    ordered = sorted(trust.crls, key=lambda crl: crl.last_update_utc)
    return renew(Lists(), trust, (("", crl) for crl in ordered), now).lists


Notes = tuple[str, ...]


def list_ends(trust: Trust, lists: Lists, now: datetime.datetime) -> Iterator[datetime.datetime]:
    """Yield when each list stops being accepted, if that is still to come."""
    claimed = (held for held, _ in lists.claimed.values())
    for held in (*lists.held.values(), *claimed):
        end = held.ends + trust.revocation.grace
        if end >= now:
            yield end


def judge_revocation(
    trust: Trust, lists: Lists, path: Sequence[x509.Certificate], now: datetime.datetime
) -> Notes | Deny:
    """Refuse a path with a certificate that is revoked, or whose status is unknown.

    `path` begins with the end-entity certificate and ends with the anchor. Otherwise return notes
    for the audit: a list that was used in its grace period, or a list that the policy does not
    require.
    """
    notes: list[str] = []
    for depth, certificate in enumerate(path):
        authority = path[min(depth + 1, len(path) - 1)]
        if depth and certificate is authority:
            break  # the anchor: the policy trusts it, so it is not checked
        judged = _judge(trust, lists, certificate, authority, now)
        if isinstance(judged, Deny):
            return Deny(judged.reason, judged.rule, f"{judged.detail} (depth {depth})")
        notes += judged
    return tuple(dict.fromkeys(notes))


def _judge(
    trust: Trust,
    lists: Lists,
    certificate: x509.Certificate,
    authority: x509.Certificate,
    now: datetime.datetime,
) -> Notes | Deny:
    found = lists.covering(authority, certificate)
    current = _CoveringLists([held for held in found if held.begins <= now])
    # A list that is not valid yet can add revocations. It cannot remove any or replace a list.
    early = [held for held in found if now < held.begins]
    serial = certificate.serial_number
    if current.revoke(serial) or any(serial in held.revoked for held in early):
        return Deny(Reason.CERTIFICATE_REVOKED, trust.rule, "certificate revoked")
    newest = current.newest()
    if not newest:
        name = authority.subject.rfc4514_string()[:200]
        later = next((held for held in early if held.base_number is None), None)
        if later is not None:
            return Deny(
                Reason.REVOCATION_UNKNOWN, trust.rule, f"{later.describe()} is not valid yet"
            )
        # By name and key: a client can send another authority with the same name.
        because = trust.revocation.without_crl.get(key_of(authority))
        if because is None:
            others = _other_scopes(lists.issued_by(authority), certificate)
            text = f"no revocation list of {name}{others}"
            return Deny(Reason.REVOCATION_UNKNOWN, trust.rule, text)
        return (f"no revocation list of {name} (allowed by without_crl)",)
    return _dates(trust, newest, now)


def _other_scopes(lists: Sequence[RevocationList], certificate: x509.Certificate) -> str:
    """The scopes of the other lists of the authority, for the detail (RFC 5280 §5.2.5)."""
    scopes = dict.fromkeys(
        held.scope.describe() for held in lists if not held.scope.covers(certificate)
    )
    if not scopes:
        return ""
    return f" covers it; its lists cover only {', or '.join(scopes)}"


class _CoveringLists:
    """The lists that cover a certificate, as pairs of base and delta by scope."""

    def __init__(self, lists: Sequence[RevocationList]) -> None:
        """`lists`: the newest first."""
        self._pairs: list[tuple[RevocationList | None, RevocationList | None]] = []
        held = {(listed.scope, listed.base_number is not None): listed for listed in lists}
        for scope in dict.fromkeys(listed.scope for listed in lists):
            base, delta = held.get((scope, False)), held.get((scope, True))
            self._pairs.append((base, None if is_superseded(base, delta) else delta))

    def revoke(self, serial: int) -> bool:
        """Return whether any list revokes it, whatever the lists of other scopes contain."""
        return any(_is_revoked(serial, base, delta) for base, delta in self._pairs)

    def newest(self) -> Sequence[RevocationList]:
        """The newest base list and its delta lists; empty without a base list."""
        bases = [base for base, _ in self._pairs if base is not None]
        if not bases:
            return ()
        chosen = max(bases, key=lambda base: base.age)
        deltas = [delta for base, delta in self._pairs if delta and base in (chosen, None)]
        return (chosen, *deltas)


def _dates(trust: Trust, lists: Sequence[RevocationList], now: datetime.datetime) -> Notes | Deny:
    notes = []
    for held in lists:
        if now > held.ends + trust.revocation.grace:
            text = f"{held.describe()} expired on {held.ends:%Y-%m-%d %H:%M} UTC"
            return Deny(Reason.REVOCATION_UNKNOWN, trust.rule, text)
        if now > held.ends:
            notes.append(
                f"{held.describe()} expired on {held.ends:%Y-%m-%d %H:%M} UTC, in its grace period"
            )
    return tuple(notes)


def _is_revoked(serial: int, base: RevocationList | None, delta: RevocationList | None) -> bool:
    """Return whether one of them revokes it. A delta list can remove an entry only if it applies
    to the base list."""
    if delta is not None and serial in delta.revoked:
        return True
    if base is None or serial not in base.revoked:
        return False
    return not (delta is not None and serial in delta.removed and applies(base, delta))
