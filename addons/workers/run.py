"""Runs a bridge in several worker processes (Linux).

The parent reads the policy and the rules, listens, and then forks the workers, before there is an
event loop, a thread, a TLS context, a scanner or an open database. Each worker is a whole bridge
(`addons.bridge`) with its own listening sockets. They share what a bridge has once:

1. The limits of connections and memory (`shared_totals`).
2. Bindings and uploads: files of the policy, or else files in a temporary folder of the parent.
3. The audit file or standard output, in turns (`writing_turn`).

4. One set of metrics (`shared_board`): any worker responds for all.

Inspection workers are divided among the workers. Each renews lists and rules by itself.
"""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
import signal
import socket
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path
from typing import NamedTuple

from ibcm_bridge.addons.bridge import Bridge, SharedByWorkers
from ibcm_bridge.addons.engines.content_engines import EngineSetup, engine_setup
from ibcm_bridge.addons.errors import StartError
from ibcm_bridge.addons.operations.numbers import Numbers
from ibcm_bridge.addons.operations.serving import (
    OperationsSetup,
    listen,
    operating,
    traffic_metrics,
)
from ibcm_bridge.addons.renewal.renewal import keep_current
from ibcm_bridge.addons.run.background import run_in_background
from ibcm_bridge.addons.run.credential_files import CredentialFiles
from ibcm_bridge.addons.run.handover import Inherited
from ibcm_bridge.addons.run.reload import PolicySource, PolicyText, Reload, fixed_problems
from ibcm_bridge.addons.run.serve import exclude_from_collection, serve, stopped_by_signals
from ibcm_bridge.addons.run.startup import Startup
from ibcm_bridge.addons.workers.controlled import ControlledWorkers
from ibcm_bridge.addons.workers.heartbeats import Heartbeats
from ibcm_bridge.addons.workers.listening import Listening
from ibcm_bridge.addons.workers.orders import Orders
from ibcm_bridge.addons.workers.process import (
    CUT_OFF,
    READY,
    STOP_AT_ONCE,
    STOP_SIGNALS,
    report,
)
from ibcm_bridge.addons.workers.reload import NewPolicy, WorkersReload
from ibcm_bridge.addons.workers.shared_board import SharedBoard
from ibcm_bridge.addons.workers.shared_sources import SharedSources
from ibcm_bridge.addons.workers.shared_totals import SharedTotals
from ibcm_bridge.addons.workers.supervisor import Supervisor
from ibcm_bridge.addons.workers.writing_turn import WritingTurn
from ibcm_bridge.inspection.engines import RuleError
from ibcm_bridge.os_errors import cannot_write
from ibcm_bridge.policy.addresses import Address
from ibcm_bridge.policy.policy import Policy
from ibcm_bridge.policy_file import PolicyError
from ibcm_bridge.storage.temporary_folder import TemporaryFolder


def run_workers(
    policy: Policy,
    source: PolicySource,
    count: int,
    ready: Callable[[list[Address]], None],
    startup: Startup,
) -> bool:
    """Run `count` workers until SIGTERM or Ctrl-C. `ready` is called with the addresses.

    Return True if all requests and tunnels ended before their time was over. Raise StartError,
    RuleError, OSError, or WorkersError.
    """
    with contextlib.ExitStack() as stack:
        as_read, policy = policy, _with_files(policy, stack)
        setup = engine_setup(policy)
        listening = stack.enter_context(
            contextlib.closing(_listening(policy, count, startup.inherited))
        )
        operations = listen(policy.operations, stack, startup.inherited.sockets)
        served = _Served(as_read, policy, setup)
        workers = _Workers(served, source, listening, operations, count, startup=startup)
        reload = WorkersReload(workers)

        def stopping() -> None:
            startup.close()
            listening.close()

        supervisor = Supervisor(
            count,
            workers.work,
            workers.clear,
            stopping,
            hangs=workers.heartbeats.hangs,
            drain_seconds=lambda: workers.policy.limits.drain_seconds,
            reload=reload,
        )

        def serving() -> None:
            ready(listening.addresses)
            controlled = ControlledWorkers(
                workers,
                reload,
                supervisor,
                listening,
                operations,
                inherited=startup.inherited,
            )
            startup.control(controlled, supervisor.readers)
            startup.finish()
            if startup.reload_asked():
                reload.ask()

        return supervisor.run(serving)


class _Served(NamedTuple):
    """What a new worker serves."""

    as_read: Policy
    policy: Policy
    """With the files that the workers share."""
    setup: EngineSetup

    def with_own_files(self, policy: Policy) -> Policy:
        """Let another policy use the same files. A reload cannot change them."""
        bindings = self.policy.messages.bindings_file
        messages = dataclasses.replace(policy.messages, bindings_file=bindings)
        return dataclasses.replace(policy, uploads=self.policy.uploads, messages=messages)


