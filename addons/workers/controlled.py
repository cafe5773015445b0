"""The bridge of several workers, as its control socket sees it."""

from __future__ import annotations

import socket
from collections.abc import Callable, Sequence
from typing import Protocol

from ibcm_bridge.addons.run.handover import Inherited
from ibcm_bridge.addons.workers.listening import Listening
from ibcm_bridge.addons.workers.reload import WorkersReload
from ibcm_bridge.addons.workers.supervisor import Supervisor
from ibcm_bridge.policy.policy import Policy


class Serves(Protocol):
    """What knows the policy in use."""

    @property
    def policy(self) -> Policy:
        """The policy of new workers."""


class ControlledWorkers:
    """See `control.Controlled`."""

    def __init__(
        self,
        serves: Serves,
        reload: WorkersReload,
        supervisor: Supervisor,
        listening: Listening,
        operations: Sequence[socket.socket],
        *,
        inherited: Inherited,
    ) -> None:
        self._serves = serves
        self._reload = reload
        self._supervisor = supervisor
        self._listening = listening
        self._operations = operations
        self._inherited = inherited

    @property
    def digest(self) -> str:
        """The digest of the policy in use."""
        return self._serves.policy.digest

    def reload(self, done: Callable[[Sequence[str]], None]) -> None:
        """Reload the policy of all workers, and call `done` with the problems."""
        self._reload.ask(done)

    def sockets(self) -> Inherited:
        """Return all listening sockets."""
        operations = self._serves.policy.operations
        others = {} if operations is None else {operations.listen: self._operations}
        return self._inherited.with_sockets({**self._listening.sockets, **others})

    def hand_over(self) -> None:
        """Stop all workers."""
        self._supervisor.hand_over()
