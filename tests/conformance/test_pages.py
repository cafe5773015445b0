"""The pages of a report."""

from __future__ import annotations

import re
from html.parser import HTMLParser
from typing import Any

import pytest

from ibcm_bridge.conformance.collection import Level
from ibcm_bridge.conformance.judgement import Outcome, Stop
from ibcm_bridge.conformance.pages import LEVELS, OUTCOMES, STOPS, page_name, pages

EXCHANGE: dict[str, Any] = {
    "to": "management-point",
    "name": "bridge.internet.example",
    "address": "127.0.0.1:8443",
    "client": "computer",
    "client_tls": "TLS 1.3",
    "sent": "GET /<script> HTTP/1.1\\r\\nHost: x\\r\\n\\r\\n",
    "client_received": "403 Forbidden",
    "response_fields": [["Content-Type", "text/plain"]],
    "response_body": "refused & <b>",
    "arrived": [],
}
ARRIVED = {
    "time": "2026-01-01T00:00:00+00:00",
    "site_system": "management-point",
    "request": "GET /x",
    "fields": [["Host", "mp01.corp.example"]],
    "body": "",
    "body_sha256": "0" * 64,
    "certificate": "CN=bridge.perimeter.example",
    "certificate_sha256": "1" * 64,
    "connection": 12345,
    "tls": "TLS 1.3",
    "status": 200,
}


def result(name: str, **changed: Any) -> dict[str, Any]:
    return {
        "id": f"verbs::{name}",
        "level": "MUST",
        "requirement": "VERB-MP",
        "source": "RFC 9110",
        "text": "DELETE MUST NOT be forwarded.",
        "outcome": "pass",
        "expected": "refused",
        "difference": "",
        "stopped": "at the perimeter",
        "known_gap": None,
        "seconds": 0.1,
        "repetition": "",
        "reproduction": "",
        "exchanges": [EXCHANGE],
        **changed,
    }


REPORT: dict[str, Any] = {
    "form": 1,
    "suite": "0.1.0",
    "date": "2026-01-01T00:00:00+00:00",
    "product": "A & B",
    "product_version": "2",
    "configuration_sha256": "a" * 64,
    "conformant": False,
    "verdict": "not conformant: 1 MUST failed",
    "counts": {"pass": 1, "fail": 1},
    "gap_problems": ["verbs::x is a known gap, and passed"],
    "results": [
        result("delete"),
        result(
            "put",
            outcome="fail",
            difference="not refused: GET /x arrived",
            stopped="not at all",
            known_gap="a ticket is open",
            repetition="ibcm-bridge conformance run 'my subject.yaml' --only verbs::put",
            reproduction="curl 'https://x'",
            exchanges=[{**EXCHANGE, "arrived": [ARRIVED]}],
        ),
    ],
}


class Tags(HTMLParser):
    """The names of all elements."""

    def __init__(self) -> None:
        super().__init__()
        self.names: set[str] = set()

    def handle_starttag(self, tag: str, attrs: object) -> None:
        self.names.add(tag)


def test_there_is_a_page_for_each_check() -> None:
    made = dict(pages(REPORT))
    assert [*made] == ["index.html", "verbs-delete.html", "verbs-put.html"]
    links = re.findall(r"href='([^']+)'", made["index.html"])
    assert sorted(links) == sorted(page_name(each["id"]) for each in REPORT["results"])


def test_the_index_says_what_failed() -> None:
    index = dict(pages(REPORT))["index.html"]
    assert "A &amp; B 2: not conformant: 1 MUST failed" in index
    # A reader looks for the failures first.
    assert index.index("verbs-put.html") < index.index("verbs-delete.html")
    assert "stopped not at all; not refused" in index
    assert "1 pass, 1 fail" in index
    assert "fail, known gap" in index
    assert "not refused: GET /x arrived; known gap: a ticket is open" in index
    assert "verbs::x is a known gap, and passed" in index
    assert all(text in index for text in (*OUTCOMES.values(), *STOPS.values(), *LEVELS.values()))


def test_the_page_of_a_check_has_both_ends() -> None:
    page = dict(pages(REPORT))["verbs-put.html"]
    assert "It arrived at the management-point" in page
    assert "CN=bridge.perimeter.example" in page
    assert "port 12345, TLS 1.3" in page
    assert "Host: mp01.corp.example" in page
    assert "curl &#x27;https://x&#x27;" in page
    assert "run &#x27;my subject.yaml&#x27; --only verbs::put" in page
    assert "Nothing arrived" in dict(pages(REPORT))["verbs-delete.html"]


@pytest.mark.parametrize("name", ["index.html", "verbs-delete.html", "verbs-put.html"])
def test_a_value_is_never_markup(name: str) -> None:
    tags = Tags()
    tags.feed(dict(pages(REPORT))[name])
    assert not tags.names & {"script", "b", "iframe", "img", "link"}


def test_every_outcome_and_stop_has_a_definition() -> None:
    assert OUTCOMES.keys() == {outcome.value for outcome in Outcome}
    assert STOPS.keys() == {stop.value for stop in Stop}
    assert LEVELS.keys() == {level.value for level in Level}
