"""What the lab's page shows, as data; whom it answers; and how curl sends the same."""

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
from ibcm_bridge.lab.page.case_view import MAX_VIEW, card, details, sent, summary
from ibcm_bridge.lab.page.guard import Guard
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


@pytest.fixture(scope="module")
def senders_by_client() -> dict[ClientCertificate, Senders]:
    return senders(credentials(LabPki.make(now=datetime.datetime.now(datetime.UTC))))


def case(name: str) -> Case:
    return next(known for known in CASES if known.id == name)


def went(one: Case, client_result: Response, record: dict[str, Any], *, bridged: bool) -> Outcome:
    return outcome(one, Observation(client_result, None, (), 0, record, bridged))


@pytest.fixture
def denied(senders_by_client: dict[ClientCertificate, Senders]) -> CaseResult:
    """Malware, refused by the bridge, and through the tunnel."""
    one = case("malware-in-zlib")
    request = one.request(senders_by_client[one.client])
    body = b"Malicious content was found.\r\n"
    refusal = Response(403, "Forbidden", (("Content-Type", "text/plain; charset=utf-8"),), body)
    record = DENIED | {"bytes_from_client": len(request.body or b"")}
    bridge = went(one, refusal, record, bridged=True)
    passed = went(one, Response(200, "OK", (), b"x"), TUNNEL_RECORD, bridged=False)
    tunnel = dataclasses.replace(passed, disposition=Disposition.ANSWERED)
    return CaseResult(one, request, bridge, tunnel, ())


def test_a_refusal_is_shown_with_all_that_explains_it(denied: CaseResult) -> None:
    shown = details("What it sends", denied)
    bridge = shown["ways"]["bridge"]
    assert (bridge["standing"], bridge["rule"]) == ("right", "engines.yara-x")
    assert bridge["cites"] == {
        "id": "BRIDGE-INSPECT",
        "sentence": REQUIREMENTS["BRIDGE-INSPECT"],
    }
    assert bridge["said"] == "Malicious content was found."
    assert bridge["log"] == "CcmMessaging.log: HTTP status 403 for the request"
    assert "BITS ends an upload with an error (confirmed)" in bridge["next"]
    assert ["Certificate", "pc1.corp.example"] in bridge["saw"]
    assert bridge["decoded"]
    assert bridge["received"] is None
    assert shown["sent"]["line"] == "CCM_POST /ccm_system/request HTTP/1.1"
    assert shown["sent"]["view"].startswith("CCM_POST for MP_HinvEndpoint")
    json.dumps(shown)


def test_of_a_tunnel_a_name_and_bytes_are_shown(denied: CaseResult) -> None:
    tunnel = details("What it sends", denied)["ways"]["tunnel"]
    assert [name for name, _ in tunnel["saw"]] == ["Server name", "Bytes"]
    assert not tunnel["decoded"]
    assert tunnel["standing"] == "wrong"
    assert tunnel["log"] == "Nothing unusual: it was answered."


def test_a_body_that_was_not_read_is_not_shown_as_read(denied: CaseResult) -> None:
    head_only = dataclasses.replace(
        denied, bridge=dataclasses.replace(denied.bridge, audit=DENIED | {"bytes_from_client": 0})
    )
    assert not details("", head_only)["ways"]["bridge"]["decoded"]


def test_a_summary_says_both_ways_in_one_sentence(denied: CaseResult) -> None:
    said = summary(denied, ["Management point down"])
    assert said["announce"] == (
        "malware (EICAR) in the zlib part: bridge refused, 403 Forbidden; tunnel passed, 200 OK."
    )
    assert said["faults"] == ["Management point down"]
    assert said["bridge"] == {"standing": "right", "text": "refused: 403 Forbidden"}


