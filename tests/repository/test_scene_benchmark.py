"""The benchmark of scenes runs, and its table fails above the goals. No time is tested."""

from __future__ import annotations

import subprocess
import sys

import pytest

from tests.repository.benchmark_runs import ROOT, run_code

REPORTS = """
from benchmarks.scenes import END, FIRST, RATIO, Played, report

good = Played(FIRST, END, False, "")
late, long = Played(FIRST + 0.1, END, False, ""), Played(FIRST, END + 0.1, False, "")
failed, not_shown = Played(FIRST, END, True, ""), Played(0.1, 0.2, True, "no KDC; install one")
once = {"this": [1.0]}
for starts, rounds in (
    (once, [good]),
    (once, [late]),
    (once, [long]),
    (once, [good, late, good]),
    (once, [good, failed, good]),
    (once, [not_shown]),
    (once, [good, not_shown]),
    ({"this": [1.0, 2.0, 9.9], "beside": [1.0, 2.0, 1.0]}, [good]),
    ({"this": [1.2, 2.4], "beside": [1.0, 2.0]}, [good]),
):
    lines, reached = report(starts, {"pick": rounds})
    result = "not shown" if "not shown: no KDC" in lines[1] else lines[1][51:]
    print(reached, "|", result, "|", lines[-1])
"""


def test_the_table_fails_above_a_goal() -> None:
    printed = run_code(REPORTS).splitlines()
    assert printed == [
        "True |  | lab up: 1.0",
        "False | not reached | lab up: 1.0",
        "False | not reached | lab up: 1.0",
        "True |  | lab up: 1.0",
        "False | failed | lab up: 1.0",
        "True | not shown | lab up: 1.0",
        "False | failed | lab up: 1.0",
        "True |  | lab up: 2.0; beside: 1.0; ratio 1.00, goal 1.1",
        "False |  | lab up: 1.8; beside: 1.5; ratio 1.20, goal 1.1: not reached",
    ]


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="the benchmarks are for Linux")
def test_a_scene_can_be_timed() -> None:
    command = [sys.executable, "-m", "benchmarks.scenes", "--rounds", "1", "workgroup"]
    done = subprocess.run(
        [*command, "site-server"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=240,
        check=False,
    )
    # On a busy machine, a goal is not reached: the exit status then is 1.
    assert (done.returncode in (0, 1), done.stderr) == (True, "")
    _, _, workgroup, site_server, goal, lab = done.stdout.splitlines()
    first, end = map(float, workgroup.split()[1:3])
    assert 0 < first <= end
    assert "failed" not in workgroup
    assert site_server.split(maxsplit=3)[:3] == ["site-server", "not", "shown:"]
    assert goal.split() == ["goal", "2.0", "20.0"]
    assert lab.startswith("lab up: ")
