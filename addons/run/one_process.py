"""The bridge of one process, as its control socket sees it."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from ibcm_bridge.addons.bridge import Bridge
from ibcm_bridge.addons.operations.serving import OperationsSetup
from ibcm_bridge.addons.run.background import run_in_background
from ibcm_bridge.addons.run.handover import Inherited
from ibcm_bridge.addons.run.reload import PolicySource, Reload
from ibcm_bridge.addons.run.startup import Startup
from ibcm_bridge.addons.server.stopping import Stop


class OneProcess:
    """See `control.Controlled`."""

    def __init__(
        self,
        bridge: Bridge,
        reload: Reload,
        source: PolicySource,
        stop: Stop,
        operations: OperationsSetup,
        *,
        startup: Startup,
    ) -> None:
        self._bridge = bridge
        self._reload = reload
        self._source = source
        self._stop = stop
        self._operations = operations
        self._startup = startup

    @property
    def digest(self) -> str:
        """The digest of the policy in use."""
        return self._bridge.generation.digest

    def reload(self, done: Callable[[Sequence[str]], None]) -> None:
        """Reload the policy, and call `done` with the problems."""
        run_in_background(self._run(done))

    async def _run(self, done: Callable[[Sequence[str]], None]) -> None:
        done(await self._reload.run(self._source))

    def sockets(self) -> Inherited:
        """Return all listening sockets."""
        operations = self._bridge.generation.policy.operations
        others = {} if operations is None else {operations.listen: self._operations.sockets}
        return self._startup.inherited.with_sockets({**self._bridge.sockets, **others})

    def hand_over(self) -> None:
        """Stop. The first signal must not cut off anything, so this does not count as one."""
        self._stop.begun.set()
        run_in_background(self._operations.stop_serving())
