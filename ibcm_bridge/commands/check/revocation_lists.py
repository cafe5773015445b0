"""Which revocation lists a policy has, how long they hold, and what happens when they end."""

from __future__ import annotations

import datetime
from collections.abc import Collection, Iterator, Sequence

from cryptography import x509

from ibcm_bridge.authentication.certification_path import issued
from ibcm_bridge.authentication.revocation import is_of_unknown_issuer, loaded_lists
from ibcm_bridge.authentication.revocation_list import (
    RevocationList,
    applies,
    is_superseded,
    key_of,
    read_list,
)
from ibcm_bridge.commands.check.findings import Finding, Level
from ibcm_bridge.policy.trust import Authority, Trust

_CITED = "PKI-BOTH-ENDS"
_LONG_GRACE = datetime.timedelta(days=7)
"""As long as a list of a ConfigMgr site's authority usually holds."""


def check_lists(
    where: str,
    trust: Trust,
    certificates: Sequence[x509.Certificate],
    now: datetime.datetime,
) -> Iterator[Finding]:
    """All that is to be said of the lists of one trust.

    `certificates` are others that are known, which tell whose lists are where.
    """
    authorities = (*trust.anchors, *trust.intermediates)
    for crl in trust.crls:
        if is_of_unknown_issuer(crl, trust):
            name = crl.issuer.rfc4514_string()[:200]
            text = f"{name} is not under anchors or issuing: its revocation list counts only where "
            yield Finding(
                Level.WARNING, where, text + "a client sends that authority's certificate"
            )
            continue
        unusable = read_list(crl, authorities)
        if isinstance(unusable, str):
            yield Finding(Level.PROBLEM, where, unusable, _CITED)
    held = loaded_lists(trust, now)
    for held_list in held.held.values():
        yield from _check_list(where, trust, held_list, now)
        if held_list.base_number is not None:
            yield from _check_delta(where, held_list, held.held.get((*held_list.key[:2], False)))
    with_base = {key for key, _, delta in held.held if not delta}
    for authority in authorities:
        name = authority.subject.rfc4514_string()[:200]
        because = trust.revocation.without_crl.get(key_of(authority))
        if because is not None and key_of(authority) not in with_base:
            text = f"certificates of {name} are accepted without a revocation list, because: "
            yield Finding(Level.WARNING, where, text + because)
        if because is None:
            bases = [crl for crl in held.issued_by(authority) if crl.base_number is None]
            yield from _check_scopes(where, authority, authorities, bases)
    yield from _check_fetched(where, trust, with_base, certificates)
    yield from _describe_policy(where, trust)


def _check_list(
    where: str, trust: Trust, one: RevocationList, now: datetime.datetime
) -> Iterator[Finding]:
    name, ends, grace = one.describe(), one.ends, trust.revocation.grace
    if now > ends + grace:
        text = f"{name} ended on {ends:%Y-%m-%d %H:%M} UTC: every certificate is refused"
        yield Finding(Level.PROBLEM, where, text, _CITED)
    elif now > ends:
        text = f"{name} ended on {ends:%Y-%m-%d %H:%M} UTC; in its grace, every certificate is "
        text += f"refused from {ends + grace:%Y-%m-%d %H:%M} UTC on: renew it"
        yield Finding(Level.WARNING, where, text, _CITED)
    elif ends - now < trust.revocation.warn_before:
        text = f"{name} ends on {ends:%Y-%m-%d %H:%M} UTC; renew it"
        yield Finding(Level.WARNING, where, text)
    else:
        text = f"{name} ({len(one.revoked)} revoked) ends on {ends:%Y-%m-%d %H:%M} UTC"
        yield Finding(Level.FACT, where, text)
    if now < one.begins:
        text = f"{name} begins on {one.begins:%Y-%m-%d %H:%M} UTC: is the clock right?"
        yield Finding(Level.PROBLEM, where, text, _CITED)


