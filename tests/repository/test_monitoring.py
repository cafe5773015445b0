"""deploy/: alerts, dashboard and detections use metrics, labels and audit fields that exist."""

from __future__ import annotations

import json
import re
import subprocess
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from prometheus_client.parser import text_string_to_metric_families

from ibcm_bridge.addons.operations.exposition import exposition
from ibcm_bridge.addons.operations.metrics import BOUNDS, METRICS, Kind
from ibcm_bridge.addons.operations.numbers import Snapshot
from ibcm_bridge.audit import record
from ibcm_bridge.decisions.denial import Reason
from ibcm_bridge.identity.bindings import BindingStatus

ROOT = Path(__file__).parents[2]
DEPLOY = ROOT / "deploy"
ALERTS = DEPLOY / "prometheus" / "alerts.yaml"
CASES = Path(__file__).parent / "alert_cases.yaml"
RUNBOOKS = ROOT / "docs" / "runbooks"
DASHBOARD = json.loads((DEPLOY / "grafana" / "ibcm-bridge.json").read_text("utf-8"))
DETECTIONS = sorted((DEPLOY / "sigma").glob("*.yml"))
(GROUP,) = yaml.safe_load(ALERTS.read_text("utf-8"))["groups"]
RULES: list[dict[str, Any]] = GROUP["rules"]

OF_PROMETHEUS = {"instance", "job", "le"}
"""Labels that Prometheus adds, and that of histograms."""


# Metrics


def samples() -> dict[str, set[str]]:
    """The name of each sample that the bridge can have -> its labels."""
    found = {}
    suffixes = {
        Kind.COUNTER: ("_total",),
        Kind.GAUGE: ("",),
        Kind.HISTOGRAM: ("_bucket", "_sum", "_count"),
    }
    for metric in METRICS.values():
        for suffix in suffixes[metric.kind]:
            found[metric.name + suffix] = {*metric.labels} | OF_PROMETHEUS
    return found


SAMPLES = samples()


def expressions() -> Iterator[tuple[str, str]]:
    """Where each expression is, and the expression."""
    for rule in RULES:
        yield rule["alert"], rule["expr"]
    for panel in DASHBOARD["panels"]:
        for target in panel["targets"]:
            yield panel["title"], target["expr"]


EXPRESSIONS = [pytest.param(text, id=where) for where, text in expressions()]


def strangers(expression: str) -> list[str]:
    """What an expression uses and no sample has: names, labels and reasons."""
    found, known = [], set(OF_PROMETHEUS)
    for name, matchers in re.findall(r"\b(ibcm_\w+)(?:\{([^}]*)\})?", expression):
        labels = SAMPLES.get(name)
        if labels is None:
            found.append(name)
            continue
        known |= labels
        for label, value in re.findall(r"(\w+)\s*=~?\s*\"([^\"]*)\"", matchers):
            if label not in labels:
                found.append(f"{name}.{label}")
            if label == "reason":
                found += [
                    part
                    for part in value.split("|")
                    if not any(re.fullmatch(part, reason.value) for reason in Reason)
                ]
    for group in re.findall(r"\b(?:by|on|without|ignoring|group_left) ?\(([^)]*)\)", expression):
        found += [name for name in re.findall(r"\w+", group) if name not in known]
    return found


@pytest.mark.parametrize("expression", EXPRESSIONS)
def test_an_expression_uses_metrics_and_labels_that_exist(expression: str) -> None:
    assert strangers(expression) == []


@pytest.mark.parametrize(
    ("expression", "stranger"),
    [
        ("ibcm_redy == 0", "ibcm_redy"),
        ("rate(ibcm_requests[5m])", "ibcm_requests"),
        ('ibcm_ready{role="a"}', "ibcm_ready.role"),
        ('ibcm_requests_total{reason=~"verb|no-.*"}', "no-.*"),
        ("sum by (client) (ibcm_ready)", "client"),
    ],
)
def test_a_wrong_expression_is_found(expression: str, stranger: str) -> None:
    assert strangers(expression) == [stranger]


def test_the_table_of_samples_is_that_of_the_bridge() -> None:
    series = {(metric.name, metric.labels): metric.kind for metric in METRICS.values()}
    snapshot = Snapshot(
        0.0,
        counters={key: 1.0 for key, kind in series.items() if kind is Kind.COUNTER},
        gauges={key: 1.0 for key, kind in series.items() if kind is Kind.GAUGE},
        histograms={
            key: [0.0] * (len(BOUNDS) + 2) for key, kind in series.items() if kind is Kind.HISTOGRAM
        },
    )
    text, _ = exposition(snapshot, "text/plain")
    found = {
        sample.name: {*sample.labels} | OF_PROMETHEUS
        for family in text_string_to_metric_families(text.decode())
        for sample in family.samples
    }
    assert found == SAMPLES


