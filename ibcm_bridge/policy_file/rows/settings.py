"""Settings of the whole bridge: audit, limits, messages, uploads, engines."""

from __future__ import annotations

from typing import Literal

from ibcm_bridge.policy.policy import (
    BODY_BYTES_PER_SECOND,
    CONNECT_SECONDS,
    CONNECTION_REQUESTS,
    CONNECTION_SECONDS,
    DRAIN_SECONDS,
    SITE_SYSTEM_IDLE_SECONDS,
)
from ibcm_bridge.policy_file.rows.values import (
    Because,
    Bytes,
    Count,
    Domain,
    Duration,
    HostPort,
    Listen,
    NetworkText,
    ReasonRow,
    Row,
    Seconds,
    optional,
    required,
)


class AuditRow(Row, examples=[{"file": "audit.jsonl"}]):
    """The audit file, and the handling of requests while it cannot be written."""

    file: str | None = optional(
        None, "the audit file, opened for appending; standard output if omitted"
    )
    when_unwritable: Literal["refuse", "continue"] = optional(
        "refuse", "while the audit cannot be written: refuse all requests, or forward them"
    )


class SourceExceptionRow(Row, examples=[{"networks": ["203.0.113.0/24"], "because": "a branch"}]):
    """Networks without limits for a source."""

    networks: list[NetworkText] = required("networks, such as a branch behind NAT", min_length=1)
    because: Because


class PerSourceRow(Row, examples=[{"connections": 100, "handshakes_per_minute": 600}]):
    """Limits for one IPv4 address or IPv6 /64 network."""

    connections: Count | None = optional(
        None, "concurrent connections of one source", ge=1, le=100_000
    )
    handshakes_per_minute: Count | None = optional(
        None, "new connections of one source in a minute", ge=1, le=1_000_000
    )
    exceptions: list[SourceExceptionRow] = optional([], "networks without these limits")


class PerSiteSystemRow(Row, examples=[{"failures": 3, "probe_seconds": 30}]):
    """When a site system that cannot be connected to is tried last."""

    # Envoy opens a host after 5 consecutive failures for 30 s, nginx after 1 for 10 s.
    failures: Count = optional(3, "failed attempts to connect in a row", ge=1, le=1_000)
    within_seconds: Seconds = optional(60.0, "seconds in which these attempts failed", le=3_600)
    probe_seconds: Seconds = optional(
        30.0, "seconds after the last failure until one request tries it first again", le=3_600
    )


class LimitsRow(Row, examples=[{"idle_seconds": 60}]):
    """Limits in bytes and seconds."""

    # Precedents: nginx's defaults (client_header_timeout and client_body_timeout 60 s,
    # keepalive_timeout 75 s), and HTTP.sys's 120 s for idle connections. A head of 64 KiB has room
    # for a Kerberos ticket (protocol.md §10). A ClientHello with post-quantum key shares has less
    # than 4 KiB.

    client_hello: Bytes = optional(16_384, "bytes of a ClientHello", ge=1_024, le=65_536)
    request_head: Bytes = optional(65_536, "bytes of a request head", ge=4_096, le=1_048_576)
    # As Apache's LimitRequestFields (100) and HAProxy's tune.http.maxhdr (101). Clients send up to
    # 20.
    header_fields: Count = optional(100, "header fields of a request", ge=32, le=10_000)
    # A handshake has up to three round trips and a few KiB.
    handshake_seconds: Seconds = optional(10.0, "seconds for a client's handshake", le=600)
    connect_seconds: Seconds = optional(
        CONNECT_SECONDS, "seconds for connecting to a site system, with its handshake", le=600
    )
    head_seconds: Seconds = optional(
        60.0, "seconds for a request head, from its first byte", le=600
    )
    body_seconds: Seconds = optional(300.0, "seconds for a request body", le=3_600)
    body_bytes_per_second: Count = optional(
        BODY_BYTES_PER_SECOND,
        "least average rate of a request body, checked after 30 seconds",
        ge=1,
        le=1_048_576,
    )
    response_seconds: Seconds = optional(
        300.0, "seconds from the end of a request to the head of the response", le=3_600
    )
    idle_seconds: Seconds = optional(
        120.0, "seconds between requests, and between bytes of a response", le=3_600
    )
    site_system_idle_seconds: Seconds = optional(
        SITE_SYSTEM_IDLE_SECONDS,
        "seconds after which an idle site-system connection is not reused",
        le=3_600,
    )
    tunnel_idle_seconds: Seconds = optional(600.0, "seconds without traffic in a tunnel", le=86_400)
    drain_seconds: Seconds = optional(
        DRAIN_SECONDS, "seconds for open requests and tunnels when the bridge stops", le=3_600
    )
    # nginx: keepalive_time 1 h. A download by BITS has a request for every few MB.
    connection_seconds: Seconds = optional(
        CONNECTION_SECONDS, "seconds after which a connection gets its last response", le=604_800
    )
    connection_requests: Count = optional(
        CONNECTION_REQUESTS, "requests of one connection", ge=1, le=10_000_000
    )
    # Defaults: nginx has 512 connections per process, Apache 400 requests. A connection of the
    # bridge uses up to 100 KB, and a file descriptor on each leg.
    connections: Count = optional(1_000, "concurrent client connections", ge=1, le=100_000)
    per_source: PerSourceRow = optional(PerSourceRow(), "limits for one source address")
    per_site_system: PerSiteSystemRow = optional(
        PerSiteSystemRow(), "when a site system that cannot be connected to is tried last"
    )
    # As Squid's default cache_mem, 256 MiB: 64 messages of the maximum size.
    buffered_bytes: Bytes = optional(
        268_435_456,
        "bytes of request heads and bodies in memory, of all connections",
        ge=16_777_216,
        le=68_719_476_736,
    )
    # Each uses 40 MB, and up to 300 MB for a payload at the limit.
    inspection_workers: Count = optional(2, "processes that inspect large bodies", ge=1, le=64)


