"""The policy, as values: what is published, how, and with which certificates.

Only `policy_file` makes these (and tests); by the time one exists it has been checked.
"""

from __future__ import annotations

import datetime
from collections.abc import Iterator
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path

from ibcm_bridge.policy.addresses import Address
from ibcm_bridge.policy.message_rules import MessageRules
from ibcm_bridge.policy.publications import (
    BridgePublication,
    Listener,
    PlaintextListener,
    PlaintextPublication,
    Publication,
    published,
)
from ibcm_bridge.policy.roles import NeverPublished

SITE_SYSTEM_IDLE_SECONDS = 100.0
"""Less than the 120 s after which IIS closes an idle connection by default ("connectionTimeout"): a
request that meets its end cannot be told from one that was carried out."""


@dataclass(frozen=True, slots=True)
class Limits:
    """Sizes in bytes, times in seconds. Defaults and their precedents are in `policy_file`."""

    client_hello: int
    request_head: int
    handshake_seconds: float
    head_seconds: float
    body_seconds: float
    response_seconds: float
    idle_seconds: float
    tunnel_idle_seconds: float
    connections: int
    """Client connections at once, of all listeners together."""
    buffered_bytes: int
    """Heads and bodies of requests that are kept at once, of all connections together."""
    inspection_workers: int
    """Processes that look into large bodies."""
    site_system_idle_seconds: float = SITE_SYSTEM_IDLE_SECONDS


class WhenUnwritable(StrEnum):
    """What happens to requests while the audit cannot be written."""

    REFUSE = "refuse"
    CONTINUE = "continue"


@dataclass(frozen=True, slots=True)
class ClamAv:
    """Where ClamAV's daemon is, and how long it may take for one view."""

    address: Path | Address
    """A Unix socket, or host and port."""
    seconds: float = 30.0


@dataclass(frozen=True, slots=True)
class UploadRules:
    """How much of BITS uploads there may be. Sizes in bytes; docs/policy-file.md has the keys."""

    spool: Path | None = None
    """SQLite; None: a temporary file, thrown away at the end."""
    max_bytes: int = 67_108_864
    """One upload."""
    max_total_bytes: int = 1_073_741_824
    """All uploads that are under way."""
    sessions: int = 1_000
    per_client_sessions: int = 8
    per_client_bytes: int = 134_217_728
    """All uploads of one client."""
    abandoned_after: datetime.timedelta = datetime.timedelta(days=3)


@dataclass(frozen=True, slots=True)
class Policy:
    """Everything the bridge was told."""

    listeners: tuple[Listener | PlaintextListener, ...]
    never: NeverPublished
    audit_file: Path | None
    """None: standard output."""
    when_unwritable: WhenUnwritable
    rule_files: tuple[Path, ...]
    limits: Limits
    messages: MessageRules = field(default_factory=MessageRules)
    uploads: UploadRules = UploadRules()
    clamav: ClamAv | None = None
    web_because: str | None = None
    """Why traffic may be shown on a page outside a lab; None: it may not."""

    def publications(self) -> Iterator[tuple[Address, Publication | PlaintextPublication]]:
        """Every publication and where it is listened for, in the order of the policy."""
        return published(self.listeners)

    def bridged(self) -> Iterator[tuple[Address, BridgePublication]]:
        """Those of `publications` that are bridged."""
        for address, publication in self.publications():
            if isinstance(publication, BridgePublication):
                yield address, publication