def test_with_a_fault_it_is_right_to_refuse_and_not_to_pass(denied: CaseResult) -> None:
    """The same outcome of a case that wants to be answered."""
    wanted = dataclasses.replace(denied, case=case("registration"), problems=("not answered",))
    assert summary(wanted)["bridge"]["standing"] == "wrong"
    faulty = summary(wanted, ["Malware engine gone"])
    assert (faulty["bridge"]["standing"], faulty["tunnel"]["standing"]) == ("right", "wrong")
    passed = dataclasses.replace(
        wanted, bridge=dataclasses.replace(denied.bridge, disposition=Disposition.ANSWERED)
    )
    assert summary(passed, ["Malware engine gone"])["bridge"]["standing"] == "wrong"


def test_what_cannot_be_tunneled_says_why() -> None:
    assert card("", case("state-message"))["no_tunnel"]
    assert not card("", case("registration"))["no_tunnel"]


@pytest.mark.parametrize("family", FAMILIES)
def test_every_case_cites_a_requirement_with_its_sentence(family: str) -> None:
    for member in FAMILIES[family]:
        shown = card(family, member)
        assert all(it["sentence"] for it in (shown["requirement"], *shown["also"]))


def test_a_body_is_shown_up_to_a_bound_and_binary_not_at_all() -> None:
    long = sent(Request("POST", "/", (), b"a" * 10 * MAX_VIEW))
    assert len(long["view"]) < MAX_VIEW + 100
    assert long["bytes"] == 10 * MAX_VIEW
    assert sent(Request("POST", "/", (), b"\xff\x00"))["view"] == ""
    assert sent(Request("POST", "/", (), b"a\x1b[2J"))["view"] == ""


@pytest.mark.parametrize(
    ("record", "way"),
    [
        (TUNNEL_RECORD, "tunnel"),
        (DENIED, "bridge"),
        ({"event": "connection-refused", "server_name": "ndes.internet.example"}, "tunnel"),
        ({"event": "connection-refused", "reason": "plaintext", "detail": "x"}, "bridge"),
    ],
)
def test_a_record_goes_into_its_column(record: dict[str, Any], way: str) -> None:
    assert traffic_line(record)["way"] == way


# Whom the page answers

GUARD = Guard("token", frozenset(("127.0.0.1:1",)))


def test_whoever_knows_the_token_is_answered() -> None:
    assert GUARD.refusal("127.0.0.1:1", None, "token") == ""
    assert GUARD.refusal("127.0.0.1:1", "http://127.0.0.1:1", "token") == ""


@pytest.mark.parametrize(
    ("host", "origin", "token", "why"),
    [
        ("rebound.example:1", None, "token", "no such name"),
        ("127.0.0.1", None, "token", "no such name"),
        ("", None, "token", "no such name"),
        ("127.0.0.1:1", "http://rebound.example:1", "token", "answers no other"),
        ("127.0.0.1:1", "null", "token", "answers no other"),
        ("127.0.0.1:1", "https://127.0.0.1:1", "token", "answers no other"),
        ("127.0.0.1:1", None, "toke", "token is missing"),
        ("127.0.0.1:1", None, "", "token is missing"),
        ("127.0.0.1:1", None, "t\u00f6ken", "token is missing"),
    ],
)
def test_nobody_else_is(host: str, origin: str | None, token: str, why: str) -> None:
    assert why in GUARD.refusal(host, origin, token)


def test_each_lab_has_a_token_of_its_own() -> None:
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
    # What curl would add by itself is taken out.
    assert {"User-Agent:", "Accept:", "Expect:"} <= set(line)


def test_curl_shows_no_certificate_where_the_client_has_none() -> None:
    nobody = dataclasses.replace(PLACE, credential=None)
    assert "--cert" not in curl.line(Request("GET", "/"), BRIDGE, nobody, None)
    assert "--cert" in words(Request("GET", "/"))
    assert "--cacert" not in words(Request("GET", "/", plaintext=True))


def test_what_curl_would_change_it_cannot_send() -> None:
    chunked = Request("POST", "/", (("Transfer-Encoding", "chunked"),), b"0\r\n\r\n")
    assert "chunks" in curl.why_not(chunked)
    assert curl.why_not(Request("POST", "/", (), b"x")) == ""
