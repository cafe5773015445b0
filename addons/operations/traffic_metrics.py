"""Counts the traffic. An exception here never affects a request or a connection."""

from __future__ import annotations

import functools
import logging
import time
from collections.abc import Callable

from mitmproxy.tls import TlsData

from ibcm_bridge.addons.connections import ConnectionRecord, ExchangeEnded
from ibcm_bridge.addons.events import Ended, EndedTunnel, RefusedConnection
from ibcm_bridge.addons.operations import metrics
from ibcm_bridge.addons.operations.numbers import Numbers
from ibcm_bridge.decisions.denial import Deny, Reason

logger = logging.getLogger(__name__)

SITE_SYSTEM_REASONS = frozenset(
    {
        Reason.SITE_SYSTEM_UNREACHABLE,
        Reason.SITE_SYSTEM_UNVERIFIED,
        Reason.SITE_SYSTEM_RESPONSE,
        Reason.SITE_SYSTEM_SLOW,
    }
)

_ALLOW, _DENY, _OBSERVED = "allow", "deny", "observed"
_FROM_CLIENT, _TO_CLIENT = "from-client", "to-client"


def _harmless[Data](
    method: Callable[[TrafficMetrics, Data], None],
) -> Callable[[TrafficMetrics, Data], None]:
    """Log and count an exception; the traffic continues."""

    @functools.wraps(method)
    def guarded(self: TrafficMetrics, data: Data) -> None:
        try:
            method(self, data)
        except Exception as error:
            self.defect(type(error).__name__)

    return guarded


class TrafficMetrics:
    """A `TrafficObserver` that counts what the audit records."""

    def __init__(self, numbers: Numbers) -> None:
        self._numbers = numbers
        self._logged = False

    def defect(self, kind: str) -> None:
        """Count a defect of the metrics. Only the first is logged."""
        self._numbers.count(metrics.DEFECTS)
        if not self._logged:
            self._logged = True
            logger.error("defect in the metrics: %s; the traffic continues", kind)

    @_harmless
    def ended(self, ended: Ended) -> None:
        """Count the end of a request, a tunnel or a refused connection."""
        match ended:
            case ExchangeEnded():
                self._count_exchange(ended)
            case EndedTunnel():
                self._count_tunnel(ended)
            case _:
                self._count_refused(ended)

    def scanned(self, engine: str, seconds: float) -> None:
        """Count a scan of a content engine."""
        # As `_harmless`, which takes longer. A message has several scans.
        try:
            self._numbers.observe(metrics.SCAN_SECONDS, seconds, engine)
        except Exception as error:
            self.defect(type(error).__name__)

    @_harmless
    def tls_established_client(self, data: TlsData) -> None:
        """Count a handshake that ended with an accepted client."""
        assert data.ssl_conn is not None
        record: ConnectionRecord = data.ssl_conn.get_app_data()
        if record.handshake_refusal is not None:
            return
        labels = _publication(record), "yes" if record.resumed else "no"
        self._numbers.count(metrics.HANDSHAKES, *labels)
        self._numbers.observe(metrics.HANDSHAKE_SECONDS, time.monotonic() - record.began, *labels)

    def _count_exchange(self, ended: ExchangeEnded) -> None:
        count, observe = self._numbers.count, self._numbers.observe
        publication, decision = _publication(ended.connection), ended.decision
        role = ended.authorized.role.name if ended.authorized is not None else ""
        if isinstance(decision, Deny):
            count(metrics.REQUESTS, publication, role, _DENY, decision.reason.value)
            if decision.reason in SITE_SYSTEM_REASONS:
                count(metrics.SITE_SYSTEM_ERRORS, publication, role, decision.reason.value)
            if decision.reason is Reason.ENGINE_UNAVAILABLE:
                # `engines.clamav`: the rule has the name of the engine.
                count(metrics.ENGINE_FAILURES, decision.rule.rpartition(".")[2])
        else:
            self._count_allowed(ended, publication, role)
            if ended.status is not None:
                status = f"{ended.status // 100}xx"
                count(metrics.SITE_SYSTEM_RESPONSES, publication, role, status)
        if (shadow := ended.shadow) is not None:
            reason = shadow.denial.reason.value if shadow.denial is not None else ""
            verdict = _DENY if shadow.enforced else _OBSERVED if reason else _ALLOW
            not_judged = shadow.not_judged.value if shadow.not_judged is not None else ""
            labels = publication, role, verdict, reason, not_judged
            count(metrics.SHADOW_DIFFERENCES, *labels)
        observe(metrics.REQUEST_SECONDS, time.monotonic() - ended.began, publication, role)
        if ended.inspection_seconds is not None:
            observe(metrics.INSPECTION_SECONDS, ended.inspection_seconds, publication, role)
        if ended.site_system_seconds is not None:
            observe(metrics.SITE_SYSTEM_SECONDS, ended.site_system_seconds, publication, role)
        count(metrics.BYTES, publication, _FROM_CLIENT, more=len(ended.body))
        count(metrics.BYTES, publication, _TO_CLIENT, more=ended.bytes_out)

    def _count_allowed(self, ended: ExchangeEnded, publication: str, role: str) -> None:
        would_refuse = ended.would_refuse
        if not would_refuse:
            self._numbers.count(metrics.REQUESTS, publication, role, _ALLOW, "")
            return
        reason = would_refuse[0].denial.reason.value
        self._numbers.count(metrics.REQUESTS, publication, role, _OBSERVED, reason)

    def _count_tunnel(self, ended: EndedTunnel) -> None:
        count, publication = self._numbers.count, _publication(ended.connection)
        if ended.denial is None:
            count(metrics.TUNNELS, publication, _ALLOW, "")
        else:
            reason = ended.denial.reason
            count(metrics.TUNNELS, publication, _DENY, reason.value)
            if reason in SITE_SYSTEM_REASONS:
                count(metrics.SITE_SYSTEM_ERRORS, publication, "", reason.value)
        count(metrics.BYTES, publication, _FROM_CLIENT, more=ended.bytes_from_client)
        count(metrics.BYTES, publication, _TO_CLIENT, more=ended.bytes_to_client)

    def _count_refused(self, refused: RefusedConnection) -> None:
        publication, reason = _publication(refused.connection), refused.denial.reason
        self._numbers.count(metrics.REFUSED_CONNECTIONS, publication, reason.value)


def _publication(connection: ConnectionRecord) -> str:
    """Return the name in the policy, not the one that the client sent."""
    return connection.publication.name if connection.publication is not None else ""
