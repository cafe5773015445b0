"""The terms of a site-system leg (BRIDGE-TERMINATE), and its failures.

The leg is a new TLS connection with the bridge's own client certificate. The site system must prove
its *name*: a path to the right authority alone would allow every holder of a certificate from it to
impersonate the site system (RFC 9525 §6).
"""

from __future__ import annotations

import datetime
import enum
from dataclasses import dataclass

from ibcm_bridge.decisions import rules
from ibcm_bridge.decisions.denial import Deny, Reason
from ibcm_bridge.policy.addresses import Address
from ibcm_bridge.policy.publications import BridgePublication, HttpPublication
from ibcm_bridge.policy.site_systems import SiteSystem
from ibcm_bridge.policy.tls_settings import CipherSuites, TlsSettings


@dataclass(frozen=True, slots=True)
class LegTls:
    """The verification of the site system."""

    verify_name: str
    """The name that its certificate must have: the reference identifier of RFC 9525."""
    settings: TlsSettings


@dataclass(frozen=True, slots=True)
class Origination:
    """The terms of one site-system leg."""

    address: Address
    server_name: str
    """Sent as SNI."""
    tls: LegTls | None
    """None: HTTP, because the client leg also uses HTTP (BRIDGE-HTTPS-ONLY)."""


def originate(publication: HttpPublication, site_system: SiteSystem) -> Origination:
    """Return the terms of a leg to a site system of this publication."""
    tls = None
    if isinstance(publication, BridgePublication):
        tls = LegTls(verify_name=site_system.verify_name, settings=site_system.tls)
    return Origination(site_system.address, site_system.name, tls)


_CERTIFICATE_ALERTS = frozenset(
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
"""Alerts by which a peer rejects the certificate that it received (RFC 8446 §6.2)."""


def certificate_rejected(server_name: str, alert: str | None) -> Deny | None:
    """Return the denial for an alert that rejects the bridge's certificate, in or after the
    handshake; None for any other alert.

    The client cannot correct it. The cause is this publication's client certificate for the leg.
    """
    if alert not in _CERTIFICATE_ALERTS:
        return None
    detail = f"{server_name} rejected the bridge's client certificate: {alert}"
    return Deny(Reason.SITE_SYSTEM_RESPONSE, rules.SITE_SYSTEM_CERTIFICATE, detail)


def own_certificate(
    begins: datetime.datetime, ends: datetime.datetime, now: datetime.datetime
) -> Deny | None:
    """Return the denial of any request if the bridge's client certificate is not valid now.

    A site system may accept the connection nevertheless, and respond with 403, or require no client
    certificate. The request would then be allowed without an authenticated bridge.
    """
    if begins <= now < ends:
        return None
    expired = now >= ends
    when = f"expired on {ends:%Y-%m-%d}" if expired else f"is not valid before {begins:%Y-%m-%d}"
    detail = f"the bridge's client certificate for site systems {when}"
    return Deny(Reason.SITE_SYSTEM_UNREACHABLE, rules.SITE_SYSTEMS_CERTIFICATE, detail)


def unreachable(server_name: str, cause: str) -> Deny:
    """Return the denial for a leg whose connection attempt failed."""
    return Deny(Reason.SITE_SYSTEM_UNREACHABLE, rules.SITE_SYSTEM, f"{server_name}: {cause}")


def not_negotiated(alert: str | None, settings: TlsSettings) -> str | None:
    """Return a phrase with the site system as its subject for an alert that it sends if it accepts
    nothing in the ClientHello (RFC 8446 §6.2); None for any other alert.

    The alert does not tell which part is missing, so the phrase has all that the bridge offers.
    """
    versions = " and ".join(f"TLS {version}" for version in settings.versions)
    offered = {
        "handshake_failure": f"{_SUITES[settings.suites]} (tls: {settings.suites}) in {versions}, "
        "with SHA-2 signatures",
        "protocol_version": versions,
    }
    if alert not in offered:
        return None
    return f"sent the TLS alert {alert}; the bridge offers {offered[alert]}"


_SUITES = {
    CipherSuites.MODERN: "cipher suites with ECDHE and AES-GCM or ChaCha20",
    CipherSuites.STANDARD: "cipher suites with ECDHE and AES-GCM, ChaCha20, or AES-CBC with SHA-2",
    CipherSuites.COMPATIBLE: "cipher suites with ECDHE or static RSA and AES-GCM, ChaCha20, or "
    "AES-CBC with SHA-2",
}


def timed_out(server_name: str, *, connected: bool) -> Deny:
    """Return the denial for a leg that was not ready in time."""
    if connected:
        detail = f"{server_name}: the TLS handshake timed out"
        return Deny(Reason.SITE_SYSTEM_SLOW, rules.LIMITS_CONNECT_SECONDS, detail)
    detail = f"{server_name}: the connection attempt timed out"
    return Deny(Reason.SITE_SYSTEM_UNREACHABLE, rules.LIMITS_CONNECT_SECONDS, detail)


def authentication_lost(server_name: str) -> Deny:
    """Return the denial for a closed leg on which the client was authenticated (protocol.md §10).

    The authentication is not valid on another leg, where an exchange could continue as another
    user. After this response the client's connection closes, and the client authenticates again.
    """
    detail = f"{server_name} closed the connection on which the client was authenticated"
    return Deny(Reason.SITE_SYSTEM_RESPONSE, rules.SITE_SYSTEM_WINDOWS_AUTHENTICATION, detail)


class WhenClosed(enum.Enum):
    """The treatment of a request whose kept leg closes without any byte of a response."""

    RESEND = "resend"
    """It is sent once more, on a new leg."""
    REFUSE = "refuse"
    """It is refused, as for an invalid response."""
    CLOSE = "close"
    """The client's connection is closed, and the client decides whether to send it again."""


_SAFE = frozenset((b"GET", b"HEAD", b"PROPFIND"))
"""Safe methods, which may be processed twice (RFC 9110 §9.2.1, RFC 4918 §9.1)."""


def when_closed(method: bytes, *, acts: bool, authenticates: bool) -> WhenClosed:
    """Return the treatment of such a request.

    `acts`: it changes state, even if its method is safe. `authenticates`: the client has
    authenticated itself on that leg.
    """
    # RFC 9112 §9.3.1: a proxy must not resend a request that the server may have processed.
    if method not in _SAFE or acts:
        return WhenClosed.CLOSE
    # The client is not authenticated on another leg (protocol.md §10).
    return WhenClosed.REFUSE if authenticates else WhenClosed.RESEND


def closed_without_response(server_name: str) -> Deny:
    """Return the denial for a kept leg that closed without any byte of a response."""
    detail = f"{server_name} closed a kept connection without a response"
    return Deny(Reason.SITE_SYSTEM_RESPONSE, rules.SITE_SYSTEM_KEPT_CONNECTION, detail)
