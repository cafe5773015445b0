"""What the site-system leg must present and verify (BRIDGE-TERMINATE), as values.

The leg is a new TLS connection with the bridge's own client certificate. The site system has to
prove its *name*: a path to the right authority alone would let any holder of a certificate from
it stand in (RFC 9525 §6).
"""

from __future__ import annotations

import enum
from dataclasses import dataclass

from ibcm_bridge.decisions import rules
from ibcm_bridge.decisions.denial import Deny, Reason
from ibcm_bridge.policy.addresses import Address
from ibcm_bridge.policy.publications import BridgePublication, HttpPublication, TlsVersion
from ibcm_bridge.policy.trust import Credential, Trust
from ibcm_bridge.request.authorization import Authorized


@dataclass(frozen=True, slots=True)
class LegTls:
    """What is presented, and what is demanded of the site system."""

    verify_name: str
    """The reference identifier for its certificate."""
    highest: TlsVersion
    credential: Credential
    trust: Trust


@dataclass(frozen=True, slots=True)
class Origination:
    """The terms of one site-system leg."""

    address: Address
    server_name: str
    """Sent as SNI."""
    tls: LegTls | None
    """None: HTTP, where the client leg is HTTP too (BRIDGE-HTTPS-ONLY)."""


def originate(publication: HttpPublication, authorized: Authorized) -> Origination:
    """The terms of the leg that an authorized request needs."""
    site_system = authorized.site_system
    tls = None
    if isinstance(publication, BridgePublication):
        tls = LegTls(
            verify_name=site_system.verify_name,
            highest=site_system.highest_tls,
            credential=publication.site_system_credential,
            trust=publication.site_system_trust,
        )
    return Origination(site_system.address, site_system.name, tls)


_BLAMES_CERTIFICATE = frozenset(
    (
        "bad_certificate",
        "unsupported_certificate",
        "certificate_revoked",
        "certificate_expired",
        "certificate_unknown",
        "unknown_ca",
        "access_denied",
        "certificate_required",
    )
)
"""Alerts by which a peer says that the certificate it was shown will not do (RFC 8446 §6.2)."""


def certificate_refused(server_name: str, alert: str | None) -> Deny | None:
    """The denial where a site system refused the bridge's own certificate, at whatever moment.

    It is an answer, and not one that the client can do anything about. What is to blame is not
    who the site system is, but what this publication presents to it.
    """
    if alert not in _BLAMES_CERTIFICATE:
        return None
    detail = f"{server_name} refused the bridge's certificate: {alert}"
    return Deny(Reason.SITE_SYSTEM_RESPONSE, rules.SITE_SYSTEM_CERTIFICATE, detail)


def late(server_name: str, *, connected: bool) -> Deny:
    """The denial where there was no leg in time."""
    if connected:
        detail = f"{server_name}: no handshake in time"
        return Deny(Reason.SITE_SYSTEM_SLOW, rules.LIMITS_HANDSHAKE_SECONDS, detail)
    detail = f"{server_name}: no connection in time"
    return Deny(Reason.SITE_SYSTEM_UNREACHABLE, rules.LIMITS_HANDSHAKE_SECONDS, detail)


def authentication_lost(server_name: str) -> Deny:
    """The denial where the leg that a client had authenticated is gone (protocol.md §10).

    Another leg would not know the client; and half a conversation carried over to it would be
    somebody's half. With this answer the connection ends, and the client begins anew.
    """
    detail = f"{server_name} closed the connection on which the client was authenticated"
    return Deny(Reason.SITE_SYSTEM_RESPONSE, rules.SITE_SYSTEM_WINDOWS_AUTHENTICATION, detail)


class WhenClosed(enum.Enum):
    """What becomes of a request whose kept leg is closed as it comes, and nothing answered."""

    RESEND = "resend"
    """It is sent once more, on a new leg."""
    REFUSE = "refuse"
    """It is answered like any other that the site system did not answer properly."""
    CLOSE = "close"
    """The client's connection is closed, too: whether to send it again is for the client to say."""


_SAFE = frozenset((b"GET", b"HEAD", b"PROPFIND"))
"""Methods that change nothing, and so may be carried out twice (RFC 9110 §9.2.1, RFC 4918 §9.1)."""


def when_closed(method: bytes, *, acts: bool, authenticates: bool) -> WhenClosed:
    """What becomes of it.

    `acts`: it changes something, whatever its method says. `authenticates`: the client has
    authenticated itself on that leg.
    """
    # RFC 9112 §9.3.1: a proxy sends no request again by itself that may have had its effect.
    if method not in _SAFE or acts:
        return WhenClosed.CLOSE
    # Another leg would not know the client (protocol.md §10).
    return WhenClosed.REFUSE if authenticates else WhenClosed.RESEND


def closed_unanswered(server_name: str) -> Deny:
    """The denial where a kept leg was closed as a request came."""
    detail = f"{server_name} closed a kept connection as the request came"
    return Deny(Reason.SITE_SYSTEM_RESPONSE, rules.SITE_SYSTEM_KEPT_CONNECTION, detail)
