"""What the site-system leg must present and verify (BRIDGE-TERMINATE), as values.

The leg is a new TLS connection with the bridge's own client certificate. The site system has to
prove its *name*: a path to the right authority alone would let any holder of a certificate from
it stand in (RFC 9525 §6).
"""

from __future__ import annotations

from dataclasses import dataclass

from ibcm_bridge.decisions import Authorized
from ibcm_bridge.policy import (
    Address,
    BridgePublication,
    Credential,
    HttpPublication,
    TlsVersion,
    Trust,
)


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
