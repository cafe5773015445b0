"""What one policy needs, and what the next policy replaces as a whole.

A connection keeps the generation that it began with, to its end: contexts, trusts, rules and the
decisions that hooks make by them. What is open and outlives a policy is `Lasting`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from mitmproxy.proxy.context import Context
from mitmproxy.proxy.layer import Layer
from OpenSSL import SSL

from ibcm_bridge.addons.audit.trail import AuditTrail
from ibcm_bridge.addons.connections import Connections
from ibcm_bridge.addons.engines.content_engines import EngineSetup, engine_setup
from ibcm_bridge.addons.engines.inspection_workers import InspectionWorkers
from ibcm_bridge.addons.errors import StartError
from ibcm_bridge.addons.events import Watcher
from ibcm_bridge.addons.hooks.body_inspection import BodyInspection
from ibcm_bridge.addons.hooks.client_authentication import CALLBACKS, ClientAuthentication
from ibcm_bridge.addons.hooks.client_identity import ClientIdentity
from ibcm_bridge.addons.hooks.ends import Ends
from ibcm_bridge.addons.hooks.request_authorization import RequestAuthorization
from ibcm_bridge.addons.hooks.response_inspection import ReplyInspection
from ibcm_bridge.addons.hooks.site_system_authentication import SiteSystemAuthentication
from ibcm_bridge.addons.hooks.upload_spool import UploadSpool
from ibcm_bridge.addons.layers.front_door import FrontDoorLayer
from ibcm_bridge.addons.renewal.revocation_renewal import list_renewals
from ibcm_bridge.addons.renewal.rules_renewal import RulesRenewal
from ibcm_bridge.addons.server.hook_dispatch import Hooks
from ibcm_bridge.addons.tls.current_trust import Clock
from ibcm_bridge.addons.tls.published_legs import PublishedLegs
from ibcm_bridge.inspection.engines import CompiledRules
from ibcm_bridge.policy.policy import Policy
from ibcm_bridge.storage.binding_registry import Registry


@dataclass(frozen=True, slots=True)
class Lasting:
    """What all generations of a bridge share."""

    connections: Connections
    audit: AuditTrail
    ends: Ends
    uploads: UploadSpool
    registry: Registry
    watching: Sequence[Watcher]
    clock: Clock
    check_seconds: float
    """How soon a changed file is noticed."""


class Generation:
    """One policy, and everything made of it."""

    def __init__(self, policy: Policy, lasting: Lasting) -> None:
        """Build contexts and rules. StartError or RuleError where that fails."""
        self.policy = policy
        self.listeners = dict(enumerate(policy.listeners))
        self.legs = _published_legs(policy, lasting.clock)
        # Read once: the workers look for exactly what the bridge looks for.
        setup = engine_setup(policy)
        self.workers = InspectionWorkers(setup, policy.limits.inspection_workers)
        self._inspection = BodyInspection(setup.make(), self.workers.inspect)
        trusts = [trust for legs in self.legs for trust in legs.trusts()]
        self.renewals = (
            *list_renewals(trusts, lasting.check_seconds),
            RulesRenewal(policy, setup, self._renew_rules, lasting.check_seconds),
        )
        self._connections = lasting.connections
        # In the order of the calls; the audit comes before what decides on a head.
        self.hooks = Hooks(
            [
                lasting.audit,
                lasting.ends,
                ClientAuthentication(lasting.connections, self.legs),
                RequestAuthorization(policy.never),
                lasting.uploads,
                self._inspection,
                ReplyInspection(policy.messages),
                ClientIdentity(lasting.registry, policy.messages, lasting.clock),
                SiteSystemAuthentication(lasting.connections),
            ],
            lasting.watching,
        )

    def front_door(self, context: Context) -> Layer:
        """The first layer of a connection."""
        record = self._connections.of(context.client)
        return FrontDoorLayer(context, record, self.policy.limits)

    def _renew_rules(self, setup: EngineSetup, compiled: CompiledRules) -> None:
        engines = setup.make(compiled)
        self.workers.renew(setup)
        self._inspection.engines = engines


def _published_legs(policy: Policy, clock: Clock) -> list[PublishedLegs]:
    try:
        return [PublishedLegs(one, CALLBACKS, clock) for _, one in policy.bridged()]
    except SSL.Error as error:
        reasons = "; ".join(reason for *_, reason in error.args[0]) if error.args else ""
        raise StartError(f"OpenSSL does not take a certificate or key: {reasons}") from error
