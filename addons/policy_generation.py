"""Everything that is built from one policy: TLS contexts, trusts, rules, and deciding hooks.

A connection keeps the generation that it began with. A generation also owns what runs for it, the
renewals and the inspection workers, while `running` is entered. `SharedState` is open longer.

A reload (`addons.run`) builds another generation, enters its `running`, replaces
`Bridge.generation`, and leaves the `running` of the previous one after its last connection.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from mitmproxy.proxy.context import Context
from mitmproxy.proxy.layer import Layer
from OpenSSL import SSL

from ibcm_bridge.addons.audit.trail import AuditTrail
from ibcm_bridge.addons.clock import Clock
from ibcm_bridge.addons.connections import Connections
from ibcm_bridge.addons.engines.content_engines import EngineSetup, engine_setup
from ibcm_bridge.addons.engines.inspection_workers import InspectionWorkers
from ibcm_bridge.addons.engines.rule_compiler import compiled_elsewhere
from ibcm_bridge.addons.errors import StartError
from ibcm_bridge.addons.events import ScanObserver, TrafficObserver
from ibcm_bridge.addons.hooks.bindings import Bindings
from ibcm_bridge.addons.hooks.body_inspection import BodyInspection
from ibcm_bridge.addons.hooks.client_authentication import CALLBACKS, ClientAuthentication
from ibcm_bridge.addons.hooks.client_identification import ClientIdentification
from ibcm_bridge.addons.hooks.client_judgement import ClientJudgement
from ibcm_bridge.addons.hooks.end_reporting import EndReporting
from ibcm_bridge.addons.hooks.reply_inspection import ReplyInspection
from ibcm_bridge.addons.hooks.request_authorization import RequestAuthorization
from ibcm_bridge.addons.hooks.shadow_judgement import ShadowJudgement
from ibcm_bridge.addons.hooks.site_system_authentication import SiteSystemAuthentication
from ibcm_bridge.addons.hooks.upload_assembly import UploadAssembly
from ibcm_bridge.addons.layers.front_door import FrontDoorLayer
from ibcm_bridge.addons.layers.site_system_states import SiteSystemStates
from ibcm_bridge.addons.renewal.renewal import keep_current, stop_renewal
from ibcm_bridge.addons.renewal.revocation_renewal import crl_renewals
from ibcm_bridge.addons.renewal.rules_renewal import RulesRenewal
from ibcm_bridge.addons.server.hook_dispatch import Hooks
from ibcm_bridge.addons.stages import GuardedHooks
from ibcm_bridge.addons.tls.publication_tls import PublicationTls
from ibcm_bridge.inspection.engines import CompiledRules, Scanned
from ibcm_bridge.policy.addresses import Address
from ibcm_bridge.policy.policy import Policy
from ibcm_bridge.policy.publications import Listener, PlaintextListener


@dataclass(frozen=True, slots=True)
class SharedState:
    """The state that all generations of a bridge share."""

    connections: Connections
    audit: AuditTrail
    ends: EndReporting
    judgement: ClientJudgement
    uploads: UploadAssembly
    bindings: Bindings
    observers: Sequence[TrafficObserver]
    clock: Clock
    check_seconds: float
    """The interval at which files are checked for changes."""


class Rules(NamedTuple):
    """The rules of one policy, read and compiled."""

    setup: EngineSetup
    compiled: CompiledRules


class Parts(NamedTuple):
    """The parts of a generation that take time to build. Any thread may build them."""

    rules: Rules
    tls: Sequence[PublicationTls]


def build_parts(
    policy: Policy, clock: Clock, setup: EngineSetup | None = None, known: Rules | None = None
) -> Parts:
    """Build the parts. Raise StartError, RuleError, or OSError or ValueError for unreadable rules.

    `setup` has the rules, if they have been read before. `known` are those of a bridge that serves:
    they are used again if they are equal, and otherwise another process compiles the new ones.
    """
    # Read once, so that the bridge and the workers use the same rules.
    setup = setup or engine_setup(policy)
    if known is None:
        known = Rules(setup, CompiledRules(setup.malware_rules))
    elif known.setup != setup:
        known = Rules(setup, compiled_elsewhere(setup.malware_rules, known.compiled.sets))
    return Parts(known, _publication_tls(policy, clock))


class Generation:
    """One policy, and everything that is built from it."""

    def __init__(self, policy: Policy, shared: SharedState, parts: Parts | None = None) -> None:
        """Build everything, or use `parts`. Raise as `build_parts` does.

        Only in the thread that will inspect bodies: a scanner of YARA-X stays in its thread.
        """
        parts = parts or build_parts(policy, shared.clock)
        self.policy = policy
        self.connections = 0
        self.listeners: Mapping[Address, Listener | PlaintextListener] = {
            listener.address: listener for listener in policy.listeners
        }
        self.per_source = policy.per_source
        self.publication_tls = parts.tls
        self.site_systems = SiteSystemStates(policy)
        self.rules = parts.rules
        setup = parts.rules.setup
        self.workers = InspectionWorkers(setup, policy.limits.inspection_workers)
        self._scanned = _scan_observer(shared.observers)
        engines = setup.make(parts.rules.compiled, self._scanned)
        self._inspection = BodyInspection(engines, self.workers.inspect, self._scanned)
        trusts = [trust for tls in self.publication_tls for trust in tls.trusts()]
        self.renewals = (
            *crl_renewals(trusts, shared.check_seconds),
            RulesRenewal(
                policy, setup, parts.rules.compiled, self._renew_rules, shared.check_seconds
            ),
        )
        self._connections = shared.connections
        self._shadow = ShadowJudgement.of(policy, shared.bindings, shared.clock)
        # In calling order. The audit comes before the addons that decide on a head.
        self.hooks = Hooks(
            [
                shared.audit,
                shared.ends,
                ClientAuthentication(shared.connections, self.publication_tls),
                shared.judgement,
                RequestAuthorization(policy.never),
                shared.uploads,
                self._inspection,
                ReplyInspection(policy.messages),
                ClientIdentification(shared.bindings, policy.messages, shared.clock),
                SiteSystemAuthentication(shared.connections),
            ],
            shared.observers,
        )

    @property
    def digest(self) -> str:
        """The digest of the policy."""
        return self.policy.digest

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
        record.shadow = self._shadow
        return FrontDoorLayer(context, record, self.policy.limits, hooks, self.site_systems)

    def retire(self) -> None:
        """End idle inspection workers: only open connections still use this generation."""
        self.workers.renew(self.rules.setup)

    def release(self) -> None:
        """Drop the engines, after the last connection. What still inspected a body would fail.

        A scanner of YARA-X must be dropped by the thread that made it. The garbage collector can
        run in any thread.
        """
        del self._inspection.engines

    def _renew_rules(self, setup: EngineSetup, compiled: CompiledRules) -> None:
        engines = setup.make(compiled, self._scanned)
        self.rules = Rules(setup, compiled)
        self.workers.renew(setup)
        self._inspection.engines = engines


def _scan_observer(observers: Sequence[TrafficObserver]) -> Scanned | None:
    """Return a function that reports a scan to all who want to know it; None without one."""
    counting = [observer for observer in observers if isinstance(observer, ScanObserver)]
    if not counting:
        return None
    if len(counting) == 1:
        return counting[0].scanned

    def scanned(engine: str, seconds: float) -> None:
        for observer in counting:
            observer.scanned(engine, seconds)

    return scanned


def _publication_tls(policy: Policy, clock: Clock) -> list[PublicationTls]:
    try:
        return [
            PublicationTls(publication, CALLBACKS, clock) for _, publication in policy.bridged()
        ]
    except SSL.Error as error:
        reasons = "; ".join(reason for *_, reason in error.args[0]) if error.args else ""
        raise StartError(f"OpenSSL does not accept a certificate or key: {reasons}") from error