class _Workers:
    """The state that the workers have from their parent."""

    def __init__(
        self,
        served: _Served,
        source: PolicySource,
        listening: Listening,
        operations: Sequence[socket.socket],
        count: int,
        *,
        startup: Startup,
    ) -> None:
        self.served = served
        self._startup = startup
        self._source = source
        self._next = served
        self._listening = listening
        self._count = count
        self._turn = WritingTurn()
        self._operations = operations
        self._board = SharedBoard(count)
        self.totals = SharedTotals(count)
        self.sources = SharedSources(count)
        self.heartbeats = Heartbeats(count)

    @property
    def policy(self) -> Policy:
        """The policy of new workers."""
        return self.served.policy

    def clear(self, number: int) -> None:
        """Release what a worker held that has ended."""
        self.totals.clear(number)
        self.sources.clear(number)

    def work(self, number: int, stopping: int, parent: int) -> int:
        """Serve in the process of a worker; return its exit status."""
        self._startup.close_in_worker()
        shared = SharedByWorkers(
            self._listening.keep_only(number),
            self.totals.of(number),
            self.sources.of(number),
            self._turn,
            OperationsSetup(self._operations, self._board.of(number)),
            self.served.setup,
        )
        policy = self._part(self.served.policy, number)

        def read(text: PolicyText) -> Policy:
            return self._part(self.served.with_own_files(self._source.read(text)), number)

        try:
            serving = _serve(policy, shared, stopping, parent, read)
            drained = asyncio.run(self._noting_the_time(number, serving))
        except (StartError, RuleError, OSError) as error:
            report(parent, str(error).encode())
            return 1
        return 0 if drained else CUT_OFF

    async def _noting_the_time(self, number: int, serving: Awaitable[bool]) -> bool:
        self.heartbeats.begin(number)
        return await serving

    # A reload, in the parent

    def prepare(self) -> NewPolicy:
        """Read the policy and open new listeners. Raise PolicyError."""
        as_read = self._source.read(None)
        if problems := fixed_problems(self.served.as_read, as_read):
            raise PolicyError(problems)
        try:
            policy = self.served.with_own_files(as_read)
            self._next = _Served(as_read, policy, engine_setup(policy))
            sockets = self._listening.open_new([found.address for found in policy.listeners])
        except (OSError, ValueError) as error:
            raise PolicyError([str(error)]) from error
        return NewPolicy(PolicyText.of(as_read), sockets)

    def take(self) -> None:
        """Use the policy for workers that are started later."""
        self.served = self._next
        self._listening.keep([found.address for found in self.served.policy.listeners])

    def drop(self) -> None:
        """Close the new listeners again."""
        self._listening.keep([found.address for found in self.served.policy.listeners])

    def report(self, problems: Sequence[str]) -> None:
        """Report the outcome."""
        self._source.report(self.served.as_read.digest, problems)

    def _part(self, policy: Policy, number: int) -> Policy:
        return _with_part_of_inspection(policy, number, self._count)


async def _serve(
    policy: Policy,
    shared: SharedByWorkers,
    stopping: int,
    parent: int,
    read: Callable[[PolicyText], Policy],
) -> bool:
    stop = stopped_by_signals()
    signal.pthread_sigmask(signal.SIG_UNBLOCK, STOP_SIGNALS)
    loop = asyncio.get_running_loop()

    def end() -> None:
        loop.remove_reader(stopping)
        stop.begun.set()

    loop.add_reader(stopping, end)

    def take_orders(reload: Reload) -> None:
        orders.append(Orders(parent, reload, read, shared.operations))
        run_in_background(keep_current(CredentialFiles(bridge, reload, read)))

    def serving(_: object) -> None:
        exclude_from_collection()
        report(parent, READY)

    orders: list[Orders] = []
    loop.add_signal_handler(STOP_AT_ONCE, stop.at_once.set)
    numbers = Numbers()
    bridge = Bridge(policy, traffic_metrics(policy, numbers), shared=shared)
    operations = operating(bridge, numbers, shared.operations)
    return await serve(bridge, serving, stop, operations, take_orders)


def _listening(policy: Policy, count: int, inherited: Inherited) -> Listening:
    inherited.close_others(policy.all_addresses)
    try:
        return Listening(policy.listen_addresses, count, inherited.sockets)
    except OSError as error:
        raise StartError(error.strerror or str(error)) from error


def _with_files(policy: Policy, stack: contextlib.ExitStack) -> Policy:
    """Let the workers share a file for what a single process has in memory or in its own folder."""
    if policy.state is not None:
        return policy
    uploads, messages = policy.uploads, policy.messages
    if uploads.spool is None or messages.bindings_file is None:
        folder = _temporary_folder(stack)
        spool = uploads.spool or folder / "uploads.sqlite"
        uploads = dataclasses.replace(uploads, spool=spool)
        bindings = messages.bindings_file or folder / "bindings.sqlite"
        messages = dataclasses.replace(messages, bindings_file=bindings)
    return dataclasses.replace(policy, uploads=uploads, messages=messages)


def _temporary_folder(stack: contextlib.ExitStack) -> Path:
    try:
        return stack.enter_context(contextlib.closing(TemporaryFolder())).path
    except OSError as error:
        otherwise = "name files in uploads.spool and messages.bindings, or another folder in TMPDIR"
        place = error.filename or "the temporary folder"
        raise StartError(cannot_write(error, place, otherwise)) from error


def _with_part_of_inspection(policy: Policy, number: int, count: int) -> Policy:
    """Divide the inspection workers. Each worker has at least one."""
    each, rest = divmod(policy.limits.inspection_workers, count)
    part = max(1, each + (number < rest))
    return dataclasses.replace(
        policy, limits=dataclasses.replace(policy.limits, inspection_workers=part)
    )
