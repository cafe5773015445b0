"""Reads rules again after their files change, while the bridge runs.

Rules that compile take effect for every later inspection, in this process and in the workers. If
they do not compile, the previous rules stay in use; this is logged once.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Sequence

from ibcm_bridge.addons.engines.content_engines import EngineSetup, engine_setup
from ibcm_bridge.addons.engines.rule_compiler import compiled_elsewhere
from ibcm_bridge.addons.renewal.file_watch import FileWatch, Problems
from ibcm_bridge.addons.renewal.renewal import Kind
from ibcm_bridge.inspection.engines import CompiledRules
from ibcm_bridge.policy.policy import Policy
from ibcm_bridge.policy_file.rule_files import rule_files

logger = logging.getLogger(__name__)

Renewed = Callable[[EngineSetup, CompiledRules], None]


class RulesRenewal:
    """Watches the rule files of one policy. It calls `renewed` on the event loop."""

    kind = Kind.RULES
    reads_files = True

    def __init__(
        self,
        policy: Policy,
        current: EngineSetup,
        compiled: CompiledRules,
        renewed: Renewed,
        check_seconds: float,
    ) -> None:
        self._current = current
        self._compiled = compiled
        self._renewed = renewed
        self._check_seconds = check_seconds
        self._problems = Problems("rules", "; the previous rules stay in use")
        self._watch = FileWatch(lambda: rule_files(policy.rule_files), lambda: engine_setup(policy))

    async def check(self) -> float:
        """Read changed rules again. Never raises: after a failure the previous rules stay."""
        try:
            await self._renew()
        except BaseException as error:  # a panic of YARA-X is not an Exception
            if isinstance(error, asyncio.CancelledError | KeyboardInterrupt | SystemExit):
                raise
            # Rules are the operator's own: the text may be logged, and names the wrong line.
            self._problems.update([f"{type(error).__name__}: {error}"])
        return self._check_seconds

    def problems(self) -> Sequence[str]:
        """Return why changed rules are not in use."""
        return self._problems.current()

    async def _renew(self) -> None:
        setup = await asyncio.to_thread(self._watch.read_if_changed)
        if setup is None:
            # Rules that do not compile are not tried again until they change: the problem remains.
            return
        self._problems.update([])
        if setup == self._current:
            return
        known = self._compiled.sets
        compiled = await asyncio.to_thread(compiled_elsewhere, setup.malware_rules, known)
        self._current, self._compiled = setup, compiled
        self._renewed(setup, compiled)
        logger.info("rules: reloaded %d files", len(setup.malware_rules))
