"""Whether a certificate is revoked: lists of serial numbers, signed and dated (RFC 5280 §5, §6.3).

OpenSSL builds and verifies the path; this room answers the one question that has a policy of its
own. So it can be answered again for a resumed session, with lists that were renewed meanwhile.

1. `revocation_list` reads one list.
2. `Lists` holds the newest base list and the newest delta list of each authority and scope, and
   never goes back to an older one.
3. `judge_revocation` asks about each certificate of a path. Without a current list it refuses
   (protocol.md §9.2: a list that cannot be had counts as revoked), unless the policy file says
   otherwise: for a stated time (`grace`), or for a named authority (`without_crl`).
"""

from __future__ import annotations

import datetime
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from cryptography import x509

from ibcm_bridge.authentication.revocation_list import (
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
    """The newest lists of all authorities of one `Trust`."""

    held: Mapping[Key, RevocationList] = field(default_factory=dict)
    claimed: Mapping[Key, tuple[RevocationList, x509.CertificateRevocationList]] = field(
        default_factory=dict
    )
    """Lists of authorities that are not configured, by what they claim. One that a client sends,
    and whose path ends at an anchor, may have signed them; that is found out when it is asked
    about."""

    def covering(
        self, authority: x509.Certificate, certificate: x509.Certificate
    ) -> Sequence[RevocationList]:
        """The lists that speak of this certificate, of whatever scope; the newest first."""
        found = (held for held in self.issued_by(authority) if held.scope.covers(certificate))
        return sorted(found, key=lambda held: held.age, reverse=True)

    def issued_by(self, authority: x509.Certificate) -> Sequence[RevocationList]:
        """All lists of an authority, whichever certificates they speak of."""
        key = key_of(authority)
        lists = [held for held in self.held.values() if held.authority == key]
        if lists:
            return lists
        return [held for held, crl in self.claimed.values() if signed_by(crl, authority)]


@dataclass(frozen=True, slots=True)
class RenewedLists:
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
) -> RenewedLists:
    """Take what is newer; keep what is held where the candidate is worse, and say why.

    `candidates` are lists with the name of where they came from.
    """
    held = dict(lists.held)
    claimed = dict(lists.claimed)
    renewed: dict[Key, RevocationList] = {}
    problems = []
    early = False
    for source, crl in candidates:
        other = is_of_unknown_issuer(crl, trust)
        # Who signed the list of another is not known yet; it is older or newer all the same.
        authorities = (*trust.anchors, *trust.intermediates)
        candidate = read_claimed(crl) if other else read_list(crl, authorities)
        if isinstance(candidate, str):
            problems.append(f"{source}: {candidate}")
            continue
        before = (
            claimed[candidate.key][0]
            if other and candidate.key in claimed
            else held.get(candidate.key)
        )
        if _takes_the_place(candidate, before, now):
            if other:
                claimed[candidate.key] = candidate, crl
            else:
                held[candidate.key] = renewed[candidate.key] = candidate
            early = early or (before is not None and now < before.begins)
        elif before is not None and candidate.age > before.age:
            early = True
            text = (
                f"is not valid before {candidate.begins:%Y-%m-%d %H:%M} UTC; the one held is kept"
            )
            problems.append(f"{source}: {candidate.describe()} {text}")
        elif before is not None and candidate.age < before.age:
            problems.append(f"{source}: {candidate.describe()} is older than the one held")
    return RenewedLists(Lists(held, claimed), tuple(renewed.values()), tuple(problems), early)


def _takes_the_place(
    candidate: RevocationList, before: RevocationList | None, now: datetime.datetime
) -> bool:
    """Whether it is newer and valid already; any list is better than one that is not valid yet."""
    if before is None:
        return True
    return candidate.begins <= now and (candidate.age > before.age or now < before.begins)


def is_of_unknown_issuer(crl: x509.CertificateRevocationList, trust: Trust) -> bool:
    """Whether a list names an issuer that is not configured."""
    return all(
        crl.issuer != authority.subject for authority in (*trust.anchors, *trust.intermediates)
    )


def loaded_lists(trust: Trust, now: datetime.datetime) -> Lists:
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
    # One that begins later takes nothing back and replaces nothing, but what it revokes is revoked.
    early = [held for held in found if now < held.begins]
    serial = certificate.serial_number
    if current.revoke(serial) or any(serial in held.revoked for held in early):
        return Deny(Reason.CERTIFICATE_REVOKED, trust.rule, "certificate revoked")
    name = authority.subject.rfc4514_string()[:200]
    newest = current.newest()
    if not newest:
        later = next((held for held in early if held.base_number is None), None)
        if later is not None:
            return Deny(
                Reason.REVOCATION_UNKNOWN, trust.rule, f"{later.describe()} is not valid yet"
            )
        # By name and key: a client may send another authority of this name.
        because = trust.revocation.without_crl.get(key_of(authority))
        if because is None:
            others = _other_scopes(lists.issued_by(authority), certificate)
            text = f"no revocation list of {name}{others}"
            return Deny(Reason.REVOCATION_UNKNOWN, trust.rule, text)
        return (f"no revocation list of {name}, by policy",)
    return _dates(trust, newest, now)


def _other_scopes(lists: Sequence[RevocationList], certificate: x509.Certificate) -> str:
    """What to add where lists are held, and all of another scope (RFC 5280 §5.2.5)."""
    scopes = dict.fromkeys(
        held.scope.describe() for held in lists if not held.scope.covers(certificate)
    )
    if not scopes:
        return ""
    return f" covers it: what is held covers only {', or '.join(scopes)}"


class _CoveringLists:
    """What the lists that cover a certificate say, scope by scope."""

    def __init__(self, lists: Sequence[RevocationList]) -> None:
        """`lists`: the newest first."""
        self._pairs: list[tuple[RevocationList | None, RevocationList | None]] = []
        held = {(listed.scope, listed.base_number is not None): listed for listed in lists}
        for scope in dict.fromkeys(listed.scope for listed in lists):
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
        chosen = max(bases, key=lambda base: base.age)
        deltas = [delta for base, delta in self._pairs if delta and base in (chosen, None)]
        return (chosen, *deltas)


def _dates(trust: Trust, lists: Sequence[RevocationList], now: datetime.datetime) -> Notes | Deny:
    notes = []
    for held in lists:
        if now > held.ends + trust.revocation.grace:
            text = f"{held.describe()} ended on {held.ends:%Y-%m-%d %H:%M} UTC"
            return Deny(Reason.REVOCATION_UNKNOWN, trust.rule, text)
        if now > held.ends:
            notes.append(f"{held.describe()} ended on {held.ends:%Y-%m-%d %H:%M} UTC, in its grace")
    return tuple(notes)


def _is_revoked(serial: int, base: RevocationList | None, delta: RevocationList | None) -> bool:
    """Whether a list revokes it. A delta that does not fit can add, and takes nothing back."""
    if delta is not None and serial in delta.revoked:
        return True
    if base is None or serial not in base.revoked:
        return False
    return not (delta is not None and serial in delta.removed and applies(base, delta))
