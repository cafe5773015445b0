"""logrotate, with the shipped file, rotates the audit of a running bridge. No record is lost."""

from __future__ import annotations

import json
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from ibcm_bridge.lab.pki.authorities import LabPki
from ibcm_bridge.lab.site_systems.site_systems import SiteSystems
from tests.integration.credentials import Credentials
from tests.integration.reading import until
from tests.integration.worker_bridges import MP_LIST, SOON, Workers
from tests.needs import program

pytestmark = [
    pytest.mark.skipif(sys.platform != "linux", reason="several workers require Linux"),
    pytest.mark.needs("logrotate"),
]

SHIPPED = Path(__file__).parents[2] / "deploy" / "logrotate" / "ibcm-bridge"
ROTATIONS = 2


@pytest.fixture
def bridge(tmp_path: Path, pki: LabPki, site_systems: SiteSystems) -> Iterator[Workers]:
    with Workers(tmp_path, pki, site_systems) as bridge:
        yield bridge


class Rotation:
    """`logrotate --force` of one bridge's audit, with the shipped file."""

    def __init__(self, bridge: Workers, folder: Path) -> None:
        text = SHIPPED.read_text("utf-8")
        text = text.replace("/var/log/ibcm-bridge/*.jsonl", str(bridge.audit_file))
        self._file = folder / "rotation"
        self._file.write_text(text.replace("    su ibcm-bridge ibcm-bridge\n", ""), "utf-8")
        self._file.chmod(0o644)
        self._state = folder / "state"
        self._audit = bridge.audit_file

    def run(self) -> None:
        command = [program("logrotate"), "--force", "--state", str(self._state), str(self._file)]
        subprocess.run(command, check=True, capture_output=True)
        # The bridge creates the file again at its next record.
        until(self._audit.exists, "a new file", SOON)

    def records(self) -> list[str]:
        """Return the references of all requests, in all files."""
        every = []
        for path in self._audit.parent.glob("audit.jsonl*"):
            text = path.read_bytes()
            if path.suffix == ".gz":
                text = subprocess.run(["gzip", "-cd", path], stdout=-1, check=True).stdout
            records = map(json.loads, text.splitlines())
            # A process also records its start.
            every += [record["reference"] for record in records if "reference" in record]
        return every


def test_a_rotation_under_load_loses_no_record(
    bridge: Workers, credentials: Credentials, tmp_path: Path
) -> None:
    folder = tmp_path / "logrotate"
    folder.mkdir()
    rotation, ended, sent = Rotation(bridge, folder), threading.Event(), [0]

    def load() -> None:
        while not ended.is_set():
            with bridge.client(credentials.computer) as client:
                for _ in range(5):
                    assert client.request("GET", MP_LIST).status == 200
                    sent[0] += 1

    thread = threading.Thread(target=load)
    thread.start()
    try:
        for _ in range(ROTATIONS):
            before = sent[0]
            until(lambda: sent[0] > before + 20, "some requests", SOON)  # noqa: B023
            rotation.run()
            # The names of rotated files have the time in seconds.
            time.sleep(1.1)
    finally:
        ended.set()
        thread.join(SOON)
    until(lambda: len(rotation.records()) >= sent[0], "all records", SOON)
    records = rotation.records()
    assert len(records) == len(set(records)) == sent[0]
    rotated = list(bridge.audit_file.parent.glob("audit.jsonl-*"))
    assert len(rotated) == ROTATIONS
    assert sorted(path.suffix == ".gz" for path in rotated) == [False, True]
    assert bridge.audit_file.stat().st_mode & 0o777 == 0o640
