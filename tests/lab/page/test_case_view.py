"""The data of the lab's page, its access control, and its curl lines."""

from __future__ import annotations

import dataclasses
import datetime
import json
import shlex
from pathlib import Path
from typing import Any

import pytest

from ibcm_bridge.lab.cases.case import (
    BRIDGE,
    Case,
    ClientCertificate,
    Disposition,
    credentials,
    senders,
)
from ibcm_bridge.lab.cases.requests import Senders
from ibcm_bridge.lab.cases.requirements import REQUIREMENTS
from ibcm_bridge.lab.cases.table import CASES, FAMILIES
from ibcm_bridge.lab.comparison import curl
from ibcm_bridge.lab.comparison.outcomes import CaseResult, Observation, Outcome, outcome
from ibcm_bridge.lab.comparison.plain_proxy import RecordedPath
from ibcm_bridge.lab.page.case_view import MAX_VIEW, card, details, sent, summary
from ibcm_bridge.lab.page.guard import Guard
from ibcm_bridge.lab.page.tour import LIFE_CYCLE, TOUR, tour
from ibcm_bridge.lab.page.traffic import traffic_line
from ibcm_bridge.lab.pki.authorities import LabPki
from ibcm_bridge.lab.protocol.client import Request, Response

TUNNEL_RECORD = {
    "event": "tunnel",
    "verdict": "allow",
    "time": "2026-11-23T08:23:38.733+00:00",
    "server_name": "mp-tunnel.internet.example",
    "bytes_from_client": 10_539,
    "bytes_to_client": 4_230,
}
DENIED = {
    "event": "request",
    "verdict": "deny",
    "time": "2026-11-23T08:23:38.733+00:00",
    "server_name": "bridge.internet.example",
    "client_certificate": {"subject": "CN=pc1.corp.example,O=lab", "issuer": "CN=Lab CA,O=lab"},
    "method": "CCM_POST",
    "target": "/ccm_system/request",
    "reason": "malicious-content",
    "rule": "engines.yara-x",
    "requirement": "BRIDGE-INSPECT",
    "detail": "eicar_test_file in text",
    "status": 403,
}


UNREACHABLE = {
    "verdict": "deny",
    "reason": "site-system-unreachable",
    "detail": "connection refused by 127.0.0.1:1",
}


@pytest.fixture(scope="module")
def senders_by_client() -> dict[ClientCertificate, Senders]:
    return senders(credentials(LabPki.make(now=datetime.datetime.now(datetime.UTC))))


def case(name: str) -> Case:
    return next(known for known in CASES if known.id == name)


def result_of(
    sent: Case, client_result: Response, record: dict[str, Any], *, bridged: bool
) -> Outcome:
    return outcome(sent, Observation(client_result, None, (), 0, record, bridged))


@pytest.fixture
def denied(senders_by_client: dict[ClientCertificate, Senders]) -> CaseResult:
    """Malware, refused by the bridge, and accepted through the tunnel."""
    malware = case("malware-in-zlib")
    request = malware.request(senders_by_client[malware.client])
    body = b"Malicious content was found.\r\n"
    refusal = Response(403, "Forbidden", (("Content-Type", "text/plain; charset=utf-8"),), body)
    record = DENIED | {"bytes_from_client": len(request.body or b"")}
    bridge = result_of(malware, refusal, record, bridged=True)
    passed = result_of(malware, Response(200, "OK", (), b"x"), TUNNEL_RECORD, bridged=False)
    tunnel = dataclasses.replace(passed, disposition=Disposition.ACCEPTED)
    return CaseResult(malware, request, bridge, tunnel, ())


def test_a_refusal_is_shown_with_its_explanation(denied: CaseResult) -> None:
    shown = details("Message content", denied)
    bridge = shown["paths"]["bridge"]
    assert (bridge["verdict"]["word"], bridge["rule"]) == ("REFUSED", "engines.yara-x")
    assert bridge["requirement"] == {
        "id": "BRIDGE-INSPECT",
        "text": REQUIREMENTS["BRIDGE-INSPECT"],
    }
    assert bridge["response_text"] == "Malicious content was found."
    assert bridge["client_log"] == "CcmMessaging.log: HTTP status 403 for the request"
    assert bridge["client_next"] == (
        "the message stays in the client's queue, and is sent again until it expires (inferred)"
    )
    assert ["Certificate", "pc1.corp.example"] in bridge["proxy_saw"]
    assert bridge["body_inspected"]
    assert bridge["received"] is None
    assert shown["sent"]["line"] == "CCM_POST /ccm_system/request HTTP/1.1"
    assert shown["sent"]["view"].startswith("CCM_POST for MP_HinvEndpoint")
    json.dumps(shown)


