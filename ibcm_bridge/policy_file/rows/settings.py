"""Settings of the whole bridge: audit, limits, messages, uploads, engines."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from ibcm_bridge.policy.policy import SITE_SYSTEM_IDLE_SECONDS
from ibcm_bridge.policy_file.rows.values import (
    Duration,
    HostName,
    HostPort,
    ReasonRow,
    Row,
    optional,
)


class AuditRow(Row):
    """The audit file, and the handling of requests while it cannot be written."""

    file: str | None = Field(
        default=None,
        description="the audit file, opened for appending; standard output if omitted",
    )
    when_unwritable: Literal["refuse", "continue"] = Field(
        default="refuse",
        description="while the audit cannot be written: refuse all requests, or forward them",
    )


class LimitsRow(Row):
    """Limits in bytes and seconds."""

    # Precedents: nginx's defaults (client_header_timeout and client_body_timeout 60 s,
    # keepalive_timeout 75 s), and HTTP.sys's 120 s for idle connections. A head of 64 KiB has room
    # for a Kerberos ticket (protocol.md §10). A ClientHello with post-quantum key shares has less
    # than 4 KiB.

    client_hello: int = Field(
        default=16_384, ge=1_024, le=65_536, description="bytes of a ClientHello"
    )
    request_head: int = Field(
        default=65_536, ge=4_096, le=1_048_576, description="bytes of a request head"
    )
    handshake_seconds: float = Field(
        default=30.0,
        gt=0,
        le=600,
        description="seconds for a client's handshake, and for connecting to a site system",
    )
    head_seconds: float = Field(
        default=60.0, gt=0, le=600, description="seconds for a request head, from its first byte"
    )
    body_seconds: float = Field(
        default=300.0,
        gt=0,
        le=3_600,
        description="seconds for a request body",
    )
    response_seconds: float = Field(
        default=300.0,
        gt=0,
        le=3_600,
        description="seconds from the end of a request to the head of the response",
    )
    idle_seconds: float = Field(
        default=120.0,
        gt=0,
        le=3_600,
        description="seconds between requests, and between bytes of a response",
    )
    site_system_idle_seconds: float = Field(
        default=SITE_SYSTEM_IDLE_SECONDS,
        gt=0,
        le=3_600,
        description="seconds after which an idle site-system connection is not reused",
    )
    tunnel_idle_seconds: float = Field(
        default=600.0, gt=0, le=86_400, description="seconds without traffic in a tunnel"
    )
    # Defaults: nginx has 512 connections per process, Apache 400 requests. A connection of the
    # bridge uses up to 100 KB, and a file descriptor on each leg.
    connections: int = Field(
        default=1_000, ge=1, le=100_000, description="concurrent client connections"
    )
    # As Squid's default cache_mem, 256 MiB: 64 messages of the maximum size.
    buffered_bytes: int = Field(
        default=268_435_456,
        ge=16_777_216,
        le=68_719_476_736,
        description="bytes of request heads and bodies in memory, of all connections",
    )
    # Each uses 40 MB, and up to 300 MB for a payload at the limit.
    inspection_workers: int = Field(
        default=2, ge=1, le=64, description="processes that inspect large bodies"
    )


class MessagesRow(Row):
    """Checks of ConfigMgr messages, in addition to those that are always enforced."""

    identity: Literal["observe", "enforce"] = optional(
        "observe", "whether a client may use only its own client GUID (BRIDGE-IDENTITY)"
    )
    unknown_guids: Literal["learn", "refuse"] = optional(
        "learn", "client GUIDs without a binding: bind them, or allow imported ones only"
    )
    renewal: Literal["same-key", "same-name"] = optional(
        "same-key", "which other certificates may use a bound client GUID"
    )
    bindings: str | None = optional(
        None, "SQLite database of the certificate that each client GUID is bound to"
    )
    signatures: Literal["observe", "enforce"] = optional(
        "observe", "whether message signatures must be valid, and their times recent"
    )
    clock_skew: Duration = optional(
        "15m", "maximum difference between a signed time and the bridge's clock"
    )
    host_names: Literal["observe", "enforce"] = optional(
        "observe", "whether to refuse replies with a host name in internal_domains"
    )
    intranet_only: Literal["observe", "enforce"] = optional(
        "observe", "whether to refuse replies that assign policies with the IntranetOnly flag"
    )
    internal_domains: list[HostName] = optional(
        [], "internal domains; if empty, the domains of the site systems"
    )
    encrypted: ReasonRow | None = optional(
        None, "forward encrypted reports without inspection; requires a reason"
    )


class UploadsRow(Row):
    """BITS uploads: reassembled and inspected before the site system gets the last byte."""

    spool: str | None = optional(
        None, "SQLite database of uploads in progress; a temporary file if omitted"
    )
    # Windows sends fragments of up to 13 MB; an upload can have several.
    max_bytes: int = Field(
        default=67_108_864, ge=65_536, le=1_073_741_824, description="bytes of one upload"
    )
    max_total_bytes: int = Field(
        default=1_073_741_824,
        ge=1_048_576,
        le=1_099_511_627_776,
        description="bytes of all uploads in progress",
    )
    sessions: int = Field(default=1_000, ge=1, le=100_000, description="uploads in progress")
    per_client_sessions: int = Field(
        default=8,
        ge=1,
        le=1_000,
        description="uploads in progress per client; another one displaces the oldest",
    )
    per_client_bytes: int | None = Field(
        default=None,
        ge=65_536,
        le=1_099_511_627_776,
        description="bytes of uploads in progress per client; if omitted, twice max_bytes",
    )
    # The default of a BITS server is 14 days ([MC-BUP] section 3.2.2.1).
    abandoned_after: Duration = optional("3d", "when an idle upload is deleted")


class ClamAvRow(Row):
    """The ClamAV daemon (clamd), which scans everything that YARA-X scans."""

    socket: str | None = optional(None, "its Unix socket, such as /run/clamav/clamd.ctl")
    address: HostPort | None = optional(None, "or its address, such as 127.0.0.1:3310")
    # clamd's ReadTimeout is 120 s; it scans a view at the limit in a few seconds.
    seconds: float = Field(default=30.0, gt=0, le=600, description="timeout for one view")


class EnginesRow(Row):
    """Content engines in addition to YARA-X, which is always active."""

    clamav: ClamAvRow | None = optional(None, "also scan with ClamAV")
