"""Everything that is built from one policy: TLS contexts, trusts, rules, and deciding hooks.

A connection keeps the generation that it began with. A generation also owns what runs for it, the
renewals and the inspection workers, while `running` is entered. `SharedState` is open longer.

There is no reload yet, so a bridge has one generation, from its start to its stop. A reload would
build a `Generation`, enter its `running`, replace `Bridge.generation`, and leave the `running` of
the previous one after its last connection. Listeners are opened only at the start.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass

from mitmproxy.proxy.context import Context
from mitmproxy.proxy.layer import Layer
from OpenSSL import SSL

from ibcm_bridge.addons.audit.trail import AuditTrail
from ibcm_bridge.addons.clock import Clock
from ibcm_bridge.addons.connections import Connections
from ibcm_bridge.addons.engines.content_engines import EngineSetup, engine_setup
from ibcm_bridge.addons.engines.inspection_workers import InspectionWorkers
from ibcm_bridge.addons.errors import StartError
from ibcm_bridge.addons.events import TrafficObserver
from ibcm_bridge.addons.hooks.body_inspection import BodyInspection
from ibcm_bridge.addons.hooks.client_authentication import CALLBACKS, ClientAuthentication
from ibcm_bridge.addons.hooks.client_identification import ClientIdentification
from ibcm_bridge.addons.hooks.end_reporting import EndReporting
from ibcm_bridge.addons.hooks.reply_inspection import ReplyInspection
from ibcm_bridge.addons.hooks.request_authorization import RequestAuthorization
from ibcm_bridge.addons.hooks.site_system_authentication import SiteSystemAuthentication
from ibcm_bridge.addons.hooks.upload_assembly import UploadAssembly
from ibcm_bridge.addons.layers.front_door import FrontDoorLayer
from ibcm_bridge.addons.renewal.renewal import keep_current, stop_renewal
from ibcm_bridge.addons.renewal.revocation_renewal import crl_renewals
from ibcm_bridge.addons.renewal.rules_renewal import RulesRenewal
from ibcm_bridge.addons.server.hook_dispatch import Hooks
from ibcm_bridge.addons.stages import GuardedHooks
from ibcm_bridge.addons.tls.publication_tls import PublicationTls
from ibcm_bridge.inspection.engines import CompiledRules
from ibcm_bridge.policy.policy import Policy
from ibcm_bridge.storage.binding_registry import Registry


@dataclass(frozen=True, slots=True)
class SharedState:
    """The state that all generations of a bridge share."""

    connections: Connections
    audit: AuditTrail
    ends: EndReporting
    uploads: UploadAssembly
    registry: Registry
    observers: Sequence[TrafficObserver]
    clock: Clock
    check_seconds: float
    """The interval at which files are checked for changes."""


class Generation:
    """One policy, and everything that is built from it."""

    def __init__(
        self, policy: Policy, shared: SharedState, setup: EngineSetup | None = None
    ) -> None:
        """Build contexts and rules. Raise StartError or RuleError if that fails.

        `setup` has the rules, if they have been read before.
        """
        self.policy = policy
        self.listeners = dict(enumerate(policy.listeners))
        self.publication_tls = _publication_tls(policy, shared.clock)
        # Read once, so that the bridge and the workers use the same rules.
        setup = setup or engine_setup(policy)
        self.workers = InspectionWorkers(setup, policy.limits.inspection_workers)
        self._inspection = BodyInspection(setup.make(), self.workers.inspect)
        trusts = [trust for tls in self.publication_tls for trust in tls.trusts()]
        self.renewals = (
            *crl_renewals(trusts, shared.check_seconds),
            RulesRenewal(policy, setup, self._renew_rules, shared.check_seconds),
        )
        self._connections = shared.connections
        # In calling order. The audit comes before the addons that decide on a head.
        self.hooks = Hooks(
            [
                shared.audit,
                shared.ends,
                ClientAuthentication(shared.connections, self.publication_tls),
                RequestAuthorization(policy.never),
                shared.uploads,
                self._inspection,
                ReplyInspection(policy.messages),
                ClientIdentification(shared.registry, policy.messages, shared.clock),
                SiteSystemAuthentication(shared.connections),
            ],
            shared.observers,
        )

    @contextlib.asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Renew lists and rules until the exit. Requests that then still wait are refused.

        The files are read at once. The policy can be older: it is that of the start also where this
        is a worker process that replaces another.
        """
        for renewal in self.renewals:
            if renewal.reads_files:
                await renewal.check()
        renewing = [asyncio.create_task(keep_current(renewal)) for renewal in self.renewals]
        try:
            yield
        finally:
            for task in renewing:
                await stop_renewal(task)
            await self.workers.stop()

    def front_door(self, context: Context, hooks: GuardedHooks) -> Layer:
        """Return the first layer of a connection."""
        record = self._connections.of(context.client)
        return FrontDoorLayer(context, record, self.policy.limits, hooks)

    def _renew_rules(self, setup: EngineSetup, compiled: CompiledRules) -> None:
        engines = setup.make(compiled)
        self.workers.renew(setup)
        self._inspection.engines = engines


def _publication_tls(policy: Policy, clock: Clock) -> list[PublicationTls]:
    try:
        return [
            PublicationTls(publication, CALLBACKS, clock) for _, publication in policy.bridged()
        ]
    except SSL.Error as error:
        reasons = "; ".join(reason for *_, reason in error.args[0]) if error.args else ""
        raise StartError(f"OpenSSL does not accept a certificate or key: {reasons}") from error
