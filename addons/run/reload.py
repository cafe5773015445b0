"""Replaces the policy of a running bridge.

1. The policy file is read and checked, everything is built from it, and new listeners are opened,
   in a thread.
2. The new generation replaces the current one, for new connections. Listeners that the policy no
   longer has are closed. Open connections stay in their generation to their end.

After any problem the current policy stays in use. A bridge that drains takes no other one.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from socket import socket
from typing import NamedTuple

from ibcm_bridge.addons.bridge import Bridge
from ibcm_bridge.addons.errors import StartError
from ibcm_bridge.addons.policy_generation import Generation, Parts, build_parts
from ibcm_bridge.addons.run.generations import Generations
from ibcm_bridge.addons.run.master import BridgeMaster
from ibcm_bridge.addons.server.open_sockets import close_sockets, open_all
from ibcm_bridge.inspection.engines import RuleError
from ibcm_bridge.policy.addresses import Address
from ibcm_bridge.policy.policy import Policy
from ibcm_bridge.policy_file import PolicyError

logger = logging.getLogger(__name__)


class PolicyText(NamedTuple):
    """The texts that a policy was read from."""

    policy: bytes
    shadow: bytes | None = None
    """That of `run --shadow`; None without it."""

    @classmethod
    def of(cls, policy: Policy) -> PolicyText:
        """Return the texts of a policy."""
        return cls(policy.source, policy.shadow.source if policy.shadow is not None else None)


class PolicySource(NamedTuple):
    """Reads the policy, and reports each reload."""

    read: Callable[[PolicyText | None], Policy]
    """Checks the files of the policy and of its shadow, or texts in their place: then no file is
    read for what these lack. Raises PolicyError."""
    report: Callable[[str, Sequence[str]], None]
    """Called after a reload with the digest of the policy in use, and the problems."""


DRAINING = "the bridge is draining, and takes no other policy"
"""The problem of a reload after the signal to stop."""

type Opened = Mapping[Address, Sequence[socket]]

FIXED: Mapping[str, Callable[[Policy], object]] = {
    "workers": lambda policy: policy.workers,
    "state": lambda policy: policy.state,
    "audit": lambda policy: (policy.audit_file, policy.when_unwritable),
    "messages.bindings": lambda policy: policy.messages.bindings_file,
    "operations": lambda policy: policy.operations,
    "uploads": lambda policy: policy.uploads,
    "limits.connections": lambda policy: policy.limits.connections,
    "limits.buffered_bytes": lambda policy: policy.limits.buffered_bytes,
}
"""The keys of what outlives a policy."""


@dataclass(frozen=True, slots=True)
class Prepared:
    """A policy that only has to be taken."""

    generation: Generation
    opened: Opened
    """The sockets of new listeners."""

    def drop(self) -> None:
        """Close the sockets again, and release what was built."""
        close_sockets(self.opened)
        self.generation.release()


class Reload:
    """Replaces the policy of one process."""

    def __init__(self, bridge: Bridge, master: BridgeMaster, generations: Generations) -> None:
        self._bridge = bridge
        self._master = master
        self._generations = generations
        self._busy = asyncio.Lock()

    async def run(self, source: PolicySource) -> Sequence[str]:
        """Read a policy and take it. Count, report and return the problems. Never raises."""
        async with self._busy:
            problems: Sequence[str] = ()
            try:
                taken = not self._bridge.draining and await self._take(
                    await self.prepare(lambda: source.read(None))
                )
                problems = () if taken else [DRAINING]
            except PolicyError as error:
                problems = error.problems
            except Exception as error:  # a defect must not stop the bridge
                logger.exception("defect in a reload")
                problems = [f"defect in the reload: {type(error).__name__}"]
            if problems:
                self._bridge.reloads.count(problems)
        source.report(self._bridge.generation.digest, problems)
        return problems

    async def renew(self, policy: Policy, read: Callable[[], Policy]) -> bool:
        """Build a policy again, from files that have changed, unless another is in use now.

        Return whether it was built. Raise PolicyError.
        """
        async with self._busy:
            if self._bridge.generation.policy is not policy or self._bridge.draining:
                return False
            prepared = await self.prepare(read, {})
            await self._generations.replace(prepared.generation)
            return True

    async def prepare(self, read: Callable[[], Policy], opened: Opened | None = None) -> Prepared:
        """Build everything, and open new listeners unless `opened` has them.

        Raise PolicyError if that fails.
        """
        current = self._bridge.generation
        clock = self._bridge.shared.clock

        def build() -> tuple[Policy, Parts, Opened]:
            policy = read()
            if problems := fixed_problems(current.policy, policy):
                raise PolicyError(problems)
            try:
                parts = build_parts(policy, clock, known=current.rules)
                return policy, parts, open_new(current.policy, policy) if opened is None else opened
            except (StartError, RuleError, OSError, ValueError) as error:
                raise PolicyError([str(error)]) from error

        policy, parts, sockets = await asyncio.to_thread(build)
        # A scanner of YARA-X stays in the thread that made it.
        return Prepared(Generation(policy, self._bridge.shared, parts), sockets)

    def drop(self, prepared: Prepared | None) -> None:
        """Do not use a policy that this worker, another one or their parent refuses."""
        if prepared is not None:
            prepared.drop()
        self._bridge.reloads.count(["the log has the problems"])

    async def take(self, prepared: Prepared) -> None:
        """Use a policy for new connections. A bridge that is draining only closes its sockets."""
        # A renewal at the same time would use the previous policy again.
        async with self._busy:
            await self._take(prepared)

    async def _take(self, prepared: Prepared) -> bool:
        """Return False if the bridge is draining, and does not use the policy."""
        if self._bridge.draining:
            prepared.drop()
            return False
        sockets, listeners = self._bridge.sockets, prepared.generation.listeners
        sockets.update(prepared.opened)
        await self._generations.replace(prepared.generation)
        self._bridge.reloads.count(())
        if self._bridge.draining:
            return True  # its listeners are closed, and no other may open
        if not await self._master.listen(listeners):
            logger.error("a listener of the new policy could not be opened")
        for removed in [address for address in sockets if address not in listeners]:
            del sockets[removed]
        return True


def fixed_problems(current: Policy, policy: Policy) -> list[str]:
    """Return a line for each changed key that only a restart can change."""
    return [
        f"{key}: a reload cannot change this key; restart the bridge"
        for key, value in FIXED.items()
        if value(current) != value(policy)
    ]


def open_new(current: Policy, policy: Policy) -> Opened:
    """Listen at the addresses that only the new policy has. Raise OSError if that fails."""
    known = {listener.address for listener in current.listeners}
    return open_all(
        listener.address for listener in policy.listeners if listener.address not in known
    )
