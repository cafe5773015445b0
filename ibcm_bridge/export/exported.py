"""The result of an export: the configuration, the files that it names, and its limits."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from ibcm_bridge.export.rules import ExportRule, Extent


class ExportError(ValueError):
    """The policy cannot be exported to this proxy; the text says what to change."""


@dataclass(frozen=True, slots=True)
class Limitation:
    """What the exported configuration does not enforce, or enforces only in part."""

    rule: ExportRule
    extent: Extent
    sentence: str
    """Without a full stop."""

    @property
    def requirement(self) -> str:
        """The id of docs/requirements.md."""
        return self.rule.requirement


@dataclass(frozen=True, slots=True)
class Export:
    """A complete configuration."""

    text: str
    files: Mapping[Path, bytes] = field(repr=False)
    """The files that the text names besides those of the policy. Some have private keys."""
    not_enforced: tuple[Limitation, ...]
    left_out: tuple[str, ...] = ()
    """What is not published: directories with Windows authentication (NAME/DIRECTORY), tunnels."""
    hosts: Mapping[str, str] = field(default_factory=dict)
    """Names that must resolve to these addresses, for a proxy that connects only to names."""