def _check_scopes(
    where: str,
    authority: x509.Certificate,
    authorities: Sequence[x509.Certificate],
    bases: Sequence[RevocationList],
) -> Iterator[Finding]:
    """Which end-entity certificates an authority's lists do not cover (RFC 5280 section 5.2.5).

    Those of the authorities themselves are looked at with their paths.
    """
    if not bases or any(base.scope.end_entities and base.scope.points is None for base in bases):
        return
    scopes = ", or ".join(dict.fromkeys(base.scope.describe() for base in bases))
    text = f"{bases[0].describe()} covers only {scopes}: "
    if any(base.scope.end_entities for base in bases):
        yield Finding(Level.WARNING, where, text + "others are refused (revocation-unknown)")
    elif not any(issued(authority, other) for other in authorities if other != authority):
        text += "no client or site system with a certificate of it is accepted"
        yield Finding(Level.PROBLEM, where, text, _CITED)


def _check_delta(
    where: str, delta: RevocationList, base: RevocationList | None
) -> Iterator[Finding]:
    name = delta.describe()
    if base is None:
        yield Finding(Level.PROBLEM, where, f"{name} has no base list here", _CITED)
    elif is_superseded(base, delta):
        text = f"{name} is older than the base list (number {base.number}), which replaces it"
        yield Finding(Level.FACT, where, text)
    elif not applies(base, delta):
        text = f"{name} is for base number {delta.base_number}, here is {base.number}: "
        yield Finding(Level.WARNING, where, text + "it adds to it, and takes nothing back")


def _check_fetched(
    where: str,
    trust: Trust,
    with_base: Collection[Authority],
    certificates: Sequence[x509.Certificate],
) -> Iterator[Finding]:
    """Where every URL is known to be another's, what has no list will not get one."""
    fetch = trust.revocation.fetch
    if fetch is None:
        return
    authorities = (*trust.anchors, *trust.intermediates)
    owners = {
        url: key_of(authority)
        for certificate in (*authorities, *certificates)
        for url in distribution_urls(certificate)
        for authority in authorities
        if url in fetch.urls and issued(authority, certificate)
    }
    if owners.keys() < set(fetch.urls):
        return
    have = {*with_base, *trust.revocation.without_crl, *owners.values()}
    for authority in authorities:
        if key_of(authority) not in have:
            name = authority.subject.rfc4514_string()[:200]
            text = f"no revocation list of {name}, and all that are fetched are of others: "
            yield Finding(Level.PROBLEM, where, text + "its certificates are refused", _CITED)


def distribution_urls(certificate: x509.Certificate) -> list[str]:
    """Where a certificate says that its authority's lists are (RFC 5280 section 4.2.1.13)."""
    try:
        points = certificate.extensions.get_extension_for_class(x509.CRLDistributionPoints).value
    except x509.ExtensionNotFound:
        return []
    names = (name for point in points for name in point.full_name or ())
    return [name.value for name in names if isinstance(name, x509.UniformResourceIdentifier)]


def _describe_policy(where: str, trust: Trust) -> Iterator[Finding]:
    revocation = trust.revocation
    if revocation.grace:
        level = Level.WARNING if revocation.grace > _LONG_GRACE else Level.FACT
        text = f"lists are accepted for {_shown(revocation.grace)} after their end (grace)"
        yield Finding(level, where, text)
    if revocation.fetch is not None:
        every = _shown(revocation.fetch.every)
        for url in revocation.fetch.urls:
            text = f"{url} is fetched every {every} by run (not now)"
            yield Finding(Level.FACT, where, text)


_UNITS = ((86_400, "d"), (3_600, "h"), (60, "min"), (1, "s"))


def _shown(duration: datetime.timedelta) -> str:
    """In the largest unit that it is a multiple of, as it is written in a policy file."""
    seconds = int(duration.total_seconds())
    size, unit = next((size, unit) for size, unit in _UNITS if seconds % size == 0)
    return f"{seconds // size} {unit}"