def test_a_tunnel_shows_only_a_name_and_byte_counts(denied: CaseResult) -> None:
    tunnel = details("Message content", denied)["paths"]["tunnel"]
    assert [name for name, _ in tunnel["proxy_saw"]] == ["Server name", "Bytes"]
    assert not tunnel["body_inspected"]
    assert (tunnel["verdict"]["grade"], tunnel["verdict"]["word"]) == ("wrong", "NOT STOPPED")
    assert tunnel["client_log"] == "Nothing unusual: the request succeeded."


def test_a_body_that_was_not_inspected_is_not_shown_as_inspected(denied: CaseResult) -> None:
    head_only = dataclasses.replace(
        denied, bridge=dataclasses.replace(denied.bridge, audit=DENIED | {"bytes_from_client": 0})
    )
    assert not details("", head_only)["paths"]["bridge"]["body_inspected"]


def test_an_announcement_has_both_results(denied: CaseResult) -> None:
    shown = summary(denied, ["Management point down"])
    assert shown["announcement"] == (
        "malware (EICAR) in the zlib part: bridge REFUSED, 403 Forbidden; "
        "tunnel NOT STOPPED, 200 OK."
    )
    assert shown["faults"] == ["Management point down"]
    assert shown["bridge"] == {
        "grade": "right",
        "mark": "✓",
        "word": "REFUSED",
        "detail": "at the perimeter",
        "client_received": "403 Forbidden",
        "reference": "",
    }


def test_a_case_without_tunnel_has_a_reason() -> None:
    assert card("", case("state-message"))["no_tunnel"]
    assert not card("", case("registration"))["no_tunnel"]


@pytest.mark.parametrize("family", FAMILIES)
def test_each_requirement_of_a_case_has_a_text(family: str) -> None:
    for member in FAMILIES[family]:
        shown = card(family, member)
        assert all(
            requirement["text"]
            for requirement in (shown["requirement"], *shown["other_requirements"])
        )


def test_a_body_is_cut_off_at_a_limit_and_a_binary_one_is_not_shown() -> None:
    long = sent(Request("POST", "/", (), b"a" * 10 * MAX_VIEW))
    assert len(long["view"]) < MAX_VIEW + 100
    assert long["bytes"] == 10 * MAX_VIEW
    assert sent(Request("POST", "/", (), b"\xff\x00"))["view"] == ""
    assert sent(Request("POST", "/", (), b"a\x1b[2J"))["view"] == ""


@pytest.mark.parametrize(
    ("record", "path"),
    [
        (TUNNEL_RECORD, "tunnel"),
        (DENIED, "bridge"),
        ({"event": "connection-refused", "server_name": "ndes.internet.example"}, "tunnel"),
        ({"event": "connection-refused", "server_name": "sup-tunnel.internet.example"}, "tunnel"),
        ({"event": "connection-refused", "server_name": "s"}, "bridge"),
        ({"event": "connection-refused", "reason": "plaintext", "detail": "x"}, "bridge"),
    ],
)
def test_a_record_belongs_to_one_column(record: dict[str, Any], path: str) -> None:
    assert traffic_line(record)["path"] == path


@pytest.mark.parametrize(
    ("record", "word"),
    [
        (TUNNEL_RECORD, "TUNNELED"),
        (DENIED, "REFUSED"),
        (DENIED | {"verdict": "allow"}, "PASSED"),
        (DENIED | {"forwarded": True}, "RESPONSE REFUSED"),
        (TUNNEL_RECORD | UNREACHABLE, "NOT DELIVERED"),
        (DENIED | UNREACHABLE, "NOT DELIVERED"),
    ],
)
def test_a_live_line_has_the_word_of_its_record(record: dict[str, Any], word: str) -> None:
    assert traffic_line(record)["word"] == word


