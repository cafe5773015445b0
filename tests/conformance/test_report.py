"""The verdict of a report, and its commands that send a request again."""

from __future__ import annotations

import subprocess
from dataclasses import replace
from datetime import UTC, datetime
from ipaddress import IPv4Address
from pathlib import Path

import pytest

from ibcm_bridge.conformance.collection import Level, all_checks
from ibcm_bridge.conformance.exchange import Exchange, Pieces, Place
from ibcm_bridge.conformance.judgement import Judgement, Outcome
from ibcm_bridge.conformance.kit import Client, Kit, make_kit, now
from ibcm_bridge.conformance.report import Report
from ibcm_bridge.conformance.reproduction import (
    repeated,
    repetition,
    reproduction,
    write_requests,
)
from ibcm_bridge.conformance.results import Hang
from ibcm_bridge.conformance.runner import Result
from ibcm_bridge.conformance.running import describe
from ibcm_bridge.conformance.serving import CHECKED, serving
from ibcm_bridge.lab.protocol.client import ConnectionEnded
from ibcm_bridge.lab.site_systems.stand_ins import STAND_INS
from tests.needs import demand
from tests.powershell_syntax import syntax_errors, words_of

REPORT = (
    b"POST /SMS_FSP/.sms_fsp HTTP/1.1\r\nHost: fsp\r\nContent-Length: 1\r\n"
    b"Connection: close\r\n\r\nx"
)


def failed(exchange: Exchange) -> Result:
    check = all_checks()["limits::stalled_head_without_tls"]
    return Result(check, Judgement(Outcome.FAIL, "refused"), (exchange,), 1.0)


@pytest.fixture(scope="module")
def kit(tmp_path_factory: pytest.TempPathFactory) -> Kit:
    return make_kit(tmp_path_factory.mktemp("report") / "kit", None, now())[0]


def test_a_failure_has_a_line_for_each_shell(kit: Kit) -> None:
    place = Place("fsp", ("192.0.2.1", 8080))
    exchange = Exchange(b"x", "x", place, Client.NONE, ConnectionEnded("end"), (), tls=False)
    result = failed(exchange)
    words = repeated(Path("C:/O'Neil/subject.yaml"), yes=True)
    posix = describe(result, kit, words, windows=False).splitlines()[-1]
    assert posix == f"    again: {reproduction(result, kit)}"
    again = describe(result, kit, words, windows=True).splitlines()[-1]
    line = again.removeprefix("    again: ")
    assert line == repetition(result, words, windows=True)
    # A POSIX shell would have `cat`, `sleep` and `curl` here.
    assert words_of(line) == [
        *("ibcm-bridge", "conformance", "run", "C:/O'Neil/subject.yaml", "--yes"),
        *("--only", "limits::stalled_head_without_tls"),
    ]
    assert syntax_errors(line) == []
    # Without a request, there is only the check to repeat.
    empty = describe(replace(result, exchanges=()), kit, words, windows=False)
    assert empty.endswith("    again: " + repetition(result, words, windows=False))


@pytest.mark.parametrize("tls", [True, False])
def test_bytes_go_out_again_as_they_did(tls: bool, kit: Kit) -> None:
    place = Place("fsp", ("192.0.2.1", 8080))
    exchange = Exchange(
        b"x", "fallback-status-point", place, Client.NONE, ConnectionEnded("end"), (), tls=tls
    )
    command = reproduction(failed(exchange), kit)
    assert ("openssl s_client" in command, "curl -sS telnet://" in command) == (tls, not tls)
    assert "; sleep 2) |" in command
    hang = reproduction(failed(replace(exchange, result=Hang(30.0))), kit)
    assert "; sleep 30) |" in hang
    slowly = Pieces((100, 1, 1, 1), 5.0)
    hang = reproduction(failed(replace(exchange, result=Hang(30.0), slowly=slowly)), kit)
    assert "head -c 100 " in hang
    assert "sleep 5; tail -c +$i" in hang
    assert "; sleep 15) |" in hang


def test_the_command_without_tls_works(tmp_path: Path) -> None:
    demand("curl")
    with serving(IPv4Address("127.0.0.1"), tmp_path / "kit", fixed_ports=False) as site:
        kit, _ = make_kit(tmp_path / "kit", None, now())
        to = "fallback-status-point"
        place = Place("fsp", tuple(site.addresses[to]))
        exchange = Exchange(REPORT, to, place, Client.NONE, ConnectionEnded("end"), (), tls=False)
        result = failed(exchange)
        write_requests(result, kit)
        command = reproduction(result, kit)
        done = subprocess.run(["sh", "-c", command], capture_output=True, timeout=30, check=False)
        assert done.stdout.startswith(b"HTTP/1.1 200 ")
        assert [request.method for request in site.received()] == ["POST"]


def test_serve_prints_the_site_systems_of_a_proxy() -> None:
    assert set(CHECKED) < set(STAND_INS)
    assert "impostor" not in CHECKED


MUST, SHOULD = (
    next(check for check in all_checks().values() if check.level is level) for level in Level
)
PASS, FAIL = Judgement(Outcome.PASS, ""), Judgement(Outcome.FAIL, "")
NOT_APPLICABLE = Judgement(Outcome.NOT_APPLICABLE, "")
PASSED = Result(MUST, PASS, (), 1.0)
FAILED, FAILED_SHOULD = Result(MUST, FAIL, (), 1.0), Result(SHOULD, FAIL, (), 1.0)
GAP, GAP_SHOULD = replace(FAILED, known_gap="later"), replace(FAILED_SHOULD, known_gap="later")
WRONG = ("known gap a::b: there is no such check",)
GAPS_FAILED = "not conformant: 2 MUST failed as known gaps"
NOT_ALL = "no MUST failed, but not all were checked"


@pytest.mark.parametrize(
    ("results", "gap_problems", "complete", "verdict", "ok"),
    [
        ((PASSED, FAILED_SHOULD, GAP_SHOULD), (), True, "conformant", True),
        ((PASSED,), (), False, NOT_ALL, True),
        ((PASSED, GAP_SHOULD), (), False, NOT_ALL, True),
        ((PASSED, replace(PASSED, judgement=NOT_APPLICABLE)), (), True, NOT_ALL, True),
        ((PASSED, FAILED), (), True, "not conformant: 1 MUST failed", False),
        ((PASSED, GAP), (), True, "not conformant: 1 MUST failed as a known gap", True),
        ((PASSED, GAP, GAP), (), False, GAPS_FAILED, True),
        ((PASSED,), WRONG, False, "not conformant: the known gaps are not correct", False),
        (
            (FAILED, GAP, GAP),
            WRONG,
            True,
            "not conformant: 1 MUST failed, 2 MUST failed as known gaps, "
            "the known gaps are not correct",
            False,
        ),
    ],
)
def test_a_known_gap_excuses_the_run_and_not_the_subject(
    kit: Kit,
    results: tuple[Result, ...],
    gap_problems: tuple[str, ...],
    complete: bool,
    verdict: str,
    ok: bool,
) -> None:
    date = datetime(2026, 1, 1, tzinfo=UTC)
    report = Report("proxy", "1", None, date, results, gap_problems, kit, (), complete)
    assert (report.verdict(), report.is_ok) == (verdict, ok)
    assert report.is_conformant == (verdict == "conformant")
