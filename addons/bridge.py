"""The composition root: what is open for as long as the bridge runs, and the current generation."""

from __future__ import annotations

import contextlib
from collections.abc import Sequence

from ibcm_bridge.addons.audit.trail import AuditTrail
from ibcm_bridge.addons.connections import Connections
from ibcm_bridge.addons.errors import StartError
from ibcm_bridge.addons.events import Watcher
from ibcm_bridge.addons.generation import Generation, Lasting
from ibcm_bridge.addons.hooks.ends import Ends
from ibcm_bridge.addons.hooks.upload_spool import UploadSpool
from ibcm_bridge.addons.renewal.renewal import CHECK_SECONDS
from ibcm_bridge.addons.tls.current_trust import Clock, utc_now
from ibcm_bridge.os_errors import cannot_write
from ibcm_bridge.policy.policy import Policy
from ibcm_bridge.request.memory_budget import Budget
from ibcm_bridge.storage.binding_registry import Registry, RegistryError
from ibcm_bridge.storage.upload_spool import SpoolError


class Bridge:
    """The `Runtime` of the listeners."""

    def __init__(
        self,
        policy: Policy,
        watching: Sequence[Watcher] = (),
        *,
        clock: Clock = utc_now,
        check_seconds: float = CHECK_SECONDS,
    ) -> None:
        """Open what lasts and build the first generation; StartError or RuleError otherwise.

        `watching` are addons that look on: they are given what the audit has recorded, and their
        hooks are called after ours, guarded like ours, with mitmproxy's flows. What they change in
        a flow is not sent.
        """
        limits = policy.limits
        self.connections = Connections(limits.connections, Budget(limits.buffered_bytes))
        with contextlib.ExitStack() as opened:
            registry = opened.enter_context(contextlib.closing(_registry(policy)))
            uploads = opened.enter_context(contextlib.closing(_upload_spool(policy)))
            audit = opened.enter_context(contextlib.closing(_audit_trail(policy)))
            ends = Ends(self.connections, [audit, *watching])
            self.lasting = Lasting(
                self.connections, audit, ends, uploads, registry, watching, clock, check_seconds
            )
            self.generation = Generation(policy, self.lasting)
            self._opened = opened.pop_all()

    def close(self) -> None:
        """Close the audit, the spool, and what client GUIDs are bound to."""
        self._opened.close()


def _registry(policy: Policy) -> Registry:
    try:
        return Registry(policy.messages.bindings_file)
    except RegistryError as error:
        raise StartError(str(error)) from error


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
