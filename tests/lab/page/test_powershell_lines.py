"""The PowerShell lines of the page: each is read back by PowerShell's rules; one of each kind runs.

PowerShell itself is not run here. The rules are those of about_Quoting_Rules: within single quotes
each character is itself, and two single quotes are one. Double quotes in an argument are not used:
Windows PowerShell 5.1 removes them (about_Parsing, "Passing arguments that contain quotes").
"""

from __future__ import annotations

import datetime
import subprocess
import sys
from pathlib import Path

import pytest

from ibcm_bridge.lab.cases.case import (
    Case,
    ClientCertificate,
    Disposition,
    credentials,
    senders,
)
from ibcm_bridge.lab.cases.requests import Senders
from ibcm_bridge.lab.cases.table import CASES
from ibcm_bridge.lab.comparison import powershell
from ibcm_bridge.lab.comparison.curl import CurlContext
from ibcm_bridge.lab.pki.authorities import LabPki
from ibcm_bridge.lab.protocol.client import Request
from tests.lab.page.running import Up
from tests.powershell_syntax import syntax_errors, words_of

FILES = Path("C:/O'Neil/lab")
PLACE = CurlContext(("127.0.0.1", 8443), FILES / "root.pem", FILES / "clients/computer")


@pytest.fixture(scope="module")
def senders_by_client() -> dict[ClientCertificate, Senders]:
    return senders(credentials(LabPki.make(now=datetime.datetime.now(datetime.UTC))))


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.id)
def test_a_line_has_the_request_of_its_case(
    senders_by_client: dict[ClientCertificate, Senders], case: Case
) -> None:
    request = case.request(senders_by_client[case.client])
    if powershell.why_not(request):
        assert request.plaintext or request.version != "HTTP/1.1"
        return
    fields, body = FILES / "x.fields", None if request.body is None else FILES / "x.body"
    line = powershell.line(request, case.to, PLACE, fields, body)
    assert '"' not in line
    assert syntax_errors(line) == []
    *program, url = words_of(line)
    assert program[:3] == ["ibcm-bridge", "lab", "request"]
    assert url == f"https://{case.to.name}:8443{request.target}"
    # argparse takes a method only before the URL.
    assert (program[-1] == request.method) == (request.method != "GET")
    for option, value in (("--root", PLACE.root), ("--header-file", fields), ("--body", body)):
        given = program[program.index(option) + 1] if option in program else None
        assert given == (None if value is None else str(value))


@pytest.mark.parametrize(
    ("request_", "why"),
    [
        (Request("GET", "/x", plaintext=True), "HTTPS only"),
        (Request("GET", "/x", version="HTTP/1.0"), "HTTP/1.1 only"),
        (Request("GET", '/"x"'), "double quotes"),
        (Request("GET", "*"), "a URL with a path"),
    ],
)
def test_a_request_that_the_command_would_change_has_no_line(request_: Request, why: str) -> None:
    assert why in powershell.why_not(request_)


def test_a_line_of_each_kind_has_the_same_result_as_the_button(
    up: Up, senders_by_client: dict[ClientCertificate, Senders]
) -> None:
    first: dict[tuple[object, ...], Case] = {}
    for case in CASES:
        request = case.request(senders_by_client[case.client])
        names = {name for name, _ in request.headers}
        if case.session_requests or case.before or powershell.why_not(request):
            continue
        kind = (
            bool(request.body),
            request.method if request.method in ("GET", "HEAD") else "",
            "Transfer-Encoding" in names,
            "$" in request.target,
            case.client is ClientCertificate.NONE,
            case.to.port,
            case.bridge.status is None,
        )
        first.setdefault(kind, case)
    assert 6 < len(first) < 20
    for case in first.values():
        run(up, case)


def run(up: Up, case: Case) -> None:
    lines = up.case(case.id)["preview"]["powershell"]
    status, printed, errors = pasted(lines["bridge"][-1])
    if case.bridge.status is None:
        assert (status, printed) == (1, ""), case.id
        assert errors.startswith("ibcm-bridge lab request: "), errors
        return
    assert printed.split(" ")[1] == str(case.bridge.status), (case.id, printed, errors)
    for line in lines["tunnel"]:
        if case.tunnel is Disposition.ACCEPTED:
            assert pasted(line)[1].split(" ")[1][:1] == "2", case.id


def pasted(line: str) -> tuple[int, str, str]:
    """Run the words of a line."""
    program, *words = words_of(line)
    assert program == "ibcm-bridge"
    command = [sys.executable, "-m", "ibcm_bridge", *words]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    return done.returncode, done.stdout, done.stderr


def test_a_case_without_a_line_has_a_reason(up: Up) -> None:
    found = {case.id: up.case(case.id)["preview"]["powershell"] for case in CASES}
    for name, lines in found.items():
        assert bool(lines["unsupported"]) != bool(lines["bridge"]), name
    assert "session id" in found["upload"]["unsupported"]
    assert "HTTPS only" in found["plaintext"]["unsupported"]


def test_the_summary_has_lines_that_work(up: Up) -> None:
    printed = [pasted(command["powershell"])[1] for command in up.summary["curl"]]
    assert [text.split(" ")[1] for text in printed] == ["200", "405", "200"]
