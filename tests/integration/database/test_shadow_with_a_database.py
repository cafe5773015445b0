"""`run --shadow` beside a shared database, from the command to `audit diff` and the metrics."""

from __future__ import annotations

import os
import signal
import sys
from pathlib import Path

import pytest
import yaml
from prometheus_client.parser import text_string_to_metric_families

from ibcm_bridge.commands.main import main
from ibcm_bridge.lab.pki.authorities import LabPki
from ibcm_bridge.lab.site_systems.site_systems import SiteSystems
from tests.integration.credentials import Credentials
from tests.integration.database.computers import Computer
from tests.integration.faults import SOON, FaultyBridge
from tests.integration.reading import until
from tests.postgresql_server import PostgresqlServer

pytestmark = [
    pytest.mark.needs("postgresql"),
    pytest.mark.skipif(sys.platform == "win32", reason="a policy with `state` requires Linux"),
]

STRICT = {"identity": "enforce"}


def differences(bridge: FaultyBridge) -> list[tuple[str, str, float]]:
    """The reason, what is not judged, and the number of requests."""
    families = text_string_to_metric_families(bridge.get("/metrics")[1])
    return [
        (sample.labels["reason"], sample.labels["not_judged"], sample.value)
        for family in families
        for sample in family.samples
        if sample.name == "ibcm_shadow_differences_total"
    ]


@pytest.mark.parametrize("workers", [1, pytest.param(2, marks=pytest.mark.slow)])
def test_the_shadow_is_counted_and_refuses_nobody(
    tmp_path: Path,
    pki: LabPki,
    credentials: Credentials,
    site_systems: SiteSystems,
    postgresql: PostgresqlServer,
    workers: int,
    capsys: pytest.CaptureFixture[str],
) -> None:
    postgresql.empty_database()
    address = postgresql.address
    new = tmp_path / "new.yaml"
    options = ["--shadow", str(new)]
    bridge = FaultyBridge(
        tmp_path, pki, site_systems, options=options, state=address, workers=workers
    )
    # Not before: the bridge has chosen its ports.
    policy = yaml.safe_load(bridge.policy_file.read_text("utf-8"))
    new.write_text(yaml.safe_dump(policy | {"messages": STRICT}), "utf-8")
    with bridge:
        first = Computer(bridge, credentials.computer, "pc1.corp.example")
        other = Computer(bridge, pki.computer("pc8.corp.example"), "pc8.corp.example")
        assert first.register() == 200
        assert first.report() == 200
        assert other.report(first.device.guid) == 200
        records = bridge.wait_for_records(3, SOON)
        assert [record["verdict"] for record in records] == ["allow"] * 3
        found = [record["shadow"]["reason"] for record in records if "shadow" in record]
        assert found == ["identity-of-another"]

        assert main(["audit", "diff", str(bridge.audit_file)]) == 0
        lines = capsys.readouterr().out.splitlines()
        assert lines[:2] == [
            "3 requests in 1 file",
            "1 with another outcome under the other policy",
        ]
        assert "          then: deny identity-of-another, by messages.identity" in lines

        # Each worker writes its numbers in turn.
        counted = [("identity-of-another", "", 1.0)]
        until(lambda: differences(bridge) == counted, "the metrics", SOON)

        new.write_text(yaml.safe_dump(policy | {"state": f"{address}&port=5433"}), "utf-8")
        os.kill(bridge.pid, signal.SIGHUP)
        until(lambda: any("reload refused" in line for line in bridge.lines), "the reload", SOON)
        assert any("has another `state`" in line for line in bridge.lines)
        assert bridge.stop() == 0
    assert "Traceback" not in "".join(bridge.lines)
