"""Makes the engines of a policy, separately in each process that inspects bodies."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path

from ibcm_bridge.addons.engines.clamav import ClamAvEngine
from ibcm_bridge.addons.engines.timing import TimedEngine
from ibcm_bridge.inspection.engines import (
    CompiledRules,
    ContentEngine,
    RuleSource,
    Scanned,
    YaraEngine,
)
from ibcm_bridge.policy.policy import ClamAv, Policy
from ibcm_bridge.policy_file.rule_files import rule_files


@dataclass(frozen=True, slots=True)
class EngineSetup:
    """The settings that engines are made from. Workers receive them pickled through a pipe."""

    malware_rules: tuple[RuleSource, ...]
    clamav: ClamAv | None = None

    def make(
        self, compiled: CompiledRules | None = None, scanned: Scanned | None = None
    ) -> list[ContentEngine]:
        """Return engines for the calling thread. RuleError names the rule file.

        `scanned`, if given, is called after each scan.
        """
        made: list[ContentEngine] = [YaraEngine(compiled or self.malware_rules)]
        if self.clamav is not None:
            made.append(ClamAvEngine(self.clamav))
        return made if scanned is None else [TimedEngine(engine, scanned) for engine in made]


def engine_setup(policy: Policy) -> EngineSetup:
    """Read the rules of a policy. Raise OSError or ValueError if that fails."""
    return EngineSetup(tuple(_malware_rules(policy.rule_files)), policy.clamav)


def _malware_rules(named: tuple[Path, ...]) -> Iterator[RuleSource]:
    for resource in files("ibcm_bridge.config.rules").iterdir():
        if resource.name.endswith(".yar"):
            yield resource.name, resource.read_text("utf-8")
    for path in rule_files(named):
        # A relative path could be the name of a shipped file.
        yield str(path.absolute()), path.read_text("utf-8")
