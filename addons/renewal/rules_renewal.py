"""Rules are read again when their files have changed, while the bridge runs.

What compiles takes effect for every inspection that begins afterwards, here and in the workers.
What does not leaves the rules as they are, and the log says so, once.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable

from ibcm_bridge.addons.engines.content_engines import EngineSetup, engine_setup
from ibcm_bridge.addons.renewal.file_watch import FileWatch, Problems
from ibcm_bridge.inspection.engines import CompiledRules
from ibcm_bridge.policy.policy import Policy
from ibcm_bridge.policy_file.rule_files import rule_files

logger = logging.getLogger(__name__)

Renewed = Callable[[EngineSetup, CompiledRules], None]


class RulesRenewal:
    """Watches the rule files of one policy; `renewed` is given what is new, on the event loop."""

    def __init__(
        self, policy: Policy, current: EngineSetup, renewed: Renewed, look_seconds: float
    ) -> None:
        self._current = current
        self._renewed = renewed
        self._look_seconds = look_seconds
        self._problems = Problems("rules", "; those before are kept")
        self._watch = FileWatch(lambda: rule_files(policy.rule_files), lambda: engine_setup(policy))

    async def look(self) -> float:
        """Read again what has changed. Never raises: whatever happens, current rules stay."""
        try:
            found = await asyncio.to_thread(self._read_again)
        except BaseException as error:  # a panic of YARA-X is no Exception
            if isinstance(error, asyncio.CancelledError | KeyboardInterrupt | SystemExit):
                raise
            # Of rules of the operator's own the text says which line is wrong.
            self._problems.update([f"{type(error).__name__}: {error}"])
            return self._look_seconds
        self._problems.update([])
        if found is not None:
            self._current, compiled = found
            self._renewed(self._current, compiled)
            logger.info("rules: read again; %d files", len(self._current.rules))
        return self._look_seconds

    def _read_again(self) -> tuple[EngineSetup, CompiledRules] | None:
        setup = self._watch.look()
        if setup is None or setup == self._current:
            return None
        # Compiling holds up everybody for a part of its time: once is enough, so what does not
        # compile is not tried again until it changes.
        return setup, CompiledRules(setup.rules)