def test_the_tour_has_seven_steps_about_known_cases() -> None:
    assert len(tour()) == len(TOUR) == 7
    for step in TOUR:
        assert step.show in {LIFE_CYCLE, *(known.id for known in CASES)}
        assert step.notes
    json.dumps(tour())


def test_the_tour_takes_ten_minutes() -> None:
    assert sum(step.seconds for step in TOUR) == 600
    for step in TOUR:
        words = " ".join((step.point, *step.notes)).split()
        # Read aloud at two words a second, and half of the time left to look and to ask.
        assert len(words) <= step.seconds, step.show


# Access control

GUARD = Guard("token", frozenset(("127.0.0.1:1",)))


def test_a_request_with_the_token_is_allowed() -> None:
    assert GUARD.refusal("127.0.0.1:1", None, "token") == ""
    assert GUARD.refusal("127.0.0.1:1", "http://127.0.0.1:1", "token") == ""


@pytest.mark.parametrize(
    ("host", "origin", "token", "why"),
    [
        ("rebound.example:1", None, "token", "not the address of this page"),
        ("127.0.0.1", None, "token", "not the address of this page"),
        ("", None, "token", "not the address of this page"),
        ("127.0.0.1:1", "http://rebound.example:1", "token", "other origins"),
        ("127.0.0.1:1", "null", "token", "other origins"),
        ("127.0.0.1:1", "https://127.0.0.1:1", "token", "other origins"),
        ("127.0.0.1:1", None, "toke", "token is missing"),
        ("127.0.0.1:1", None, "", "token is missing"),
        ("127.0.0.1:1", None, "t\u00f6ken", "token is missing"),
    ],
)
def test_other_requests_are_refused(host: str, origin: str | None, token: str, why: str) -> None:
    assert why in GUARD.refusal(host, origin, token)


def test_each_lab_has_a_new_token() -> None:
    assert Guard.of(1).token != Guard.of(1).token
    assert len(Guard.of(1).token) >= 32


# curl

PLACE = curl.CurlContext(("127.0.0.1", 8443), Path("/lab/root.pem"), Path("/lab/clients/computer"))


def words(request: Request, body: Path | None = None) -> list[str]:
    return shlex.split(curl.line(request, BRIDGE, PLACE, body))


def test_curl_sends_the_method_the_fields_and_the_body() -> None:
    request = Request("CCM_POST", "/x?y", (("Content-Type", "a; b='c'"),), b"body")
    line = words(request, Path("/lab/x.body"))
    assert line[line.index("--request") + 1] == "CCM_POST"
    assert line[line.index("--data-binary") + 1] == "@/lab/x.body"
    assert "Content-Type: a; b='c'" in line
    assert line[-1] == "https://bridge.internet.example:8443/x?y"
    assert "bridge.internet.example:8443:127.0.0.1" in line
    # Removes the defaults of curl.
    assert {"User-Agent:", "Accept:", "Expect:"} <= set(line)


def test_curl_presents_a_certificate_only_if_the_client_has_one() -> None:
    anonymous = dataclasses.replace(PLACE, credential=None)
    assert "--cert" not in curl.line(Request("GET", "/"), BRIDGE, anonymous, None)
    assert "--cert" in words(Request("GET", "/"))
    assert "--cacert" not in words(Request("GET", "/", plaintext=True))


def test_curl_cannot_send_a_request_that_it_would_change() -> None:
    chunked = Request("POST", "/", (("Transfer-Encoding", "chunked"),), b"0\r\n\r\n")
    assert "chunks" in curl.why_not(chunked)
    assert curl.why_not(Request("POST", "/", (), b"x")) == ""


def test_the_result_of_a_plain_proxy_is_shown_as_recorded(denied: CaseResult) -> None:
    assert summary(denied)["plain_proxy"] is None
    plain = RecordedPath("nginx is not installed").result(denied.case)
    shown = summary(dataclasses.replace(denied, plain=plain))["plain_proxy"]
    assert (shown["recorded"], shown["why_recorded"]) == (True, "nginx is not installed")
    assert (shown["grade"], shown["word"]) == ("wrong", "NOT STOPPED")
