"""The TLS of one bridged publication: contexts and trusts, for both legs."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from OpenSSL import SSL

from ibcm_bridge.addons.clock import Clock
from ibcm_bridge.addons.tls.client_leg import Callbacks, client_leg_context
from ibcm_bridge.addons.tls.current_trust import ClientTrust, CurrentTrust
from ibcm_bridge.addons.tls.kept_session import KeptSessions
from ibcm_bridge.addons.tls.site_system_leg import site_system_leg_context
from ibcm_bridge.policy.publications import BridgePublication
from ibcm_bridge.policy.tls_settings import TlsSettings


class PublicationTls:
    """Contexts and trusts under one policy. A connection keeps those it began with."""

    def __init__(self, publication: BridgePublication, callbacks: Callbacks, clock: Clock) -> None:
        """Raise SSL.Error if OpenSSL does not accept a certificate or key."""
        self.publication = publication
        self.replaced = False
        """True if a newer policy is in use, which then judges the clients."""
        trust = publication.client_trust
        self.client_trust = None if trust is None else ClientTrust(trust, clock)
        """None if no client certificate is requested."""
        self.client_context = client_leg_context(publication, callbacks)
        self.site_system_trust = CurrentTrust(publication.site_system_trust, clock)
        self.site_system_contexts: Mapping[TlsSettings, SSL.Context] = {
            settings: site_system_leg_context(
                publication.site_system_credential, self.site_system_trust, settings
            )
            for settings in {
                site_system.tls
                for role in publication.directories.values()
                for site_system in role.site_systems.listed
            }
        }
        """Contexts by the TLS settings for a site system."""
        own = publication.site_system_credential.chain[0]
        self.own_dates = own.not_valid_before_utc, own.not_valid_after_utc
        """When the bridge's client certificate for site systems begins and ends."""
        self.site_system_sessions = KeptSessions(resume=publication.legs_resume)

    def trusts(self) -> Iterator[tuple[str, CurrentTrust]]:
        """Yield each trust to renew, with the policy key that configures it."""
        if self.client_trust is not None:
            yield f"{self.publication.name}: clients.trust", self.client_trust
        yield f"{self.publication.name}: site_systems.trust", self.site_system_trust
