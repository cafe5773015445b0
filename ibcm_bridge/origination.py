"""What the site-system leg must present and verify (BRIDGE-TERMINATE), as values.

The leg is a new TLS connection with the bridge's own client certificate. The site system has to
prove its *name*: a path to the right authority alone would let any holder of a certificate from
it stand in (RFC 9525 §6).
"""

from __future__ import annotations

from dataclasses import dataclass

from ibcm_bridge.decisions import Authorized
from ibcm_bridge.policy import Address, BridgePublication, Credential, Trust


@dataclass(frozen=True, slots=True)
class Origination:
    """The terms of one site-system leg."""

    address: Address
    server_name: str
    """Sent as SNI, and the reference identifier for the certificate."""
    credential: Credential
    trust: Trust


def originate(publication: BridgePublication, authorized: Authorized) -> Origination:
    """The terms of the leg that an authorized request needs."""
    return Origination(
        address=authorized.site_system.address,
        server_name=authorized.site_system.name,
        credential=publication.site_system_credential,
        trust=publication.site_system_trust,
    )