@pytest.mark.parametrize(
    "page", [ROOT / "docs" / "operating.md", *sorted(RUNBOOKS.glob("*.md"))], ids=lambda p: p.name
)
def test_a_page_names_metrics_that_exist(page: Path) -> None:
    known = {*SAMPLES, *METRICS}
    # `ibcm_bridge` is the package.
    for name, more in re.findall(r"\b(ibcm_(?!bridge\b)\w+)(\S?)", page.read_text("utf-8")):
        whole = name in known
        assert whole or (more != "`" and any(each.startswith(name) for each in known)), name


# Alerts


@pytest.mark.needs("promtool")
def test_each_alert_has_its_cause_and_a_healthy_bridge_has_none() -> None:
    for command in (["check", "rules", str(ALERTS)], ["test", "rules", str(CASES)]):
        done = subprocess.run(
            ["promtool", *command], capture_output=True, text=True, check=False, cwd=CASES.parent
        )
        assert done.returncode == 0, done.stdout + done.stderr


def test_each_alert_is_tested() -> None:
    text = CASES.read_text("utf-8")
    assert [rule["alert"] for rule in RULES if rule["alert"] not in text] == []
    assert len(RULES) == 11


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule["alert"])
def test_each_alert_has_a_severity_and_a_runbook(rule: dict[str, Any]) -> None:
    assert rule["labels"]["severity"] in ("critical", "warning")
    page = ROOT / rule["annotations"]["runbook"]
    title, *_ = page.read_text("utf-8").splitlines()
    assert title == f"# {rule['alert']}"
    for heading in ("## Look", "## Do", "## Escalate"):
        assert heading in page.read_text("utf-8")


def test_each_runbook_has_an_alert() -> None:
    pages = {Path(rule["annotations"]["runbook"]).name for rule in RULES}
    assert {path.name for path in RUNBOOKS.iterdir()} == pages


# The dashboard


def test_the_panels_do_not_overlap() -> None:
    taken: dict[tuple[int, int], str] = {}
    for panel in DASHBOARD["panels"]:
        at = panel["gridPos"]
        assert at["x"] + at["w"] <= 24
        for x in range(at["x"], at["x"] + at["w"]):
            for y in range(at["y"], at["y"] + at["h"]):
                assert taken.setdefault((x, y), panel["title"]) == panel["title"]
    assert len({panel["id"] for panel in DASHBOARD["panels"]}) == len(DASHBOARD["panels"])


# Detections

FIELDS = {value for name, value in vars(record).items() if name.isupper() and type(value) is str}
VALUES = {
    record.EVENT: {*record.Event},
    record.VERDICT: {*record.Verdict},
    record.REASON: {*Reason},
    record.CLIENT_GUID_BINDING: {*BindingStatus},
}
REQUIRED = {
    *("title", "id", "status", "description", "author", "date", "tags", "logsource"),
    *("detection", "fields", "falsepositives", "level"),
}
"""Of a rule, by the specification of Sigma (SigmaHQ), 2.0: those that its test requires."""


@pytest.fixture(params=DETECTIONS, ids=lambda path: path.stem)
def detection(request: pytest.FixtureRequest) -> dict[str, Any]:
    loaded: dict[str, Any] = yaml.safe_load(request.param.read_text("utf-8"))
    return loaded


def test_there_are_five_detections_with_different_ids() -> None:
    ids = {yaml.safe_load(path.read_text("utf-8"))["id"] for path in DETECTIONS}
    assert len(ids) == len(DETECTIONS) == 5


def test_a_detection_has_the_form_of_sigma(detection: dict[str, Any]) -> None:
    assert set(detection) >= REQUIRED
    assert uuid.UUID(detection["id"]).version == 4
    assert len(detection["title"]) <= 256
    assert detection["status"] in ("experimental", "test", "stable")
    assert detection["level"] in ("informational", "low", "medium", "high", "critical")
    assert all(
        re.fullmatch(r"attack\.(t\d{4}(\.\d{3})?|[a-z-]+)", tag) for tag in detection["tags"]
    )
    assert detection["logsource"] == {"product": "ibcm-bridge", "service": "audit"}
    names = {*re.findall(r"\w+", detection["detection"]["condition"])} - {"and", "or", "not"}
    assert names == set(detection["detection"]) - {"condition"}


def test_a_detection_uses_fields_and_values_of_the_audit(detection: dict[str, Any]) -> None:
    assert set(detection["fields"]) <= FIELDS
    for name, selection in detection["detection"].items():
        if name == "condition":
            continue
        for key, wanted in selection.items():
            field, _, modifier = key.partition("|")
            assert field in FIELDS
            if modifier:
                assert modifier == "exists"
            else:
                assert {*([wanted] if isinstance(wanted, str) else wanted)} <= VALUES[field]
