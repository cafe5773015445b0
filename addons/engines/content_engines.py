"""The engines of a policy, made anew in every process that looks into bodies."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path

from ibcm_bridge.addons.engines.clamav import ClamAvEngine
from ibcm_bridge.inspection.engines import CompiledRules, ContentEngine, RuleSource, YaraEngine
from ibcm_bridge.policy.policy import ClamAv, Policy
from ibcm_bridge.policy_file.rule_files import rule_files


@dataclass(frozen=True, slots=True)
class EngineSetup:
    """All that engines are made of, in values that fit through a pipe."""

    rules: tuple[RuleSource, ...]
    clamav: ClamAv | None = None

    def make(self, compiled: CompiledRules | None = None) -> list[ContentEngine]:
        """The engines, for the thread that asks for them. RuleError names the origin."""
        made: list[ContentEngine] = [YaraEngine(compiled or self.rules)]
        if self.clamav is not None:
            made.append(ClamAvEngine(self.clamav))
        return made


def engine_setup(policy: Policy) -> EngineSetup:
    """What a policy says now: its rules are read. OSError or ValueError where they cannot be."""
    return EngineSetup(tuple(_rules(policy.rule_files)), policy.clamav)


def _rules(named: tuple[Path, ...]) -> Iterator[RuleSource]:
    for resource in files("ibcm_bridge.config.rules").iterdir():
        if resource.name.endswith(".yar"):
            yield resource.name, resource.read_text("utf-8")
    for path in rule_files(named):
        yield str(path), path.read_text("utf-8")
