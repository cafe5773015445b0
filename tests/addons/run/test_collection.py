"""Each process of a bridge excludes its objects from garbage collection; other programs do not."""

from __future__ import annotations

import dataclasses
import gc
import signal
import subprocess
import sys
import weakref
from pathlib import Path

import pytest

from tests.addons.stand_ins.lab import Lab
from tests.addons.stand_ins.running import SOON, Running, wait_for
from tests.integration.commands import on_free_ports

REPORTS_ITS_CALLER = """
import gc, sys

def freeze(freeze=gc.freeze):
    freeze()
    print("frozen by", sys._getframe(1).f_code.co_name, file=sys.stderr, flush=True)

gc.freeze = freeze
from ibcm_bridge.commands.main import main
sys.exit(main())
"""
START_SECONDS = 60.0
FROZEN = "frozen by exclude_from_collection\n"


def test_a_bridge_that_ended_in_this_process_is_freed(lab: Lab, tmp_path: Path) -> None:
    frozen = gc.get_freeze_count()
    policy = dataclasses.replace(lab.policy, audit_file=tmp_path / "audit.jsonl")
    bridges = []
    # mitmproxy keeps the master that was made last.
    for _ in range(2):
        with Running(lab, policy) as running:
            running.assert_serves()
            assert gc.get_freeze_count() <= frozen
            bridges.append(weakref.ref(running.bridge))
    gc.collect()
    assert bridges[0]() is None


@pytest.mark.skipif(sys.platform != "linux", reason="several workers require Linux")
@pytest.mark.parametrize("workers", [1, 2])
def test_each_process_that_serves_excludes_its_objects(
    lab: Lab, tmp_path: Path, workers: int
) -> None:
    lab.pki.write(tmp_path / "pki")
    policy, printed = tmp_path / "bridge.yaml", tmp_path / "printed"
    policy.write_text(f"{on_free_ports()}workers: {workers}\n", "utf-8")
    command = [sys.executable, "-c", REPORTS_ITS_CALLER, "run", "--config", str(policy)]
    with (
        printed.open("wb") as stderr,
        subprocess.Popen(command, cwd=tmp_path, stderr=stderr) as bridge,
    ):
        # The parent prints the address when the first worker is ready.
        wait_for(lambda: printed.read_text("utf-8").count(FROZEN) >= workers, START_SECONDS)
        bridge.send_signal(signal.SIGTERM)
        assert bridge.wait(SOON) == 0
    assert printed.read_text("utf-8").count(FROZEN) == workers, printed.read_text("utf-8")
