"""The table of the demo: on a narrow and a wide terminal, with color and without."""

from __future__ import annotations

import io
import re
from dataclasses import replace

import pytest

from ibcm_bridge.lab.cases.case import Disposition
from ibcm_bridge.lab.cases.table import CASES
from ibcm_bridge.lab.comparison.outcomes import CaseResult, Observation, PlainResult, outcome
from ibcm_bridge.lab.demo.table import Table
from ibcm_bridge.lab.demo.terminal import Progress, Terminal
from ibcm_bridge.lab.protocol.client import Request, Response

SPOOFED = next(case for case in CASES if case.id == "spoofed-payload")
DENIED = {"verdict": "deny", "reason": "x", "rule": "y", "detail": "z" * 200}
TUNNELED = {
    "event": "tunnel",
    "verdict": "allow",
    "server_name": "mp-tunnel.internet.example",
    "bytes_from_client": 1,
    "bytes_to_client": 2,
    "note": "TUNNEL-BLIND",
}


class OnTerminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.fixture(scope="module")
def result() -> CaseResult:
    request = Request("CCM_POST", "/ccm_system/request")
    refused = Observation(Response(403, "Forbidden", (), b""), None, (), 0, DENIED, bridged=True)
    passed = Observation(Response(200, "OK", (), b"x"), None, (), 1, TUNNELED, bridged=False)
    both = outcome(SPOOFED, refused), outcome(SPOOFED, passed)
    plain = PlainResult("nginx 1.22.1", Disposition.ACCEPTED, "200 OK", dropped_arrived=False)
    return CaseResult(SPOOFED, request, *both, (), plain)


@pytest.mark.parametrize("width", [40, 60, 80, 99, 100, 120, 160])
def test_no_line_is_longer_than_the_terminal(result: CaseResult, width: int) -> None:
    table = Table(Terminal(width))
    lines = [*table.heading(), *table.family("Client identity"), *table.row(result)]
    lines += table.score([result] * 97, 12.3)
    assert max(map(len, lines)) <= width


@pytest.mark.parametrize(("width", "stacked"), [(99, True), (100, False)])
def test_a_narrow_terminal_has_both_paths_below_each_other(
    result: CaseResult, width: int, stacked: bool
) -> None:
    lines = Table(Terminal(width)).row(result)
    assert any(" | " in line for line in lines) is not stacked
    assert any(re.match(r" +bridge +✓ REFUSED", line) for line in lines) is stacked


def test_the_color_is_that_of_the_grade(result: CaseResult) -> None:
    plain = Table(Terminal(80)).row(result)
    colored = Table(Terminal(80, colored=True)).row(result)
    assert "\x1b[32m✓ REFUSED: 403 Forbidden\x1b[0m" in "\n".join(colored)
    assert [re.sub(r"\x1b\[\d*m", "", line) for line in colored] == plain


@pytest.mark.parametrize(
    ("out", "environment", "colored"),
    [
        (OnTerminal(), {"WT_SESSION": "x"}, True),
        (OnTerminal(), {"WT_SESSION": "x", "NO_COLOR": ""}, True),
        (OnTerminal(), {"WT_SESSION": "x", "NO_COLOR": "1"}, False),
        (OnTerminal(), {"WT_SESSION": "x", "TERM": "dumb"}, False),
        (io.StringIO(), {"WT_SESSION": "x"}, False),
    ],
)
def test_only_a_terminal_has_colors(
    out: io.StringIO, environment: dict[str, str], colored: bool
) -> None:
    assert Terminal.found(out, environment).colored is colored


def test_the_width_is_that_of_the_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "123")
    assert Terminal.found(io.StringIO(), {}).width == 123


def test_the_progress_is_shown_on_a_terminal_only() -> None:
    shown, hidden = OnTerminal(), io.StringIO()
    for err in (shown, hidden):
        progress = Progress(97, 40, err)
        progress.begin("zip bomb: 200 MB in 200 KB, and a title that is long")
        progress.clear()
    assert hidden.getvalue() == ""
    line = shown.getvalue().split("\x1b[K")[1]
    assert line.startswith("1/97 zip bomb")
    assert len(line.rstrip("\r")) < 40


def test_the_score_counts_what_the_tunnel_does_not_stop(result: CaseResult) -> None:
    assert Table(Terminal(80)).score([result, result], 1.0) == [
        "A plain reverse proxy with this policy (nginx 1.22.1): 2 ✗ NOT STOPPED.",
        "2 of 2 cases as required, 1 s. Tunnel: 2 ✗ NOT STOPPED.",
    ]
    without = replace(result, plain=None)
    assert Table(Terminal(80)).score([without], 1.0) == [
        "1 of 1 cases as required, 1 s. Tunnel: 1 ✗ NOT STOPPED."
    ]


@pytest.mark.parametrize(("recorded", "mark"), [(False, ""), (True, " (recorded)")])
def test_a_recorded_result_is_marked(result: CaseResult, recorded: bool, mark: str) -> None:
    assert result.plain is not None
    shown = replace(result, plain=replace(result.plain, recorded=recorded))
    lines = Table(Terminal(80)).row(shown)
    assert f"    nginx     ✗ NOT STOPPED{mark}: 200 OK" in lines
