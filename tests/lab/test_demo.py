"""The demonstration: run as a user would, and made to fail."""

import dataclasses
import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from ibcm_bridge.lab import demo
from ibcm_bridge.lab.cases import Far
from ibcm_bridge.lab.cases import cases as real_cases


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> tuple[str, Path]:
    """What `ibcm-bridge demo --report DIR` prints and writes."""
    directory = tmp_path_factory.mktemp("demo") / "report"
    command = [sys.executable, "-m", "ibcm_bridge", "demo", "--report", str(directory)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    return done.stdout, directory


def test_every_case_goes_as_its_requirement_says(finished: tuple[str, Path]) -> None:
    printed, directory = finished
    results = json.loads((directory / "results.json").read_text("utf-8"))["cases"]
    assert len(results) >= 9
    assert all(case["as_required"] for case in results)
    assert f"{len(results)} of {len(results)} cases went as required" in printed


def test_the_table_fits_a_terminal_of_100_columns(finished: tuple[str, Path]) -> None:
    assert max(map(len, finished[0].splitlines())) <= 100


@pytest.mark.parametrize(
    ("case", "requirement", "bridge", "tunnel"),
    [
        ("inventory-report", "BRIDGE-IDENTITY", (200, None), Far.ANSWERED),
        ("package-download", "HEADER-DP", (206, None), Far.ANSWERED),
        ("forbidden-verb", "VERB-MP", (405, None), Far.ANSWERED),
        ("forbidden-header", "HEADER-MP", (200, None), Far.ANSWERED),
        ("malware-in-zlib", "BRIDGE-INSPECT", (403, None), Far.ANSWERED),
        ("external-entity", "BRIDGE-INSPECT", (403, None), Far.ANSWERED),
        (
            "no-certificate",
            "BRIDGE-AUTH-COMPUTER",
            (None, "certificate required"),
            Far.REFUSED_THERE,
        ),
        (
            "revoked-certificate",
            "BRIDGE-AUTH-COMPUTER",
            (None, "certificate revoked"),
            Far.REFUSED_THERE,
        ),
        ("plaintext", "BRIDGE-HTTPS-ONLY", (403, None), Far.REFUSED_BY_PROXY),
    ],
)
def test_the_two_columns_differ_as_bridging_and_tunneling_do(
    finished: tuple[str, Path],
    case: str,
    requirement: str,
    bridge: tuple[int | None, str | None],
    tunnel: Far,
) -> None:
    results = json.loads((finished[1] / "results.json").read_text("utf-8"))["cases"]
    found = next(result for result in results if result["id"] == case)
    assert found["requirement"] == requirement
    assert (found["bridge"]["status"], found["bridge"]["alert"]) == bridge
    assert found["tunnel"]["outcome"] == tunnel
    if found["bridge"]["outcome"] == Far.REFUSED_BY_PROXY:
        assert found["bridge"]["site_system_received"] == "nothing"


def test_the_page_needs_nothing_from_elsewhere(finished: tuple[str, Path]) -> None:
    page = (finished[1] / "index.html").read_text("utf-8")
    assert not re.search(r"""(src|href)=["'](?!#)""", page)
    assert "url(" not in page
    assert "<script" not in page


def test_a_case_that_goes_otherwise_fails_the_demonstration(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def wrong(credential: object) -> list[object]:
        first = real_cases(credential)[0]  # type: ignore[arg-type]
        return [dataclasses.replace(first, bridge=Far.REFUSED_BY_PROXY, bridge_status=403)]

    monkeypatch.setattr(demo, "cases", wrong)
    assert demo.run_demo(None) == 1
    printed = capsys.readouterr()
    assert "0 of 1 cases went as required" in printed.out
    assert "NOT AS REQUIRED" in printed.out
    assert "BRIDGE-IDENTITY wants it refused by the proxy" in printed.err


@pytest.mark.skipif(os.name != "posix", reason="a pipe that closes early, as `| head` has it")
def test_a_reader_who_leaves_early_sees_no_traceback() -> None:
    command = f"{sys.executable} -m ibcm_bridge demo | head -n 1"
    done = subprocess.run(
        ["sh", "-c", command], capture_output=True, text=True, timeout=120, check=False
    )
    assert done.stdout.startswith("ibcm-bridge demo")
    assert done.stderr == ""
