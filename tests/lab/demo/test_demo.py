"""The demonstration: run as a user would, and made to fail."""

import dataclasses
import json
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from ibcm_bridge.commands.main import main
from ibcm_bridge.lab.cases.case import Case, Disposition, Expected
from ibcm_bridge.lab.cases.table import CASES
from ibcm_bridge.lab.comparison.outcomes import CANCELLED
from ibcm_bridge.lab.demo import demo
from ibcm_bridge.lab.demo.report import Families
from tests.little_room import largest_file


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
    assert len(results) == len(CASES) >= 60
    assert all(case["as_required"] for case in results)
    assert f"{len(results)} of {len(results)} cases went as required" in printed


def test_the_table_fits_a_terminal_of_100_columns(finished: tuple[str, Path]) -> None:
    assert max(map(len, finished[0].splitlines())) <= 100


def test_a_case_is_known_by_its_id() -> None:
    assert len({case.id for case in CASES}) == len(CASES)


@pytest.fixture(scope="module")
def results(finished: tuple[str, Path]) -> dict[str, dict[str, Any]]:
    """Case -> how it went."""
    listed = json.loads((finished[1] / "results.json").read_text("utf-8"))["cases"]
    return {result["id"]: result for result in listed}


REFUSED = [case for case in CASES if case.bridge.disposition is Disposition.REFUSED_BY_PROXY]


@pytest.mark.parametrize("case", REFUSED, ids=lambda case: case.id)
def test_of_what_is_refused_no_request_arrives(
    results: dict[str, dict[str, Any]], case: Case
) -> None:
    bridge = results[case.id]["bridge"]
    looked_at = "a TLS handshake, which the bridge broke off"
    nothing = CANCELLED if case.withdraws else "nothing"
    assert bridge["site_system_received"] in (nothing, looked_at)
    assert (bridge["site_system_received"] == looked_at) == (case.bridge.status == 502)
    assert bridge["audit"]["verdict"] == "deny"
    assert bridge["audit"]["requirement"] in (case.requirement, *case.also)


