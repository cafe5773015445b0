"""Which configured authorities have no current revocation list, and why.

The certificates of such an authority are refused (`revocation.judge_revocation`). This module finds
that out before a client connects.
"""

from __future__ import annotations

import datetime
import functools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from cryptography import x509

from ibcm_bridge.authentication.revocation import Lists
from ibcm_bridge.authentication.revocation_list import RevocationList, is_superseded, key_of
from ibcm_bridge.policy.trust import Trust


@dataclass(frozen=True, slots=True)
class ListState:
    """The revocation lists of one configured authority, as of one time."""

    issuer: str
    """The name of the authority, as `RevocationList.issuer`."""
    missing: bool = False
    """True if it has not even a base list."""
    unusable: tuple[str, ...] = ()
    """Why certificates are refused because of the lists that there are."""
    in_grace: tuple[str, ...] = ()
    """Expired lists that are still accepted."""

    @property
    def is_current(self) -> bool:
        """Whether the certificates that the lists cover are accepted."""
        return not (self.missing or self.unusable)

    def problems(self) -> Iterator[str]:
        """Yield each problem, for the operator."""
        if self.missing:
            yield f"no revocation list of {self.issuer}; its certificates are refused"
        yield from self.unusable
        yield from self.in_grace


def list_states(trust: Trust, lists: Lists, now: datetime.datetime) -> Iterator[ListState]:
    """Yield the state of each configured authority, except those that need no list."""
    for authority in dict.fromkeys((*trust.anchors, *trust.intermediates)):
        held = lists.issued_by(authority)
        if any(listed.base_number is None for listed in held):
            yield _state(_name(authority), held, trust.revocation.grace, now)
        elif key_of(authority) not in trust.revocation.without_crl:
            yield ListState(_name(authority), missing=True)


def _state(
    issuer: str, held: Sequence[RevocationList], grace: datetime.timedelta, now: datetime.datetime
) -> ListState:
    unusable, in_grace = [], []
    for listed in _in_use(held, now):
        if now < listed.begins:
            text = f"is not valid before {_shown(listed.begins)}; its certificates are refused"
            unusable.append(f"{listed.describe()} {text}; check the clock")
        elif now > listed.ends + grace:
            text = f"expired on {_shown(listed.ends)}; every certificate is refused; renew the CRL"
            unusable.append(f"{listed.describe()} {text}")
        elif now > listed.ends:
            text = f"expired on {_shown(listed.ends)}; accepted in its grace period until"
            in_grace.append(f"{listed.describe()} {text} {_shown(listed.ends + grace)}")
    return ListState(issuer, unusable=tuple(unusable), in_grace=tuple(in_grace))


def _in_use(held: Sequence[RevocationList], now: datetime.datetime) -> Iterator[RevocationList]:
    """Yield the lists whose dates decide, as `revocation` chooses them.

    A base list does not decide if another covers the same certificates, and is newer or the only
    one of them that is valid already. A delta list does not decide before it is valid, without its
    base list in use, or if that includes it.
    """
    bases = [listed for listed in held if listed.base_number is None]
    begun = [base for base in bases if base.begins <= now]
    used = {
        base.scope: base
        for base in bases
        if not any(
            other.scope.includes(base.scope) and (other.age > base.age or now < base.begins)
            for other in begun
        )
    }
    yield from used.values()
    scopes = {base.scope for base in begun}
    for delta in held:
        if delta.base_number is None or now < delta.begins:
            continue
        base = used.get(delta.scope)
        if (base or delta.scope not in scopes) and not is_superseded(base, delta):
            yield delta


def _shown(date: datetime.datetime) -> str:
    return f"{date:%Y-%m-%d %H:%M} UTC"


@functools.lru_cache(maxsize=64)
def _name(authority: x509.Certificate) -> str:
    """Cached: the checks ask for the same few names every second."""
    return authority.subject.rfc4514_string()[:200]
