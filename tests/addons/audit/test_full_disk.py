"""A full disk, which is a small file system of its own: the audit and the bindings."""

from __future__ import annotations

import base64
import json
import subprocess
import sys
from pathlib import Path

import pytest

from ibcm_bridge.audit.chain import Point
from tests.audit.chains import problems, verified

WORK = """
import base64, datetime, json, os, sys
from pathlib import Path
from ibcm_bridge.addons.audit.trail import AuditTrail
from ibcm_bridge.identity.bindings import Binding, Source
from ibcm_bridge.storage.binding_registry import Registry, RegistryError

folder = Path(sys.argv[1])
record = {"time": "2026-01-02T03:04:05.678+00:00", "event": "request", "target": 400 * "x"}
now = datetime.datetime(2026, 1, 2, tzinfo=datetime.UTC)

def binding(number):
    return Binding(f"GUID:{number:08X}-0000-0000-0000-000000000000", Source.IMPORT, now, name="pc")

def fill():
    with (folder / "ballast").open("wb", buffering=0) as file:
        try:
            while file.write(bytes(4096)):
                pass
        except OSError:
            pass

trail, registry = AuditTrail(folder / "audit.jsonl"), Registry(folder / "bindings.sqlite")
trail._write(record)
registry.add(binding(0))
fill()
lost = 0
for _ in range(50):
    try:
        trail._write(record)
    except OSError:
        lost += 1
problem = trail.problem
added, refused = [0], ""
for number in range(1, 500):
    try:
        registry.add(binding(number))
        added.append(number)
    except RegistryError as error:
        refused = str(error)
        break
found = registry.find(binding(0).guid) == binding(0)
(folder / "ballast").unlink()
trail.probe()
trail._write(record)
registry.add(binding(1_000))
added.append(1_000)
trail.close()
registry.close()
with Registry(folder / "bindings.sqlite") as again:
    kept = [found.guid for found in again.all()] == [binding(number).guid for number in added]
print(json.dumps({
    "lost": lost, "problem": problem, "refused": refused, "found": found, "kept": kept,
    "point": trail.point, "after": trail.problem,
    "audit": base64.b64encode((folder / "audit.jsonl").read_bytes()).decode(),
}))
"""


@pytest.mark.needs("root")
def test_a_full_disk_loses_no_written_record_and_no_binding(tmp_path: Path) -> None:
    mounted = 'mount -t tmpfs -o size=256k tmpfs "$1" && exec "$2" -c "$3" "$1"'
    shell = ["unshare", "--mount", "sh", "-c", mounted, "sh", str(tmp_path), sys.executable, WORK]
    done = subprocess.run(shell, capture_output=True, text=True, check=False, timeout=120)
    assert done.returncode == 0, done.stderr
    result = json.loads(done.stdout)
    assert result["lost"] > 0
    assert (result["problem"], result["after"]) == ("No space left on device", None)
    assert done.stderr.count("cannot write the audit: No space left on device") == 1
    assert result["refused"].endswith("cannot grow: the disk is full; free some space")
    assert result["found"], "reading goes on"
    assert result["kept"], "every acknowledged binding, and no other"
    lines = base64.b64decode(result["audit"]).splitlines(keepends=True)
    found = verified(lines, points=[Point(*result["point"])])
    assert problems(found) == []
    (writer,) = found.writers
    assert (writer.lost, writer.ended, writer.points) == (result["lost"], True, 1)
