"""Events become numbers and text, without sockets. No client is named, and labels are bounded."""

from __future__ import annotations

import dataclasses
from types import SimpleNamespace
from typing import Any

import pytest
from prometheus_client.openmetrics.parser import (
    text_string_to_metric_families as openmetrics,
)
from prometheus_client.parser import text_string_to_metric_families as plain

from ibcm_bridge.addons.events import EndedTunnel, RefusedConnection
from ibcm_bridge.addons.operations.exposition import exposition
from ibcm_bridge.addons.operations.metrics import METRICS
from ibcm_bridge.addons.operations.numbers import Numbers, Snapshot
from ibcm_bridge.addons.operations.traffic_metrics import TrafficMetrics
from ibcm_bridge.audit.shadow import Outcome, Unjudged
from ibcm_bridge.decisions import rules
from ibcm_bridge.decisions.denial import Deny, Reason
from ibcm_bridge.decisions.rules import Rule
from tests.addons.layers.samples import DENIED, GET, OK, post
from tests.addons.stand_ins.exchange_driver import ExchangeDriver
from tests.addons.stand_ins.lab import BRIDGED, TUNNELED, Lab, tunnel_publication

MP = {"publication": BRIDGED, "role": "management-point"}
OPENMETRICS = "application/openmetrics-text; version=1.0.0"


class Counted:
    """An observer and its numbers."""

    def __init__(self) -> None:
        self.numbers = Numbers()
        self.observer = TrafficMetrics(self.numbers)

    @property
    def text(self) -> str:
        snapshot = Snapshot(0.0, self.numbers.counters, self.numbers.histograms)
        return exposition(snapshot, "")[0].decode()

    def value(self, name: str, **labels: str) -> float | None:
        """The value of a sample, None without one."""
        samples = [sample for family in plain(self.text) for sample in family.samples]
        return next(
            (sample.value for sample in samples if (sample.name, sample.labels) == (name, labels)),
            None,
        )


@pytest.fixture
def counted() -> Counted:
    return Counted()


def count_all(counted: Counted, exchange: ExchangeDriver) -> None:
    for ended in exchange.ended:
        counted.observer.ended(ended)


def test_an_allowed_request_is_counted_and_timed(
    counted: Counted, exchange: ExchangeDriver
) -> None:
    head, body = post()
    exchange.receive(head + body)
    exchange.receive(OK, exchange.server)
    count_all(counted, exchange)
    assert counted.value("ibcm_requests_total", **MP, verdict="allow", reason="") == 1
    assert counted.value("ibcm_site_system_responses_total", **MP, status="2xx") == 1
    sent = {"publication": BRIDGED, "direction": "from-client"}
    assert counted.value("ibcm_forwarded_bytes_total", **sent) == len(body)
    for name in ("request", "inspection", "site_system"):
        assert counted.value(f"ibcm_{name}_seconds_count", **MP) == 1
        assert counted.value(f"ibcm_{name}_seconds_bucket", **MP, le="+Inf") == 1
        total = counted.value(f"ibcm_{name}_seconds_sum", **MP)
        assert total is not None
        assert 0 <= total < 60


def test_a_refused_request_is_counted_by_its_reason_and_not_timed_beyond_its_end(
    counted: Counted, exchange: ExchangeDriver
) -> None:
    exchange.receive(DENIED)
    count_all(counted, exchange)
    refused = {"publication": BRIDGED, "role": "", "verdict": "deny", "reason": "verb"}
    assert counted.value("ibcm_requests_total", **refused) == 1
    assert counted.value("ibcm_site_system_seconds_count", **MP) is None
    assert "site_system_errors_total{" not in counted.text


def test_a_refusal_because_of_an_engine_is_counted_by_its_name(
    exchange: ExchangeDriver, counted: Counted
) -> None:
    denial = Deny(Reason.ENGINE_UNAVAILABLE, rules.ENGINE.of("clamav"), "no response")
    exchange.hooks["body_read"] = lambda _: denial
    exchange.receive(b"".join(post()))
    counted.observer.ended(exchange.ended[-1])
    assert counted.value("ibcm_engine_failures_total", engine="clamav") == 1


def test_an_unreachable_site_system_is_counted_as_an_error_of_it(
    counted: Counted, exchange: ExchangeDriver
) -> None:
    exchange.refuse_dial = "[Errno 111] Connect call failed"
    exchange.receive(GET)
    count_all(counted, exchange)
    reason = "site-system-unreachable"
    assert counted.value("ibcm_site_system_errors_total", **MP, reason=reason) == 1


