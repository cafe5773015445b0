"""The composition root: the state shared by all generations, and the current generation."""

from __future__ import annotations

import contextlib
import socket
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from ibcm_bridge.addons.audit.file import Turn
from ibcm_bridge.addons.audit.trail import AuditTrail
from ibcm_bridge.addons.clock import Clock, utc_now
from ibcm_bridge.addons.connections import ONE_PROCESS, Capacity, Connections, Totals
from ibcm_bridge.addons.engines.content_engines import EngineSetup
from ibcm_bridge.addons.errors import StartError
from ibcm_bridge.addons.events import TrafficObserver
from ibcm_bridge.addons.hooks.bindings import Bindings, LocalBindings
from ibcm_bridge.addons.hooks.client_judgement import ClientJudgement
from ibcm_bridge.addons.hooks.end_reporting import EndReporting
from ibcm_bridge.addons.hooks.upload_assembly import UploadAssembly
from ibcm_bridge.addons.operations.serving import OperationsSetup
from ibcm_bridge.addons.policy_generation import Generation, SharedState, build_parts
from ibcm_bridge.addons.renewal.file_watch import Problems
from ibcm_bridge.addons.renewal.renewal import CHECK_SECONDS, Kind
from ibcm_bridge.os_errors import cannot_write
from ibcm_bridge.policy.addresses import Address
from ibcm_bridge.policy.message_policy import Enforcement
from ibcm_bridge.policy.policy import Policy
from ibcm_bridge.sources import Elsewhere
from ibcm_bridge.storage.binding_registry import RegistryError, no_registry
from ibcm_bridge.storage.upload_table import SpoolError


@dataclass(frozen=True, slots=True)
class SharedByWorkers:
    """What a worker process gets from its parent, and in part shares with the other workers."""

    sockets: Mapping[Address, Sequence[socket.socket]]
    """The sockets at which a listener listens in this process."""
    totals: Totals
    sources: Elsewhere
    turn: Turn
    operations: OperationsSetup
    setup: EngineSetup
    """The rules of the start. A worker that starts later must not need the present ones."""


@dataclass(slots=True)
class ReloadState:
    """The reloads of a running bridge."""

    done: int = 0
    """Policies that were taken after the start."""
    refused: int = 0
    problems: tuple[str, ...] = ()
    """The problems of the last reload."""

    def count(self, problems: Sequence[str]) -> None:
        """Count a reload, which was refused if it has problems."""
        self.problems = tuple(problems)
        self.refused += bool(problems)
        self.done += not problems


class Bridge:
    """A bridge, or one worker process of it; the `Runtime` of its listeners."""

    def __init__(
        self,
        policy: Policy,
        observers: Sequence[TrafficObserver] = (),
        *,
        clock: Clock = utc_now,
        check_seconds: float = CHECK_SECONDS,
        sockets: Mapping[Address, Sequence[socket.socket]] | None = None,
        shared: SharedByWorkers | None = None,
    ) -> None:
        """Open the shared state and build the first generation. Raise StartError or RuleError.

        `observers` are addons that only watch. They get each end after its audit record is written.
        Their hooks run after the bridge's hooks, guarded as well, with mitmproxy's flows; changes
        that they make to a flow are not sent. `sockets` are listeners that are open already, and
        `shared` what this has as one of several workers.
        """
        limits, totals = policy.limits, shared.totals if shared else ONE_PROCESS
        elsewhere = shared.sources if shared else None
        self.sockets = dict(shared.sockets if shared else sockets or {})
        self.reloads = ReloadState()
        self.credential_problems = Problems(
            "certificates and keys", "; the current ones stay in use"
        )
        """Why changed certificates and keys are not in use."""
        self.draining = False
        """True from the signal to stop to the end of the process."""
        capacity = Capacity(limits.connections, limits.buffered_bytes, totals)
        self.connections = Connections(capacity, elsewhere)
        with contextlib.ExitStack() as opened:
            bindings = opened.enter_context(contextlib.closing(_bindings(policy)))
            uploads = opened.enter_context(contextlib.closing(_upload_assembly(policy)))
            trail = _audit_trail(policy, clock, shared.turn if shared else None)
            audit = opened.enter_context(contextlib.closing(trail))
            ends = EndReporting(self.connections, [audit, *observers])
            self.shared = SharedState(
                connections=self.connections,
                audit=audit,
                ends=ends,
                judgement=ClientJudgement(self.connections, ends.connection_refused, clock),
                uploads=uploads,
                bindings=bindings,
                observers=observers,
                clock=clock,
                check_seconds=check_seconds,
            )
            parts = build_parts(policy, clock, shared.setup if shared else None)
            self.generation = Generation(policy, self.shared, parts)
            """The generation of new connections."""
            self.use(self.generation)
            self._opened = opened.pop_all()

    def use(self, generation: Generation) -> None:
        """Use a generation for new connections, and to judge the clients of all connections."""
        self.generation = generation
        self.shared.judgement.use(generation)
        keep = any(tls.client_trust is not None for tls in generation.publication_tls)
        self.connections.capacity.keep_for_authenticated(keep=keep)

    def file_problems(self) -> dict[Kind, list[str]]:
        """Return why new files are not in use, for the operator, by the kind of the files."""
        found = {kind: list[str]() for kind in Kind}
        found[Kind.CERTIFICATES] += self.credential_problems.current()
        for renewal in self.generation.renewals:
            found[renewal.kind] += renewal.problems()
        return found

    def running(self) -> contextlib.AbstractAsyncContextManager[None]:
        """Use the bindings in this event loop until the exit."""
        return self.shared.bindings.running()

    def close(self) -> None:
        """Close the audit, the upload spool and the bindings, and drop the engines.

        In the thread that made the bridge: see `Generation.release`.
        """
        self.generation.release()
        self._opened.close()


def _bindings(policy: Policy) -> Bindings:
    messages = policy.messages
    path, enforced = messages.bindings_file, messages.identity is Enforcement.ENFORCE
    # Also for a worker that is started after the file, or the database, was lost.
    if path is not None and enforced and (why_not := no_registry(path)) is not None:
        raise StartError(why_not)
    try:
        if policy.state is not None:
            # psycopg is an extra, and has to be there only with `state`.
            from ibcm_bridge.addons.hooks.database.shared_bindings import (  # noqa: PLC0415
                SharedBindings,
            )

            return SharedBindings(policy.state, creates=not enforced)
        return LocalBindings(path)
    except RegistryError as error:
        raise StartError(str(error)) from error


def _upload_assembly(policy: Policy) -> UploadAssembly:
    try:
        return UploadAssembly(policy.uploads, state=policy.state)
    except SpoolError as error:
        raise StartError(str(error)) from error
    except OSError as error:
        otherwise = "name a file in uploads.spool, or another folder in TMPDIR"
        raise StartError(
            cannot_write(error, error.filename or "the upload spool", otherwise)
        ) from error


def _audit_trail(policy: Policy, clock: Clock, turn: Turn | None) -> AuditTrail:
    try:
        return AuditTrail(policy.audit_file, policy.when_unwritable, clock, turn)
    except OSError as error:
        place = policy.audit_file or "the audit on standard output"
        text = cannot_write(error, place, "name another file in audit.file")
        raise StartError(text) from error