class MessagesRow(Row, examples=[{"identity": "enforce"}]):
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
    internal_domains: list[Domain] = optional(
        [], "internal domains; if empty, the domains of the site systems"
    )
    encrypted: ReasonRow | None = optional(
        None, "forward encrypted reports without inspection; requires a reason"
    )


class UploadsRow(Row, examples=[{"spool": "uploads.sqlite"}]):
    """BITS uploads: reassembled and inspected before the site system gets the last byte."""

    spool: str | None = optional(
        None, "SQLite database of uploads in progress; a temporary file if omitted"
    )
    # Windows sends fragments of up to 13 MB; an upload can have several.
    max_bytes: Bytes = optional(67_108_864, "bytes of one upload", ge=65_536, le=1_073_741_824)
    max_total_bytes: Bytes = optional(
        1_073_741_824, "bytes of all uploads in progress", ge=1_048_576, le=1_099_511_627_776
    )
    sessions: Count = optional(1_000, "uploads in progress", ge=1, le=100_000)
    per_client_sessions: Count = optional(
        8, "uploads in progress per client; another one displaces the oldest", ge=1, le=1_000
    )
    per_client_bytes: Bytes | None = optional(
        None,
        "bytes of uploads in progress per client; if omitted, twice max_bytes",
        ge=65_536,
        le=1_099_511_627_776,
    )
    # The default of a BITS server is 14 days ([MC-BUP] section 3.2.2.1).
    abandoned_after: Duration = optional("3d", "when an idle upload is deleted")


class ClamAvRow(Row, examples=[{"socket": "/run/clamav/clamd.ctl"}]):
    """The ClamAV daemon (clamd), which scans everything that YARA-X scans."""

    socket: str | None = optional(None, "its Unix socket, such as /run/clamav/clamd.ctl")
    address: HostPort | None = optional(None, "or its address, such as 127.0.0.1:3310")
    # clamd's ReadTimeout is 120 s; it scans a view at the limit in a few seconds.
    seconds: Seconds = optional(30.0, "timeout for one view", le=600)


class EnginesRow(Row):
    """Content engines in addition to YARA-X, which is always active."""

    clamav: ClamAvRow | None = optional(None, "also scan with ClamAV")


class OperationsRow(Row, examples=[{"listen": "127.0.0.1:9100"}]):
    """Metrics and probes over plain HTTP, without authentication."""

    listen: Listen = required("the address, on loopback unless there is a reason")
    because: Because | None = optional(None, "why other machines may connect to the address")
