"""The demo, as a process; and its failures."""

import dataclasses
import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Page, sync_playwright

from ibcm_bridge.commands.main import main
from ibcm_bridge.lab.cases.case import Case, Disposition, Expected
from ibcm_bridge.lab.cases.requirements import REQUIREMENTS
from ibcm_bridge.lab.cases.table import CASES
from ibcm_bridge.lab.comparison.outcomes import CANCELLED
from ibcm_bridge.lab.demo import demo
from ibcm_bridge.lab.demo.demo import Folders
from ibcm_bridge.lab.demo.report import HANDOUT, Families
from tests.little_room import largest_file
from tests.needs import browser, demand


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> tuple[str, Path]:
    """The output and the folder of `ibcm-bridge demo --report DIR`."""
    directory = tmp_path_factory.mktemp("demo") / "report"
    command = [sys.executable, "-m", "ibcm_bridge", "demo", "--report", str(directory)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    return done.stdout, directory


def test_each_case_is_as_required(finished: tuple[str, Path]) -> None:
    printed, directory = finished
    results = json.loads((directory / "results.json").read_text("utf-8"))["cases"]
    assert len(results) == len(CASES) >= 60
    assert all(case["as_required"] for case in results)
    assert f"{len(results)} of {len(results)} cases as required" in printed


def test_a_plain_proxy_stops_less_than_the_bridge(finished: tuple[str, Path]) -> None:
    results = json.loads((finished[1] / "results.json").read_text("utf-8"))["cases"]
    plain = [case["plain_proxy"] for case in results]
    assert all(result["proxy"].startswith("nginx ") for result in plain)
    # Without nginx, each result is marked.
    assert len({result["recorded"] for result in plain}) == 1
    grades = {case["id"]: case["plain_proxy"]["grade"] for case in results}
    assert grades["inventory-report"] == grades["forbidden-verb"] == "right"
    assert grades["malware-in-zlib"] == "wrong"


def test_the_table_fits_a_terminal_of_80_columns(finished: tuple[str, Path]) -> None:
    table = finished[0].partition("\nReport: ")[0]
    assert max(map(len, table.splitlines())) <= 80


def test_case_ids_are_unique() -> None:
    assert len({case.id for case in CASES}) == len(CASES)


@pytest.fixture(scope="module")
def results(finished: tuple[str, Path]) -> dict[str, dict[str, Any]]:
    """Case id -> result."""
    listed = json.loads((finished[1] / "results.json").read_text("utf-8"))["cases"]
    return {result["id"]: result for result in listed}


REFUSED = [case for case in CASES if case.bridge.disposition is Disposition.REFUSED_BY_PROXY]


@pytest.mark.parametrize("case", REFUSED, ids=lambda case: case.id)
def test_a_refused_request_does_not_reach_the_site_system(
    results: dict[str, dict[str, Any]], case: Case
) -> None:
    bridge = results[case.id]["bridge"]
    handshake = "a TLS handshake, aborted by the bridge"
    nothing = CANCELLED if case.cancels_upload else "nothing"
    assert bridge["site_system_received"] in (nothing, handshake)
    assert (bridge["site_system_received"] == handshake) == (case.bridge.status == 502)
    assert bridge["audit"]["verdict"] == "deny"
    assert bridge["audit"]["requirement"] in (case.requirement, *case.other_requirements)


@pytest.mark.parametrize(
    ("case", "requirement", "bridge", "tunnel"),
    [
        ("inventory-report", "BRIDGE-IDENTITY", (200, None), Disposition.ACCEPTED),
        ("wrong-site-system", "BRIDGE-TERMINATE", (502, None), Disposition.REFUSED_BY_CLIENT),
        ("forged-site-system", "BRIDGE-TERMINATE", (502, None), Disposition.REFUSED_BY_CLIENT),
        ("package-download", "HEADER-DP", (206, None), Disposition.ACCEPTED),
        ("forbidden-verb", "VERB-MP", (405, None), Disposition.ACCEPTED),
        ("forbidden-header", "HEADER-MP", (200, None), Disposition.ACCEPTED),
        ("malware-in-zlib", "BRIDGE-INSPECT", (403, None), Disposition.ACCEPTED),
        ("external-entity", "BRIDGE-INSPECT", (403, None), Disposition.ACCEPTED),
        (
            "no-certificate",
            "BRIDGE-AUTH-COMPUTER",
            (None, "certificate required"),
            Disposition.REFUSED_BY_SITE_SYSTEM,
        ),
        (
            "revoked-certificate",
            "BRIDGE-AUTH-COMPUTER",
            (None, "certificate revoked"),
            Disposition.REFUSED_BY_SITE_SYSTEM,
        ),
        (
            "user-for-computers",
            "BRIDGE-AUTH-COMPUTER",
            (None, "bad certificate"),
            Disposition.ACCEPTED,
        ),
        ("user-for-users", "BRIDGE-AUTH-USER", (200, None), Disposition.ACCEPTED),
        ("plaintext", "BRIDGE-HTTPS-ONLY", (403, None), Disposition.REFUSED_BY_PROXY),
        ("update-scan", "SUP-WSUS", (200, None), Disposition.ACCEPTED),
        ("update-administration", "SUP-WSUS", (404, None), Disposition.ACCEPTED),
        ("update-rollup", "SUP-WSUS", (403, None), Disposition.ACCEPTED),
        ("update-two-actions", "SUP-WSUS", (403, None), Disposition.ACCEPTED),
        ("update-large-cookie", "SUP-WSUS", (403, None), Disposition.REFUSED_BY_SITE_SYSTEM),
        ("update-serialized-cookie", "SUP-WSUS", (403, None), Disposition.REFUSED_BY_SITE_SYSTEM),
        ("update-inventory", "SUP-WSUS", (404, None), Disposition.ACCEPTED),
        ("state-message", "VERB-FSP", (200, None), None),
        ("state-question", "VERB-FSP", (405, None), None),
        ("enrolled-device", "BRIDGE-NOT-ENROLLED", (404, None), Disposition.ACCEPTED),
        ("boot-media", "NO-OSD", (404, None), Disposition.ACCEPTED),
        ("registration", "BRIDGE-IDENTITY", (200, None), Disposition.ACCEPTED),
        ("heartbeat", "BRIDGE-IDENTITY", (200, None), Disposition.ACCEPTED),
        ("spoofed-guid", "BRIDGE-IDENTITY", (403, None), Disposition.REFUSED_BY_SITE_SYSTEM),
        ("spoofed-payload", "BRIDGE-IDENTITY", (403, None), Disposition.ACCEPTED),
        ("two-guids", "BRIDGE-IDENTITY", (403, None), Disposition.ACCEPTED),
        ("replayed-download", "BRIDGE-IDENTITY", (403, None), Disposition.ACCEPTED),
        ("leaked-host-name", "BRIDGE-INSPECT", (502, None), Disposition.ACCEPTED),
        ("task-sequence", "NO-OSD", (200, None), Disposition.ACCEPTED),
        ("boot-media-registration", "NO-OSD", (403, None), Disposition.ACCEPTED),
        (
            "user-policy-message",
            "NO-USER-DEPLOYMENT",
            (403, None),
            Disposition.REFUSED_BY_SITE_SYSTEM,
        ),
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


REFUSED_RESPONSES = [
    case for case in CASES if case.bridge.disposition is Disposition.RESPONSE_REFUSED
]


@pytest.mark.parametrize("case", REFUSED_RESPONSES, ids=lambda case: case.id)
def test_a_refused_response_does_not_reach_the_client(
    results: dict[str, dict[str, Any]], case: Case
) -> None:
    bridge, tunnel = results[case.id]["bridge"], results[case.id]["tunnel"]
    assert bridge["audit"]["verdict"] == "deny"
    assert bridge["site_system_received"].endswith("from bridge.perimeter.example")
    assert tunnel["client_received"] in ("200 OK", "207 Multi-Status")


IDENTITIES = {
    "inventory-report": ("bound", "registered-key"),
    "registration": (None, "key-in-registration"),
    "policy-request": ("bound", "registered-key"),
    "user-for-users": ("bound", "registered-key"),
}


@pytest.mark.parametrize("case", IDENTITIES)
def test_the_audit_has_the_verified_identity(results: dict[str, dict[str, Any]], case: str) -> None:
    audit = results[case]["bridge"]["audit"]
    assert (audit.get("client_guid_binding"), audit.get("signed_with")) == IDENTITIES[case]


@pytest.mark.parametrize(
    "case", ["spoofed-guid", "forged-signature", "forbidden-endpoint", "unclosed-multipart"]
)
def test_an_empty_reply_is_a_refusal_by_the_management_point(
    results: dict[str, dict[str, Any]], case: str
) -> None:
    tunnel = results[case]["tunnel"]
    assert (tunnel["client_received"], tunnel["outcome"]) == (
        "200 OK, empty",
        Disposition.REFUSED_BY_SITE_SYSTEM,
    )


def test_a_bridge_and_a_tunnel_show_different_certificates(
    results: dict[str, dict[str, Any]],
) -> None:
    report = results["inventory-report"]
    assert report["bridge"]["certificate_presented"] == "bridge.internet.example"
    assert report["tunnel"]["certificate_presented"] == "mp01.corp.example"
    assert report["bridge"]["site_system_received"].endswith("from bridge.perimeter.example")
    assert report["tunnel"]["site_system_received"].endswith("from pc1.corp.example")


def test_neither_output_nor_report_contains_a_token(finished: tuple[str, Path]) -> None:
    printed, directory = finished
    pages = [path.read_text("utf-8") for path in directory.iterdir()]
    # Of the ticket and of the password (`requests.TICKET`, `catalog-password`).
    assert not any("bGFi" in text for text in (printed, *pages))


def test_the_report_loads_nothing(finished: tuple[str, Path]) -> None:
    page = (finished[1] / "index.html").read_text("utf-8")
    assert not re.search(r"""(src|href)=["'](?!#)""", page)
    assert "url(" not in page
    # Each case has a picture for a screen, and one for a phone.
    assert page.count("<svg") == 2 * (len(CASES) + 1)
    assert "<script" not in page


@pytest.fixture(scope="module")
def page(finished: tuple[str, Path]) -> Iterator[Page]:
    """The report in Chromium."""
    demand("chromium")
    with sync_playwright() as playwright:
        chromium = playwright.chromium.launch(executable_path=browser(), args=["--no-sandbox"])
        shown = chromium.new_page()
        shown.goto((finished[1] / "index.html").as_uri())
        yield shown
        chromium.close()


def test_the_report_can_show_only_the_differences(page: Page) -> None:
    rows, sections = page.locator(".cases td:first-child"), page.locator("section")
    assert rows.count() == sections.count() == len(CASES)
    page.get_by_label("Only the cases where bridge and tunnel differ").check()
    differing = page.locator("section.differ").count()
    assert 0 < differing < len(CASES)
    assert page.locator(".cases td:first-child:visible").count() == differing
    assert page.locator("section:visible").count() == differing
    assert not page.locator("#inventory-report").is_visible()
    assert page.locator("#malware-in-zlib").is_visible()
    page.get_by_label("Only the cases where bridge and tunnel differ").uncheck()
    assert page.locator("#inventory-report").is_visible()


def test_the_report_has_the_sentence_of_each_requirement(page: Page) -> None:
    for case in CASES:
        sentence = page.locator(f'[id="{case.id}"] .demand').inner_text()
        assert sentence == REQUIREMENTS[case.requirement]


def test_the_report_fits_a_phone(page: Page) -> None:
    page.set_viewport_size({"width": 360, "height": 740})
    assert page.evaluate("document.documentElement.scrollWidth") <= 360
    page.set_viewport_size({"width": 1280, "height": 720})


def test_the_report_prints_on_two_pages(page: Page) -> None:
    printed = page.pdf(prefer_css_page_size=True)
    assert len(re.findall(rb"/Type */Page\b", printed)) == 2
    page.emulate_media(media="print")
    assert page.locator(".handout tbody tr:visible").count() == len(HANDOUT) == 12
    page.emulate_media(media="screen")


def test_a_deviation_fails_the_demo(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    first = CASES[0]
    wrong = dataclasses.replace(first, bridge=Expected(Disposition.REFUSED_BY_PROXY, 403))
    monkeypatch.setattr(demo, "FAMILIES", {"Wrong": (wrong,)})
    assert demo.run_demo(Folders()) == 1
    printed = capsys.readouterr()
    assert "0 of 1 cases as required" in printed.out
    assert "NOT AS REQUIRED" in printed.out
    assert "BRIDGE-IDENTITY requires: refused by the proxy" in printed.err


def test_json_output_is_one_object_for_each_case(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(demo, "FAMILIES", {"Two": CASES[:2]})
    assert demo.run_demo(Folders(), as_json=True) == 0
    printed = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [result["id"] for result in printed] == [result.id for result in CASES[:2]]
    assert all(result["as_required"] for result in printed)


@pytest.mark.skipif(os.name != "posix", reason="a pipe that closes early, such as `| head`")
def test_a_closed_pipe_prints_no_traceback() -> None:
    command = f"{sys.executable} -m ibcm_bridge demo | head -n 1"
    done = subprocess.run(
        ["sh", "-c", command], capture_output=True, text=True, timeout=120, check=False
    )
    assert done.stdout.startswith("ibcm-bridge demo")
    assert done.stderr == ""


@pytest.mark.parametrize(
    ("option", "files"), [("--report", "the report"), ("--pcap", "the captures")]
)
@pytest.mark.parametrize("name", ["file", "file/below"])
def test_an_unwritable_folder_fails_before_the_cases_run(
    tmp_path: Path, name: str, option: str, files: str, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "file").touch()
    assert main(["demo", option, str(tmp_path / name)]) == 1
    printed = capsys.readouterr()
    assert printed.out == ""
    assert printed.err.startswith(
        f"ibcm-bridge demo: {files} in {tmp_path / name} cannot be written"
    )
    assert printed.err.endswith(f"; choose another folder: {option} DIR\n")


def test_a_full_disk_keeps_the_earlier_report(
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
    (printed,) = capsys.readouterr().err.splitlines()
    assert printed == (
        f"ibcm-bridge demo: the report in {tmp_path} cannot be written: the file would exceed "
        "the size limit; raise the limit (ulimit -f), or choose another folder: --report DIR"
    )
    assert {file.name: file.read_text("utf-8") for file in tmp_path.iterdir()} == earlier
