"""Which revocation lists a policy has, how long they hold, and what happens when they end."""

from __future__ import annotations

import datetime
from collections.abc import Iterator

from ibcm_bridge.findings import Finding, Level
from ibcm_bridge.policy import Trust
from ibcm_bridge.revocation import (
    RevocationList,
    applies,
    is_of_another,
    is_superseded,
    key_of,
    lists_of,
    read_list,
)

_CITED = "PKI-BOTH-ENDS"
_LONG_GRACE = datetime.timedelta(days=7)
"""As long as a list of a ConfigMgr site's authority usually holds."""


def check_lists(where: str, trust: Trust, now: datetime.datetime) -> Iterator[Finding]:
    """All that is to be said of the lists of one trust."""
    authorities = (*trust.anchors, *trust.intermediates)
    for crl in trust.crls:
        if is_of_another(crl, trust):
            name = crl.issuer.rfc4514_string()[:200]
            text = f"{name} is not under anchors or issuing: its revocation list counts only where "
            yield Finding(
                Level.WARNING, where, text + "a client sends that authority's certificate"
            )
            continue
        unusable = read_list(crl, authorities)
        if isinstance(unusable, str):
            yield Finding(Level.PROBLEM, where, unusable, _CITED)
    held = lists_of(trust, now)
    for one in held.held.values():
        yield from _check_list(where, trust, one, now)
        if one.base_number is not None:
            yield from _check_delta(where, one, held.held.get((*one.key[:2], False)))
    with_base = {key for key, _, delta in held.held if not delta}
    for authority in authorities:
        name = authority.subject.rfc4514_string()[:200]
        because = trust.revocation.without_crl.get(key_of(authority))
        if because is not None and key_of(authority) not in with_base:
            text = f"certificates of {name} are accepted without a revocation list, because: "
            yield Finding(Level.WARNING, where, text + because)
    yield from _say_policy(where, trust)


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


def _say_policy(where: str, trust: Trust) -> Iterator[Finding]:
    revocation = trust.revocation
    if revocation.grace:
        level = Level.WARNING if revocation.grace > _LONG_GRACE else Level.FACT
        text = f"lists are accepted for {revocation.grace} after their end (grace)"
        yield Finding(level, where, text)
    if revocation.fetch is not None:
        for url in revocation.fetch.urls:
            text = f"{url} is fetched every {revocation.fetch.every} by run (not now)"
            yield Finding(Level.FACT, where, text)
