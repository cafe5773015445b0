"""The table of metrics. None names a client.

Every label has a bounded number of values, except the digest of an audit point: a writer has one
series at a time, and a new one every minute.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

PUBLICATION, ROLE, REASON = "publication", "role", "reason"
SITE_SYSTEM = "site_system"

BOUNDS = (
    *(0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5),
    *(1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 300.0),
)
"""Upper bounds of the buckets of each histogram, in seconds."""


class Kind(StrEnum):
    """The type in Prometheus."""

    COUNTER = "counter"
    GAUGE = "gauge"
    HISTOGRAM = "histogram"


class Together(StrEnum):
    """How the gauges of several worker processes become one."""

    SUM = "sum"
    LARGEST = "largest"
    SMALLEST = "smallest"


@dataclass(frozen=True, slots=True)
class Metric:
    """One metric."""

    name: str
    kind: Kind
    help: str
    labels: tuple[str, ...] = ()
    together: Together = Together.SUM
    """A counter that is not a sum counts events that every worker sees."""


METRICS: dict[str, Metric] = {}
"""Name -> metric, in the order of the output. Counters are without `_total`."""


def _metric(
    name: str, kind: Kind, text: str, *labels: str, together: Together = Together.SUM
) -> Metric:
    METRICS[f"ibcm_{name}"] = metric = Metric(f"ibcm_{name}", kind, text, labels, together)
    return metric


_COUNTER, _GAUGE, _HISTOGRAM = Kind.COUNTER, Kind.GAUGE, Kind.HISTOGRAM
_LARGEST, _SMALLEST = Together.LARGEST, Together.SMALLEST

REQUESTS = _metric("requests", _COUNTER, "Ended requests.", PUBLICATION, ROLE, "verdict", REASON)
SHADOW_DIFFERENCES = _metric(
    "shadow_differences",
    _COUNTER,
    "Requests that the policy of run --shadow judges in another way, or not completely, by its "
    "verdict and reason.",
    *(PUBLICATION, ROLE, "verdict", REASON, "not_judged"),
)
REQUEST_SECONDS = _metric(
    "request_seconds",
    _HISTOGRAM,
    "Time from the first byte of a request to the end of its response.",
    *(PUBLICATION, ROLE),
)
INSPECTION_SECONDS = _metric(
    "inspection_seconds", _HISTOGRAM, "Time to decide on a body.", PUBLICATION, ROLE
)
SITE_SYSTEM_SECONDS = _metric(
    "site_system_seconds",
    _HISTOGRAM,
    "Time from connecting to a site system, or sending to it, to the head of its response.",
    *(PUBLICATION, ROLE),
)
SITE_SYSTEM_ERRORS = _metric(
    "site_system_errors",
    _COUNTER,
    "Requests and tunnels that failed because of a site system.",
    *(PUBLICATION, ROLE, REASON),
)
SITE_SYSTEM_RESPONSES = _metric(
    "site_system_responses",
    _COUNTER,
    "Forwarded responses by their class, such as 5xx.",
    *(PUBLICATION, ROLE, "status"),
)
SITE_SYSTEM_AVAILABLE = _metric(
    "site_system_available",
    _GAUGE,
    "0 if the last attempts to connect to a site system failed, so that others are tried first.",
    *(PUBLICATION, ROLE, SITE_SYSTEM),
    together=_SMALLEST,
)
SITE_SYSTEM_REFUSES = _metric(
    "site_system_refuses_bridge",
    _GAUGE,
    "1 if a site system responds with 403 to nearly every client.",
    *(PUBLICATION, ROLE, SITE_SYSTEM),
    together=_LARGEST,
)
HANDSHAKES = _metric(
    "handshakes", _COUNTER, "Finished TLS handshakes of clients.", PUBLICATION, "resumed"
)
HANDSHAKE_SECONDS = _metric(
    "handshake_seconds",
    _HISTOGRAM,
    "Time from accepting a connection to the end of its TLS handshake.",
    *(PUBLICATION, "resumed"),
)
REFUSED_CONNECTIONS = _metric(
    "refused_connections",
    _COUNTER,
    "Connections that were refused before a request, such as failed handshakes.",
    *(PUBLICATION, REASON),
)
TUNNELS = _metric("tunnels", _COUNTER, "Ended tunnels.", PUBLICATION, "verdict", REASON)
BYTES = _metric(
    "forwarded_bytes",
    _COUNTER,
    "Bytes of request bodies, response bodies and tunnels.",
    *(PUBLICATION, "direction"),
)
CONNECTIONS = _metric("connections", _GAUGE, "Open client connections.", "state")
UNAUTHENTICATED = _metric(
    "unauthenticated_connections",
    _GAUGE,
    "Client connections without an authenticated client: in the handshake, anonymous or tunnels.",
)
UNAUTHENTICATED_LIMIT = _metric(
    "unauthenticated_connections_limit",
    _GAUGE,
    "Number of connections that may be without an authenticated client.",
    together=_LARGEST,
)
HANDSHAKE_CONNECTIONS_LIMIT = _metric(
    "handshake_connections_limit",
    _GAUGE,
    "Number of connections that may be in their handshake.",
    together=_LARGEST,
)
ANONYMOUS = _metric(
    "anonymous_connections", _GAUGE, "Tunnels, and connections of clients without a certificate."
)
ANONYMOUS_LIMIT = _metric(
    "anonymous_connections_limit",
    _GAUGE,
    "Number of tunnels and connections of clients without a certificate that may be open.",
    together=_LARGEST,
)
CONNECTIONS_LIMIT = _metric(
    "connections_limit", _GAUGE, "limits.connections of the policy.", together=_LARGEST
)
BUFFERED = _metric("buffered_bytes", _GAUGE, "Bytes of heads and bodies in memory.")
BUFFERED_LIMIT = _metric(
    "buffered_bytes_limit", _GAUGE, "limits.buffered_bytes of the policy.", together=_LARGEST
)
INSPECTIONS = _metric(
    "inspections", _GAUGE, "Large bodies that are inspected or waiting for an inspection process."
)
INSPECTION_PROCESSES = _metric("inspection_processes", _GAUGE, "Running inspection processes.")
SCAN_SECONDS = _metric(
    "engine_scan_seconds",
    _HISTOGRAM,
    "Time of a content engine to scan one view of a body, also if the scan fails.",
    "engine",
)
ENGINE_FAILURES = _metric(
    "engine_failures",
    _COUNTER,
    "Requests that were refused because a content engine did not work.",
    "engine",
)
CLAMAV_UP = _metric(
    "clamav_up", _GAUGE, "1 if clamd responds; none without clamd.", together=_SMALLEST
)
CLAMAV_SECONDS = _metric(
    "clamav_response_seconds",
    _GAUGE,
    "Time in which clamd responded to its last PING; none without a response.",
    together=_LARGEST,
)
OPEN_FILES = _metric(
    "open_files",
    _GAUGE,
    "File descriptors of the process that has the most, which serves clients.",
    together=_LARGEST,
)
OPEN_FILES_LIMIT = _metric(
    "open_files_limit", _GAUGE, "Limit of file descriptors of a process.", together=_SMALLEST
)
CERTIFICATE_END = _metric(
    "certificate_expires_in_seconds",
    _GAUGE,
    "Seconds to the end of a certificate of the bridge; negative if it has expired.",
    *(PUBLICATION, "leg"),
    together=_SMALLEST,
)
LIST_END = _metric(
    "revocation_list_expires_in_seconds",
    _GAUGE,
    "Seconds to the end of a revocation list; negative if it has expired.",
    *(PUBLICATION, "leg", "issuer", "type"),
    together=_SMALLEST,
)
LIST_CURRENT = _metric(
    "revocation_list_current",
    _GAUGE,
    "0 if a CA has no current revocation list, so that its certificates are refused; 1 if it has.",
    *(PUBLICATION, "leg", "issuer"),
    together=_SMALLEST,
)
BINDINGS = _metric(
    "bindings", _GAUGE, "Client GUIDs that are bound to a certificate.", together=_LARGEST
)
UPLOADS = _metric("uploads", _GAUGE, "Uploads in progress.", together=_LARGEST)
UPLOAD_BYTES = _metric("upload_bytes", _GAUGE, "Bytes of uploads in progress.", together=_LARGEST)
STORE_AGE = _metric(
    "store_count_age_seconds",
    _GAUGE,
    "Seconds since the bindings or uploads were counted; they keep their number until they can be.",
    "store",
    together=_LARGEST,
)
AUDIT_WRITABLE = _metric(
    "audit_writable", _GAUGE, "1 if the audit can be written.", together=_SMALLEST
)
AUDIT_LOST = _metric("audit_lost_records", _COUNTER, "Records that could not be written.")
AUDIT_POINT = _metric(
    "audit_point",
    _GAUGE,
    "The number of the last audit record of a process, at most a minute ago, and its SHA-256.",
    *("writer", "digest"),
    together=_LARGEST,
)
LOOP_LAG = _metric(
    "loop_lag_seconds", _GAUGE, "Lateness of the event loop's last timer.", together=_LARGEST
)
POLICY = _metric(
    "policy_info",
    _GAUGE,
    "1 for the policy of new connections, by the digest that the audit has.",
    "digest",
    together=_LARGEST,
)
RELOADED = _metric(
    "last_reload_successful",
    _GAUGE,
    "0 if the last reload was refused and the previous policy stays in use.",
    together=_SMALLEST,
)
RELOADS = _metric(
    "reloads",
    _COUNTER,
    "Reloads of the policy by their outcome, accepted or refused.",
    "outcome",
    together=_LARGEST,
)
FILE_PROBLEMS = _metric(
    "file_problems",
    _GAUGE,
    "Problems of changed or fetched files, which are not in use: certificates, lists and rules.",
    "kind",
    together=_LARGEST,
)
WORKERS = _metric("workers", _GAUGE, "Processes that serve clients.")
READY = _metric("ready", _GAUGE, "1 if /ready responds with 200.", together=_SMALLEST)
DEGRADED = _metric(
    "degraded", _GAUGE, "Number of problems that all machines share.", together=_LARGEST
)
DEFECTS = _metric("metrics_defects", _COUNTER, "Events that could not be counted.")