@pytest.mark.parametrize(
    ("case", "requirement", "bridge", "tunnel"),
    [
        ("inventory-report", "BRIDGE-IDENTITY", (200, None), Disposition.ANSWERED),
        ("wrong-site-system", "BRIDGE-TERMINATE", (502, None), Disposition.REFUSED_BY_CLIENT),
        ("forged-site-system", "BRIDGE-TERMINATE", (502, None), Disposition.REFUSED_BY_CLIENT),
        ("package-download", "HEADER-DP", (206, None), Disposition.ANSWERED),
        ("forbidden-verb", "VERB-MP", (405, None), Disposition.ANSWERED),
        ("forbidden-header", "HEADER-MP", (200, None), Disposition.ANSWERED),
        ("malware-in-zlib", "BRIDGE-INSPECT", (403, None), Disposition.ANSWERED),
        ("external-entity", "BRIDGE-INSPECT", (403, None), Disposition.ANSWERED),
        (
            "no-certificate",
            "BRIDGE-AUTH-COMPUTER",
            (None, "certificate required"),
            Disposition.REFUSED_THERE,
        ),
        (
            "revoked-certificate",
            "BRIDGE-AUTH-COMPUTER",
            (None, "certificate revoked"),
            Disposition.REFUSED_THERE,
        ),
        (
            "user-for-computers",
            "BRIDGE-AUTH-COMPUTER",
            (None, "bad certificate"),
            Disposition.ANSWERED,
        ),
        ("user-for-users", "BRIDGE-AUTH-USER", (200, None), Disposition.ANSWERED),
        ("plaintext", "BRIDGE-HTTPS-ONLY", (403, None), Disposition.REFUSED_BY_PROXY),
        ("update-scan", "SUP-WSUS", (200, None), Disposition.ANSWERED),
        ("update-administration", "SUP-WSUS", (404, None), Disposition.ANSWERED),
        ("update-rollup", "SUP-WSUS", (403, None), Disposition.ANSWERED),
        ("update-two-actions", "SUP-WSUS", (403, None), Disposition.ANSWERED),
        ("update-large-cookie", "SUP-WSUS", (403, None), Disposition.REFUSED_THERE),
        ("update-serialized-cookie", "SUP-WSUS", (403, None), Disposition.REFUSED_THERE),
        ("update-inventory", "SUP-WSUS", (404, None), Disposition.ANSWERED),
        ("state-message", "VERB-FSP", (200, None), None),
        ("state-question", "VERB-FSP", (405, None), None),
        ("enrolled-device", "BRIDGE-NOT-ENROLLED", (404, None), Disposition.ANSWERED),
        ("boot-media", "NO-OSD", (404, None), Disposition.ANSWERED),
        ("registration", "BRIDGE-IDENTITY", (200, None), Disposition.ANSWERED),
        ("heartbeat", "BRIDGE-IDENTITY", (200, None), Disposition.ANSWERED),
        ("spoofed-guid", "BRIDGE-IDENTITY", (403, None), Disposition.REFUSED_THERE),
        ("spoofed-payload", "BRIDGE-IDENTITY", (403, None), Disposition.ANSWERED),
        ("two-guids", "BRIDGE-IDENTITY", (403, None), Disposition.ANSWERED),
        ("replayed-download", "BRIDGE-IDENTITY", (403, None), Disposition.ANSWERED),
        ("leaked-host-name", "BRIDGE-INSPECT", (502, None), Disposition.ANSWERED),
        ("task-sequence", "NO-OSD", (200, None), Disposition.ANSWERED),
        ("boot-media-registration", "NO-OSD", (403, None), Disposition.ANSWERED),
        ("user-policy-message", "NO-USER-DEPLOYMENT", (403, None), Disposition.REFUSED_THERE),
        (
            "unknown-name",
            "DNS-INTERNET-FQDN",
            (None, "unrecognized name"),
            Disposition.REFUSED_BY_PROXY,
        ),
    ],
)
def test_the_two_columns_differ_as_bridging_and_tunneling_do(
    results: dict[str, dict[str, Any]],
    case: str,
    requirement: str,
    bridge: tuple[int | None, str | None],
    tunnel: Disposition | None,
) -> None:
    found = results[case]
    assert found["requirement"] == requirement
    assert (found["bridge"]["status"], found["bridge"]["alert"]) == bridge
    assert (found["tunnel"] and found["tunnel"]["outcome"]) == tunnel


KEPT_BACK = [case for case in CASES if case.bridge.disposition is Disposition.ANSWER_REFUSED]


@pytest.mark.parametrize("case", KEPT_BACK, ids=lambda case: case.id)
def test_of_an_answer_that_is_refused_the_client_gets_none(
    results: dict[str, dict[str, Any]], case: Case
) -> None:
    bridge, tunnel = results[case.id]["bridge"], results[case.id]["tunnel"]
    assert bridge["audit"]["verdict"] == "deny"
    assert bridge["site_system_received"].endswith("from bridge.perimeter.example")
    assert tunnel["client_got"] in ("200 OK", "207 Multi-Status")


SAID = {
    "inventory-report": ("bound", "registered-key"),
    "registration": (None, "key-in-registration"),
    "policy-request": ("bound", "registered-key"),
    "user-for-users": ("bound", "registered-key"),
}


@pytest.mark.parametrize("case", SAID)
def test_what_passes_is_known_to_be_the_clients(
    results: dict[str, dict[str, Any]], case: str
) -> None:
    audit = results[case]["bridge"]["audit"]
    assert (audit.get("client_guid_binding"), audit.get("signed_with")) == SAID[case]


@pytest.mark.parametrize(
    "case", ["spoofed-guid", "forged-signature", "forbidden-endpoint", "unclosed-multipart"]
)
def test_what_a_management_point_answers_with_nothing_has_reached_it(
    results: dict[str, dict[str, Any]], case: str
) -> None:
    tunnel = results[case]["tunnel"]
    assert (tunnel["client_got"], tunnel["outcome"]) == ("200 OK, empty", Disposition.REFUSED_THERE)


