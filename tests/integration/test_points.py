"""The points of the audit that a running bridge logs: each minute, here each half second."""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from prometheus_client.parser import text_string_to_metric_families

from ibcm_bridge.lab.bridge import process
from ibcm_bridge.lab.pki.authorities import LabPki
from ibcm_bridge.lab.site_systems.site_systems import SiteSystems
from tests.integration.credentials import Credentials
from tests.integration.faults import SOON, FaultyBridge
from tests.integration.reading import until

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="workers and signals")

SECONDS = 0.5
PROGRAM = (
    "-c",
    "import runpy; from ibcm_bridge.addons.audit import trail; "
    f"trail.POINT_SECONDS = {SECONDS}; "
    'runpy.run_module("ibcm_bridge.commands.child_process", run_name="__main__", alter_sys=True)',
)
POINT = re.compile(r"audit point ([0-9a-f]{16}):([0-9]+):([0-9a-f]{64})")

type Point = tuple[str, int, str]
"""Writer, number and digest of a record."""


@pytest.fixture
def bridge(
    tmp_path: Path, pki: LabPki, site_systems: SiteSystems, monkeypatch: pytest.MonkeyPatch
) -> Iterator[FaultyBridge]:
    monkeypatch.setattr(process, "PROGRAM", PROGRAM)
    with FaultyBridge(tmp_path, pki, site_systems, workers=2) as bridge:
        yield bridge


def points(bridge: FaultyBridge) -> list[Point]:
    """Return the points in the log, in their order."""
    found = POINT.findall("".join(bridge.lines))
    return [(writer, int(sequence), digest) for writer, sequence, digest in found]


def metric(bridge: FaultyBridge) -> set[Point]:
    """Return the points in the metrics: one of each process."""
    families = text_string_to_metric_families(bridge.get("/metrics")[1])
    return {
        (sample.labels["writer"], int(sample.value), sample.labels["digest"])
        for family in families
        for sample in family.samples
        if sample.name == "ibcm_audit_point"
    }


def newest(bridge: FaultyBridge) -> set[Point]:
    """Return the last point of each writer in the log."""
    return set({point[0]: point for point in points(bridge)}.values())


def verify(bridge: FaultyBridge, log: Path) -> subprocess.CompletedProcess[str]:
    log.write_text("".join(bridge.lines), "utf-8")
    command = [sys.executable, "-P", "-m", "ibcm_bridge", "audit", "verify", "--points", str(log)]
    return subprocess.run(
        [*command, str(bridge.audit_file)],
        capture_output=True,
        text=True,
        check=False,
        timeout=SOON,
    )


def test_each_process_logs_its_points_and_they_find_a_shortened_audit(
    bridge: FaultyBridge, credentials: Credentials, tmp_path: Path
) -> None:
    until(lambda: len(newest(bridge)) == 2, "a point of each worker", SOON)
    for _ in range(2):
        before = points(bridge)
        for _ in range(5):
            assert bridge.serves(credentials.computer)
        # The last record of the traffic is in a point soon, without a further request.
        until(lambda: _records(newest(bridge)) == len(_lines(bridge)), "the points", SOON)
        assert len(points(bridge)) > len(before)
    until(lambda: metric(bridge) == newest(bridge), "the same points in the metrics", SOON)

    # A writer without new records logs none.
    count = len(points(bridge))
    with pytest.raises(AssertionError, match="another point"):
        until(lambda: len(points(bridge)) > count, "another point", 4 * SECONDS)

    assert bridge.stop() == 0
    whole = verify(bridge, tmp_path / "log")
    assert (whole.returncode, whole.stderr) == (0, "")
    bridge.audit_file.write_bytes(b"".join(_lines(bridge)[:-2]))
    shortened = verify(bridge, tmp_path / "log")
    assert shortened.returncode == 1, shortened.stdout


def _lines(bridge: FaultyBridge) -> list[bytes]:
    return bridge.audit_file.read_bytes().splitlines(keepends=True)


def _records(found: set[Point]) -> int:
    return sum(sequence for _, sequence, _ in found)
