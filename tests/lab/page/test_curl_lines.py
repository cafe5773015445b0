"""The curl lines of the page: each is read back; one of each kind is run by curl."""

from __future__ import annotations

import argparse
import datetime
import re
import shlex
import subprocess
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
from ibcm_bridge.lab.comparison import curl
from ibcm_bridge.lab.pki.authorities import LabPki
from ibcm_bridge.lab.protocol.client import Request
from tests import needs
from tests.lab.page.running import Up

PLACE = curl.CurlContext(("127.0.0.1", 8443), Path("/lab/root.pem"), Path("/lab/clients/computer"))
BODY = Path("/lab/x.body")

OPTIONS = argparse.ArgumentParser()
OPTIONS.add_argument("-sSi", action="store_true", required=True)
for switch in ("path-as-is", "globoff", "http1.0", "http1.1", "no-alpn", "head"):
    OPTIONS.add_argument(f"--{switch}", action="store_true")
for option in ("resolve", "cacert", "cert", "key", "request", "data-binary", "request-target"):
    OPTIONS.add_argument(f"--{option}")
OPTIONS.add_argument("--header", action="append", default=[])
OPTIONS.add_argument("url")


@pytest.fixture(scope="module")
def senders_by_client() -> dict[ClientCertificate, Senders]:
    return senders(credentials(LabPki.make(now=datetime.datetime.now(datetime.UTC))))


def sent_by_curl(case: Case, request: Request) -> argparse.Namespace:
    line = curl.line(request, case.to, PLACE, None if request.body is None else BODY)
    program, *words = shlex.split(line)
    assert program == "curl"
    return OPTIONS.parse_args(words)


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.id)
def test_a_curl_line_has_the_request_of_its_case(
    senders_by_client: dict[ClientCertificate, Senders], case: Case
) -> None:
    request = case.request(senders_by_client[case.client])
    if curl.why_not(request):
        assert case.id == "two-lengths"
        return
    options = sent_by_curl(case, request)
    assert ("HEAD" if options.head else options.request) == request.method
    scheme = "http" if request.plaintext else "https"
    assert options.url == f"{scheme}://{case.to.name}:8443{request.target}"
    assert options.path_as_is
    assert options.globoff
    assert vars(options)["http1.0"] == (request.version == "HTTP/1.0")
    assert (options.cert is None) == request.plaintext
    # "Name:" without a value removes a default of curl.
    fields = [field for field in options.header if not field.endswith(":")]
    assert fields == [
        f"{name}: {value}" for name, value in request.headers if name.lower() != "content-length"
    ]
    empty = "" if ("Content-Length", "0") in request.headers else None
    assert options.data_binary == (empty if request.body is None else f"@{BODY}")


def kind(case: Case, request: Request) -> tuple[object, ...]:
    """The options of curl and the properties of the case that change its behavior."""
    options = sent_by_curl(case, request)
    unusual = frozenset(re.findall(r"[^\w/.?&=-]", request.target))
    given = frozenset(name for name, value in vars(options).items() if value)
    anonymous = case.client is ClientCertificate.NONE
    ends = (case.bridge.status is None, case.tunnel is None)
    return given, unusual, anonymous, case.to.port, bool(case.before), ends


def test_a_curl_line_of_each_kind_has_the_same_result_as_the_button(
    up: Up, senders_by_client: dict[ClientCertificate, Senders]
) -> None:
    first: dict[tuple[object, ...], Case] = {}
    for case in CASES:
        request = case.request(senders_by_client[case.client])
        if not case.session_requests and not curl.why_not(request):
            first.setdefault(kind(case, request), case)
    assert 15 < len(first) < 30
    for case in first.values():
        run(up, case)


def run(up: Up, case: Case) -> None:
    lines = up.case(case.id)["preview"]["curl"]
    *before, bridge = lines["bridge"]
    for line in before:
        assert pasted(line)[1].startswith(b"HTTP/1.1 200 "), case.id
    status, response = pasted(bridge)
    if case.bridge.status is None:
        assert (status, response) == (status or None, b""), case.id  # its error is on stderr
        return
    assert response.split(b" ")[1] == str(case.bridge.status).encode(), (case.id, response[:300])
    for line in lines["tunnel"]:
        status, response = pasted(line)
        if case.tunnel is Disposition.ACCEPTED:
            assert response.split(b" ")[1][:1] == b"2", (case.id, response[:300])


def test_a_case_without_a_curl_line_has_a_reason(up: Up) -> None:
    assert "chunks" in up.case("two-lengths")["preview"]["curl"]["unsupported"]
    assert "session id" in up.case("upload")["preview"]["curl"]["unsupported"]


def test_the_printed_curl_lines_work(up: Up) -> None:
    got = [pasted(command["line"])[1].split(b" ")[1] for command in up.summary["curl"]]
    assert got == [b"200", b"405", b"200"]


def pasted(line: str) -> tuple[int, bytes]:
    """Run a line in a shell; return the exit status and the output."""
    needs.demand("curl")
    assert shlex.split(line)[0] == "curl"
    done = subprocess.run(["sh", "-c", line], capture_output=True, timeout=30, check=False)
    return done.returncode, done.stdout