def test_a_bridge_and_a_tunnel_show_different_certificates(
    results: dict[str, dict[str, Any]],
) -> None:
    report = results["inventory-report"]
    assert report["bridge"]["client_was_shown"] == "bridge.internet.example"
    assert report["tunnel"]["client_was_shown"] == "mp01.corp.example"
    assert report["bridge"]["site_system_received"].endswith("from bridge.perimeter.example")
    assert report["tunnel"]["site_system_received"].endswith("from pc1.corp.example")


def test_no_ticket_is_in_what_is_written(finished: tuple[str, Path]) -> None:
    printed, directory = finished
    pages = [path.read_text("utf-8") for path in directory.iterdir()]
    assert not any("Negotiate" in text for text in (printed, *pages))


def test_the_page_needs_nothing_from_elsewhere(finished: tuple[str, Path]) -> None:
    page = (finished[1] / "index.html").read_text("utf-8")
    assert not re.search(r"""(src|href)=["'](?!#)""", page)
    assert "url(" not in page
    assert "<script" not in page


def test_a_case_that_goes_otherwise_fails_the_demonstration(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    first = CASES[0]
    wrong = dataclasses.replace(first, bridge=Expected(Disposition.REFUSED_BY_PROXY, 403))
    monkeypatch.setattr(demo, "FAMILIES", {"Wrong": (wrong,)})
    assert demo.run_demo(None) == 1
    printed = capsys.readouterr()
    assert "0 of 1 cases went as required" in printed.out
    assert "NOT AS REQUIRED" in printed.out
    assert "BRIDGE-IDENTITY wants it refused by the proxy" in printed.err


def test_for_machines_it_is_one_object_for_each_case(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(demo, "FAMILIES", {"Two": CASES[:2]})
    assert demo.run_demo(None, as_json=True) == 0
    told = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [result["id"] for result in told] == [result.id for result in CASES[:2]]
    assert all(result["as_required"] for result in told)


@pytest.mark.skipif(os.name != "posix", reason="a pipe that closes early, as `| head` has it")
def test_a_reader_who_leaves_early_sees_no_traceback() -> None:
    command = f"{sys.executable} -m ibcm_bridge demo | head -n 1"
    done = subprocess.run(
        ["sh", "-c", command], capture_output=True, text=True, timeout=120, check=False
    )
    assert done.stdout.startswith("ibcm-bridge demo")
    assert done.stderr == ""


@pytest.mark.parametrize("name", ["file", "file/below"])
def test_a_report_that_cannot_be_written_is_said_at_once(
    tmp_path: Path, name: str, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "file").touch()
    assert main(["demo", "--report", str(tmp_path / name)]) == 1
    said = capsys.readouterr()
    assert said.out == ""
    assert said.err.startswith(
        f"ibcm-bridge demo: the report in {tmp_path / name} cannot be written"
    )
    assert said.err.endswith("; name another folder: --report DIR\n")


def test_a_report_that_does_not_fit_leaves_the_earlier_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    earlier = {"index.html": "a page", "results.json": "{}"}
    for name, text in earlier.items():
        (tmp_path / name).write_text(text, "utf-8")
    whole = demo.write_report

    def in_little_room(report: Path, results: Families) -> Path:
        # The first file fits, the second does not.
        with largest_file(6_000):
            return whole(report, results)

    monkeypatch.setattr(demo, "FAMILIES", {"One": CASES[:1]})
    monkeypatch.setattr(demo, "write_report", in_little_room)
    assert main(["demo", "--report", str(tmp_path)]) == 1
    (said,) = capsys.readouterr().err.splitlines()
    assert said == (
        f"ibcm-bridge demo: the report in {tmp_path} cannot be written: the file would exceed "
        "the size limit; raise the limit (ulimit -f), or name another folder: --report DIR"
    )
    assert {file.name: file.read_text("utf-8") for file in tmp_path.iterdir()} == earlier
