"""Checks the revocation lists of a policy: issuer, scope, dates, and what happens on expiry."""

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
"""A CA's usual CRL lifetime in a ConfigMgr hierarchy."""


def check_lists(
    where: str,
    trust: Trust,
    certificates: Sequence[x509.Certificate],
    now: datetime.datetime,
) -> Iterator[Finding]:
    """The findings for the lists of one trust.

    `certificates` are further certificates whose distribution points show which authority's list
    a URL has.
    """
    authorities = (*trust.anchors, *trust.intermediates)
    for crl in trust.crls:
        if is_of_unknown_issuer(crl, trust):
            name = crl.issuer.rfc4514_string()[:200]
            text = f"{name} is not listed under anchors or issuing; its revocation list is used "
            text += "only if a client sends that CA's certificate"
            yield Finding(Level.WARNING, where, text)
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
        text = (
            f"{name} expired on {ends:%Y-%m-%d %H:%M} UTC; every certificate is refused; renew it"
        )
        yield Finding(Level.PROBLEM, where, text, _CITED)
    elif now > ends:
        text = f"{name} expired on {ends:%Y-%m-%d %H:%M} UTC; accepted in its grace period until "
        text += f"{ends + grace:%Y-%m-%d %H:%M} UTC; renew it"
        yield Finding(Level.WARNING, where, text, _CITED)
    elif ends - now < trust.revocation.warn_before:
        text = f"{name} expires on {ends:%Y-%m-%d %H:%M} UTC; renew it"
        yield Finding(Level.WARNING, where, text)
    else:
        text = f"{name} ({len(one.revoked)} revoked) expires on {ends:%Y-%m-%d %H:%M} UTC"
        yield Finding(Level.FACT, where, text)
    if now < one.begins:
        text = f"{name} is not valid before {one.begins:%Y-%m-%d %H:%M} UTC; check the clock"
        yield Finding(Level.PROBLEM, where, text, _CITED)


def _check_scopes(
    where: str,
    authority: x509.Certificate,
    authorities: Sequence[x509.Certificate],
    bases: Sequence[RevocationList],
) -> Iterator[Finding]:
    """End-entity certificates that an authority's lists do not cover (RFC 5280 section 5.2.5).

    `_check_paths` covers certificates of authorities.
    """
    if not bases or any(base.scope.end_entities and base.scope.points is None for base in bases):
        return
    scopes = ", or ".join(dict.fromkeys(base.scope.describe() for base in bases))
    text = f"{bases[0].describe()} covers only {scopes}; "
    if any(base.scope.end_entities for base in bases):
        text += "other certificates are refused (revocation-unknown)"
        yield Finding(Level.WARNING, where, text)
    elif not any(issued(authority, other) for other in authorities if other != authority):
        text += "all its client and site-system certificates are refused"
        yield Finding(Level.PROBLEM, where, text, _CITED)


def _check_delta(
    where: str, delta: RevocationList, base: RevocationList | None
) -> Iterator[Finding]:
    name = delta.describe()
    if base is None:
        yield Finding(Level.PROBLEM, where, f"{name} has no base list; add it", _CITED)
    elif is_superseded(base, delta):
        text = f"{name} is not used: the base list (number {base.number}) is newer"
        yield Finding(Level.FACT, where, text)
    elif not applies(base, delta):
        text = f"{name} is for base list number {delta.base_number}, but number {base.number} is "
        text += "loaded; only its revocations apply, not its removals"
        yield Finding(Level.WARNING, where, text)


def _check_fetched(
    where: str,
    trust: Trust,
    with_base: Collection[Authority],
    certificates: Sequence[x509.Certificate],
) -> Iterator[Finding]:
    """Authorities whose list no URL provides; reported only if the issuer of every URL is known."""
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
            text = f"no revocation list of {name}, and the lists that are fetched are those of "
            text += "other CAs; its certificates are refused"
            yield Finding(Level.PROBLEM, where, text, _CITED)


def distribution_urls(certificate: x509.Certificate) -> list[str]:
    """The CRL distribution points of a certificate (RFC 5280 section 4.2.1.13)."""
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
        text = f"lists are accepted for {_shown(revocation.grace)} after they expire (grace)"
        yield Finding(level, where, text)
    if revocation.fetch is not None:
        every = _shown(revocation.fetch.every)
        for url in revocation.fetch.urls:
            text = f"`run` fetches {url} every {every}; `check` does not"
            yield Finding(Level.FACT, where, text)


_UNITS = ((86_400, "d"), (3_600, "h"), (60, "min"), (1, "s"))


def _shown(duration: datetime.timedelta) -> str:
    """The duration as in a policy file, in the largest unit that divides it."""
    seconds = int(duration.total_seconds())
    size, unit = next((size, unit) for size, unit in _UNITS if seconds % size == 0)
    return f"{seconds // size} {unit}"
