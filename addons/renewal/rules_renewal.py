"""Rules are read again when their files have changed, while the bridge runs.

What compiles takes effect for every inspection that begins afterwards, here and in the workers.
What does not leaves the rules as they are, and the log says so, once.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from pathlib import Path

from ibcm_bridge.addons.engines.content_engines import EngineSetup, engine_setup
from ibcm_bridge.inspection.engines import CompiledRules
from ibcm_bridge.policy.policy import Policy
from ibcm_bridge.policy_file.rule_files import rule_files

logger = logging.getLogger(__name__)

Renewed = Callable[[EngineSetup, CompiledRules], None]
_Stamp = tuple[tuple[Path, int, int], ...]


class RulesRenewal:
    """Watches the rule files of one policy; `renewed` is given what is new, on the event loop."""

    def __init__(
        self, policy: Policy, held: EngineSetup, renewed: Renewed, look_seconds: float
    ) -> None:
        self._policy = policy
        self._held = held
        self._renewed = renewed
        self._look_seconds = look_seconds
        self._stamp: _Stamp | None = None
        self._said = ""

    async def run(self) -> None:
        """Until cancelled."""
        while self._policy.rule_files:
            await self.look()
            await asyncio.sleep(self._look_seconds)

    async def look(self) -> None:
        """Read again what has changed. Never raises: whatever happens, the rules held stay."""
        try:
            found = await asyncio.to_thread(self._read_again)
        except BaseException as error:  # a panic of YARA-X is no Exception
            if isinstance(error, asyncio.CancelledError | KeyboardInterrupt | SystemExit):
                raise
            # Of rules of the operator's own the text says which line is wrong.
            self._say(f"{type(error).__name__}: {error}")
            return
        self._said = ""
        if found is not None:
            setup, compiled = found
            self._renewed(setup, compiled)
            self._held = setup
            logger.info("rules: read again; %d files", len(setup.rules))

    def _read_again(self) -> tuple[EngineSetup, CompiledRules] | None:
        seen = _stamp(self._policy)
        if seen == self._stamp:
            return None
        setup = engine_setup(self._policy)
        # Compiling holds up everybody for a part of its time: once is enough.
        self._stamp = seen
        return None if setup == self._held else (setup, CompiledRules(setup.rules))

    def _say(self, problem: str) -> None:
        if problem != self._said:
            logger.warning("rules: %s; those before are kept", problem)
        self._said = problem


def _stamp(policy: Policy) -> _Stamp:
    return tuple(
        (path, status.st_mtime_ns, status.st_size)
        for path in rule_files(policy.rule_files)
        for status in (path.stat(),)
    )