def test_the_outcome_of_a_shadow_is_counted_with_what_it_does_not_judge(
    counted: Counted, exchange: ExchangeDriver
) -> None:
    exchange.receive(DENIED)
    (ended,) = exchange.ended
    refused = Outcome(Deny(Reason.ENDPOINT, rules.ENDPOINTS), enforced=True)
    for shadow in (None, refused, Outcome(not_judged=Unjudged.IDENTITY)):
        counted.observer.ended(dataclasses.replace(ended, shadow=shadow))
    name, labels = "ibcm_shadow_differences_total", {"publication": BRIDGED, "role": ""}
    judged = {**labels, "verdict": "deny", "reason": "endpoint", "not_judged": ""}
    assert counted.value(name, **judged) == 1
    unknown = {**labels, "verdict": "allow", "reason": "", "not_judged": "identity"}
    assert counted.value(name, **unknown) == 1


def test_a_tunnel_and_a_refused_connection_are_counted(
    counted: Counted, exchange: ExchangeDriver, lab: Lab
) -> None:
    record = dataclasses.replace(
        exchange.record, publication=tunnel_publication(lab), capacity=exchange.record.capacity
    )
    counted.observer.ended(EndedTunnel(record, None, 10, 20, None, ("192.0.2.1", 443)))
    deny = Deny(Reason.SITE_SYSTEM_UNREACHABLE, Rule("x"))
    counted.observer.ended(EndedTunnel(record, deny, 0, 0, None, ("192.0.2.1", 443)))
    record.publication, record.server_name = None, "made-up.example"
    counted.observer.ended(RefusedConnection(record, Deny(Reason.UNKNOWN_NAME, Rule("x"))))
    tunnel = {"publication": TUNNELED}
    assert counted.value("ibcm_tunnels_total", **tunnel, verdict="allow", reason="") == 1
    assert counted.value("ibcm_forwarded_bytes_total", **tunnel, direction="to-client") == 20
    error = {**tunnel, "role": "", "reason": "site-system-unreachable"}
    assert counted.value("ibcm_site_system_errors_total", **error) == 1
    refused = {"publication": "", "reason": "unknown-name"}
    assert counted.value("ibcm_refused_connections_total", **refused) == 1
    assert "made-up" not in counted.text


@pytest.mark.parametrize("resumed", [False, True])
def test_a_handshake_is_counted_once_its_client_is_accepted(
    counted: Counted, exchange: ExchangeDriver, resumed: bool
) -> None:
    record = exchange.record
    record.resumed = resumed
    data: Any = SimpleNamespace(ssl_conn=SimpleNamespace(get_app_data=lambda: record))
    counted.observer.tls_established_client(data)
    labels = {"publication": BRIDGED, "resumed": "yes" if resumed else "no"}
    assert counted.value("ibcm_handshakes_total", **labels) == 1
    assert counted.value("ibcm_handshake_seconds_count", **labels) == 1
    record.handshake_refusal = Deny(Reason.CERTIFICATE_REVOKED, Rule("x"))
    counted.observer.tls_established_client(data)
    assert counted.value("ibcm_handshakes_total", **labels) == 1


def test_the_text_names_no_client_and_each_metric_begins_with_ibcm(
    counted: Counted, exchange: ExchangeDriver
) -> None:
    exchange.receive(GET)
    exchange.receive(OK, exchange.server)
    exchange.receive(DENIED)
    count_all(counted, exchange)
    assert exchange.record.certificate is not None
    for secret in ("pc1", exchange.record.certificate.serial, "127.0.0.1", "MPLIST"):
        assert secret not in counted.text
    families = list(plain(counted.text))
    assert {family.name for family in families} == set(METRICS)
    assert all(name.startswith("ibcm_") for name in METRICS)


def test_a_scraper_that_prefers_openmetrics_gets_it(
    counted: Counted, exchange: ExchangeDriver
) -> None:
    exchange.receive(DENIED)
    count_all(counted, exchange)
    snapshot = Snapshot(0.0, counted.numbers.counters, counted.numbers.histograms)
    body, media_type = exposition(snapshot, OPENMETRICS)
    assert media_type.startswith("application/openmetrics-text")
    assert {family.name for family in openmetrics(body.decode())} == set(METRICS)


def test_an_exception_is_counted_and_logged_once_and_does_not_reach_the_traffic(
    counted: Counted, exchange: ExchangeDriver, caplog: pytest.LogCaptureFixture
) -> None:
    exchange.receive(DENIED)
    broken: Any = SimpleNamespace(ssl_conn=None)
    counted.observer._numbers.observe = None  # type: ignore[assignment,method-assign]
    for _ in range(2):
        count_all(counted, exchange)
        counted.observer.tls_established_client(broken)
    assert counted.value("ibcm_metrics_defects_total") == 4
    assert [record.getMessage() for record in caplog.records] == [
        "defect in the metrics: TypeError; the traffic continues"
    ]
