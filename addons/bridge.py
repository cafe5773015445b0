"""The composition root: everything that one policy needs, put together."""

from __future__ import annotations

import contextlib
from collections.abc import Sequence

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
from ibcm_bridge.addons.hooks.client_authentication import ClientAuthentication
from ibcm_bridge.addons.hooks.client_identity import ClientIdentity
from ibcm_bridge.addons.hooks.ends import Ends
from ibcm_bridge.addons.hooks.request_authorization import RequestAuthorization
from ibcm_bridge.addons.hooks.response_inspection import ReplyInspection
from ibcm_bridge.addons.hooks.site_system_authentication import SiteSystemAuthentication
from ibcm_bridge.addons.hooks.upload_spool import UploadSpool
from ibcm_bridge.addons.layers.front_door import FrontDoorLayer
from ibcm_bridge.addons.renewal.revocation_renewal import LOOK_SECONDS, RevocationRenewal
from ibcm_bridge.addons.renewal.rules_renewal import RulesRenewal
from ibcm_bridge.addons.server import hook_dispatch
from ibcm_bridge.addons.tls.current_trust import Clock, utc_now
from ibcm_bridge.inspection.engines import CompiledRules
from ibcm_bridge.os_errors import cannot_write
from ibcm_bridge.policy.policy import Policy
from ibcm_bridge.request.memory_budget import Budget
from ibcm_bridge.storage.binding_registry import Registry, RegistryError
from ibcm_bridge.storage.upload_spool import SpoolError


class Bridge:
    """Everything one policy needs: the `Runtime` of `listener`."""

    def __init__(
        self,
        policy: Policy,
        watching: Sequence[Watcher] = (),
        *,
        clock: Clock = utc_now,
        look_seconds: float = LOOK_SECONDS,
    ) -> None:
        """Build contexts, rules and the audit file; StartError or RuleError otherwise.

        `watching` are addons that look on: they are given what the audit has recorded, and their
        hooks are called after ours, guarded like ours, with mitmproxy's flows. What they change in
        a flow is not sent.
        """
        self.policy = policy
        limits = policy.limits
        self.connections = Connections(limits.connections, Budget(limits.buffered_bytes))
        self.listeners = dict(enumerate(policy.listeners))
        published = [publication for _, publication in policy.bridged()]
        try:
            client_leg = ClientAuthentication(self.connections, published, clock)
            site_system_leg = SiteSystemAuthentication(self.connections, published, clock)
        except SSL.Error as error:
            reasons = "; ".join(reason for *_, reason in error.args[0]) if error.args else ""
            raise StartError(f"OpenSSL does not take a certificate or key: {reasons}") from error
        # Read once: the workers look for exactly what the bridge looks for.
        setup = engine_setup(policy)
        self.workers = InspectionWorkers(setup, limits.inspection_workers)
        self._inspection = BodyInspection(setup.make(), self.workers.look)
        self.rules = RulesRenewal(policy, setup, self._renew_rules, look_seconds)
        self.held = [*client_leg.held, *site_system_leg.held]
        """The trusts of all legs, each with the key of the policy file it is for."""
        self.renewal = RevocationRenewal(self.held, look_seconds)
        try:
            self._registry = Registry(policy.messages.bindings_file)
        except RegistryError as error:
            raise StartError(str(error)) from error
        with contextlib.ExitStack() as opened:
            opened.callback(self._registry.close)
            self._uploads = _upload_spool(policy)
            opened.callback(self._uploads.close)
            self._audit = _audit_trail(policy)
            opened.pop_all()
        self.hooks = hook_dispatch.Hooks(
            [
                self._audit,
                Ends(self.connections, [self._audit, *watching]),
                client_leg,
                RequestAuthorization(policy.never),
                # Between the two: what is inspected is what is kept.
                self._uploads,
                self._inspection,
                # Before what learns from an answer: only one that may pass is learnt from.
                ReplyInspection(policy.messages),
                ClientIdentity(self._registry, policy.messages, clock),
                site_system_leg,
                *watching,
            ]
        )

    def _renew_rules(self, setup: EngineSetup, compiled: CompiledRules) -> None:
        engines = setup.make(compiled)
        self.workers.renew(setup)
        self._inspection.engines = engines

    def front_door(self, context: Context) -> Layer:
        """The first layer of a connection."""
        record = self.connections.of(context.client)
        return FrontDoorLayer(context, record, self.policy.limits)

    def close(self) -> None:
        """Close the audit, and what client GUIDs are bound to."""
        self._audit.close()
        self._uploads.close()
        self._registry.close()


def _upload_spool(policy: Policy) -> UploadSpool:
    try:
        return UploadSpool(policy.uploads)
    except SpoolError as error:
        raise StartError(str(error)) from error
    except OSError as error:
        otherwise = "name a file in uploads.spool, or another folder in TMPDIR"
        raise StartError(
            cannot_write(error, error.filename or "the spool of uploads", otherwise)
        ) from error


def _audit_trail(policy: Policy) -> AuditTrail:
    try:
        return AuditTrail(policy.audit_file, policy.when_unwritable)
    except OSError as error:
        place = policy.audit_file or "the audit, to standard output,"
        text = cannot_write(error, place, "name another file in audit.file")
        raise StartError(text) from error
