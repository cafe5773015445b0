"""The policy as values: publications, certificates, limits.

Only `policy_file` and tests make these. A policy is validated before it is made.
"""

from __future__ import annotations

import datetime
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path

from ibcm_bridge.policy.addresses import Address, Network
from ibcm_bridge.policy.message_policy import MessagePolicy
from ibcm_bridge.policy.publications import (
    BridgePublication,
    Listener,
    PlaintextListener,
    PlaintextPublication,
    Publication,
    published,
)
from ibcm_bridge.policy.roles import NeverPublished
from ibcm_bridge.policy.site_systems import DEFAULT_PER_SITE_SYSTEM, PerSiteSystem

SITE_SYSTEM_IDLE_SECONDS = 100.0
"""Below the 120 s after which IIS closes an idle connection by default ("connectionTimeout"). If
the connection closes during a request, the site system may or may not have processed it."""

CONNECT_SECONDS = 30.0
"""For a connection to a site system, with its TLS handshake."""

CONNECTION_SECONDS = 3_600.0
CONNECTION_REQUESTS = 10_000
"""After these, a client connects again, and its certificate is verified again."""

DRAIN_SECONDS = 30.0
"""How long open requests and tunnels may take when the bridge stops. systemd kills a service after
90 s (TimeoutStopSec)."""

BODY_BYTES_PER_SECOND = 256
"""The least average rate of a request body. BITS slows down while others use the network, and a
modem is twenty times as fast."""


@dataclass(frozen=True, slots=True)
class Limits:
    """Sizes in bytes, times in seconds. `policy_file` has the defaults and their sources."""

    client_hello: int
    request_head: int
    header_fields: int
    """Fields of a request head."""
    handshake_seconds: float
    head_seconds: float
    body_seconds: float
    response_seconds: float
    idle_seconds: float
    tunnel_idle_seconds: float
    connections: int
    """Concurrent client connections of all listeners."""
    buffered_bytes: int
    """Heads and bodies of requests in memory, for all connections."""
    inspection_workers: int
    """Processes that inspect large bodies."""
    connect_seconds: float = CONNECT_SECONDS
    body_bytes_per_second: int = BODY_BYTES_PER_SECOND
    site_system_idle_seconds: float = SITE_SYSTEM_IDLE_SECONDS
    connection_seconds: float = CONNECTION_SECONDS
    connection_requests: int = CONNECTION_REQUESTS
    drain_seconds: float = DRAIN_SECONDS


class WhenUnwritable(StrEnum):
    """The treatment of requests while the audit cannot be written."""

    REFUSE = "refuse"
    CONTINUE = "continue"


@dataclass(frozen=True, slots=True)
class PerSource:
    """Limits for one IPv4 address or IPv6 network. None: no limit."""

    connections: int | None = None
    handshakes_per_minute: int | None = None
    exceptions: Mapping[Network, str] = field(default_factory=dict)
    """Networks without these limits, each with the reason."""


@dataclass(frozen=True, slots=True)
class ClamAv:
    """The address of clamd, and its timeout for one view."""

    address: Path | Address
    """A Unix socket, or host and port."""
    seconds: float = 30.0


@dataclass(frozen=True, slots=True)
class UploadPolicy:
    """Limits for BITS uploads. Sizes in bytes; docs/policy-file.md has the keys."""

    spool: Path | None = None
    """SQLite file; None: a temporary file, deleted on exit."""
    max_bytes: int = 67_108_864
    """One upload."""
    max_total_bytes: int = 1_073_741_824
    """All unfinished uploads."""
    sessions: int = 1_000
    per_client_sessions: int = 8
    per_client_bytes: int = 134_217_728
    """All unfinished uploads of one client."""
    abandoned_after: datetime.timedelta = datetime.timedelta(days=3)


@dataclass(frozen=True, slots=True)
class Operations:
    """Where the bridge serves its metrics and probes, without TLS or authentication."""

    listen: Address
    because: str | None = None
    """The reason why other machines may connect; None on loopback."""


@dataclass(frozen=True, slots=True)
class StateDatabase:
    """A PostgreSQL database that several bridges share."""

    address: str
    """As in the policy file. It has no password."""
    parameters: tuple[tuple[str, str], ...]
    """libpq's connection parameters, such as `host`."""


type FileState = tuple[Path, int, int, int]
"""Path, inode, size and modification time in nanoseconds; zeros for a missing file."""


@dataclass(frozen=True, slots=True)
class Policy:
    """The content of a policy file."""

    listeners: tuple[Listener | PlaintextListener, ...]
    never: NeverPublished
    audit_file: Path | None
    """None: standard output."""
    when_unwritable: WhenUnwritable
    rule_files: tuple[Path, ...]
    limits: Limits
    messages: MessagePolicy = field(default_factory=MessagePolicy)
    per_source: PerSource = PerSource()
    per_site_system: PerSiteSystem = DEFAULT_PER_SITE_SYSTEM
    uploads: UploadPolicy = UploadPolicy()
    clamav: ClamAv | None = None
    state: StateDatabase | None = None
    """Where bindings and uploads are; None: in files of this machine, or in memory."""
    workers: int | None = None
    """Processes that serve clients; None: as many as the machine has cores, where it can."""
    files: tuple[FileState, ...] = field(default=(), repr=False)
    """The files with certificates and keys, as they were read."""
    source: bytes = field(default=b"", repr=False)
    """The text of the policy file."""
    digest: str = ""
    """The first 16 hexadecimal digits of the SHA-256 of the policy file."""
    shadow: Policy | None = None
    """Another policy, which judges each request without any effect (`run --shadow`)."""
    web_because: str | None = None
    """The reason for allowing the traffic page outside a lab; None: it is not allowed."""
    operations: Operations | None = None
    """None: no metrics and no probes."""

    @property
    def listen_addresses(self) -> tuple[Address, ...]:
        """The addresses of the listeners, in the order of the policy."""
        return tuple(listener.address for listener in self.listeners)

    @property
    def all_addresses(self) -> tuple[Address, ...]:
        """Those of the listeners, and that of the operations."""
        own = () if self.operations is None else (self.operations.listen,)
        return (*self.listen_addresses, *own)

    def publications(self) -> Iterator[tuple[Address, Publication | PlaintextPublication]]:
        """Every publication with its listen address, in the order of the policy."""
        return published(self.listeners)

    def bridged(self) -> Iterator[tuple[Address, BridgePublication]]:
        """The bridged publications, as in `publications`."""
        for address, publication in self.publications():
            if isinstance(publication, BridgePublication):
                yield address, publication
