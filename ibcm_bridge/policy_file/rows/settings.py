"""What holds for the whole bridge: audit, limits, messages, uploads, engines."""

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
    """Where the audit is appended; and what happens to requests while it cannot be written."""

    file: str | None = Field(
        default=None,
        description="lines of JSON are appended to this file; left out: standard output",
    )
    when_unwritable: Literal["refuse", "continue"] = Field(
        default="refuse",
        description="what happens to requests while the audit cannot be written",
    )


class LimitsRow(Row):
    """Bytes and seconds. Precedents: nginx's defaults (client_header_timeout and
    client_body_timeout 60 s, keepalive_timeout 75 s), HTTP.sys's 120 s for idle connections;
    64 KB of head leave room for a Kerberos ticket (protocol.md §10), and a ClientHello with
    post-quantum key shares stays under 4 KB."""

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
        description="for a client's handshake, and for connecting to a site system",
    )
    head_seconds: float = Field(
        default=60.0, gt=0, le=600, description="for a request head, from its first byte"
    )
    body_seconds: float = Field(
        default=300.0,
        gt=0,
        le=3_600,
        description="for a request body",
    )
    response_seconds: float = Field(
        default=300.0, gt=0, le=3_600, description="for the head of a response"
    )
    idle_seconds: float = Field(
        default=120.0,
        gt=0,
        le=3_600,
        description="between requests, and in a response that stops coming",
    )
    site_system_idle_seconds: float = Field(
        default=SITE_SYSTEM_IDLE_SECONDS,
        gt=0,
        le=3_600,
        description="a connection to a site system that was idle for longer is not used again",
    )
    tunnel_idle_seconds: float = Field(
        default=600.0, gt=0, le=86_400, description="for a tunnel in which nothing moves"
    )
    # nginx serves 512 connections in a process by default, Apache 400 requests in all. One of ours
    # takes up to 100 KB, and a file descriptor on each leg.
    connections: int = Field(
        default=1_000, ge=1, le=100_000, description="client connections at once"
    )
    # Squid's cache_mem is 256 MB by default, too: 64 messages of the largest size.
    buffered_bytes: int = Field(
        default=268_435_456,
        ge=16_777_216,
        le=68_719_476_736,
        description="bytes of heads and bodies held at once, for all requests together",
    )
    # Each takes 40 MB, and up to 300 MB for a payload at the limit.
    inspection_workers: int = Field(
        default=2, ge=1, le=64, description="processes that look into large bodies"
    )


class MessagesRow(Row):
    """What becomes of ConfigMgr's messages, beyond what is always refused."""

    identity: Literal["observe", "enforce"] = optional(
        "observe", "whether a client may only speak for its own client GUID (BRIDGE-IDENTITY)"
    )
    unknown_guids: Literal["learn", "refuse"] = optional(
        "learn", "a client GUID that is bound to no certificate yet, where identity is enforced"
    )
    renewal: Literal["same-key", "same-name"] = optional(
        "same-key", "which certificate may take the place of the one a client GUID is bound to"
    )
    bindings: str | None = optional(
        None, "SQLite file that keeps which certificate each client GUID is bound to"
    )
    signatures: Literal["observe", "enforce"] = optional(
        "observe", "whether the signatures of messages must be good, and their times current"
    )
    clock_skew: Duration = optional("15m", "how far a client's clock may be off")
    host_names: Literal["observe", "enforce"] = optional(
        "observe", "replies that name hosts of internal_domains"
    )
    intranet_only: Literal["observe", "enforce"] = optional(
        "observe", "replies that assign policies flagged for the intranet only"
    )
    internal_domains: list[HostName] = optional(
        [], "domains of the intranet; left out: those of the site systems"
    )
    encrypted: ReasonRow | None = optional(
        None, "let reports pass that clients have encrypted, unread; off unless the file says why"
    )


class UploadsRow(Row):
    """BITS uploads, which are put together and inspected before their end is sent on."""

    spool: str | None = optional(
        None, "SQLite file that keeps uploads under way; left out: a temporary one"
    )
    # The largest body that Windows sends in one piece is 13 MB; what is announced may be several.
    max_bytes: int = Field(
        default=67_108_864, ge=65_536, le=1_073_741_824, description="bytes of one upload"
    )
    max_total_bytes: int = Field(
        default=1_073_741_824,
        ge=1_048_576,
        le=1_099_511_627_776,
        description="bytes of all uploads under way",
    )
    sessions: int = Field(default=1_000, ge=1, le=100_000, description="uploads under way at once")
    per_client_sessions: int = Field(
        default=8, ge=1, le=1_000, description="of one client; its oldest makes room for another"
    )
    per_client_bytes: int | None = Field(
        default=None,
        ge=65_536,
        le=1_099_511_627_776,
        description="bytes of one client's uploads under way; left out: twice `max_bytes`",
    )
    # A BITS server keeps a session for 14 days by default ([MC-BUP] section 3.2.2.1).
    abandoned_after: Duration = optional(
        "3d", "when an upload that nobody goes on with is forgotten"
    )


class ClamAvRow(Row):
    """ClamAV's daemon (clamd), which looks at everything that YARA-X looks at."""

    socket: str | None = optional(None, "its Unix socket, such as /run/clamav/clamd.ctl")
    address: HostPort | None = optional(None, "or where it listens, such as 127.0.0.1:3310")
    # clamd's own ReadTimeout is 120 s; a view at the limit takes it a few seconds.
    seconds: float = Field(default=30.0, gt=0, le=600, description="for one view")


class EnginesRow(Row):
    """Content engines beside YARA-X, which is always there."""

    clamav: ClamAvRow | None = optional(None, "ask ClamAV, too")
