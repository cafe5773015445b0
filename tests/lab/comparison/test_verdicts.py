"""The words and marks for each outcome of a case."""

from __future__ import annotations

from typing import Any

import pytest

from ibcm_bridge.lab.cases.case import Case, Disposition
from ibcm_bridge.lab.cases.table import CASES
from ibcm_bridge.lab.comparison.outcomes import (
    CaseResult,
    ClientResult,
    Observation,
    PlainResult,
    outcome,
)
from ibcm_bridge.lab.comparison.verdicts import Grade, judge, judge_plain, score
from ibcm_bridge.lab.protocol.client import HandshakeRefused, Request, Response

CASE = {case.id: case for case in CASES}
ENGINE_DOWN = ("Malware engine down",)
DOWN = {
    "event": "tunnel",
    "verdict": "deny",
    "server_name": "mp-tunnel.internet.example",
    "reason": "site-system-unreachable",
    "detail": "connection refused by 127.0.0.1:1",
}


def result(
    case: Case,
    bridge: Disposition,
    tunnel: Disposition | None,
    problems: tuple[str, ...] = (),
) -> CaseResult:
    def path(disposition: Disposition, *, bridged: bool) -> Any:
        seen = Observation(Response(200, "OK", (), b""), None, (), 0, {}, bridged)
        found = outcome(case, seen)
        return type(found)(**{**vars(found), "disposition": disposition})

    return CaseResult(
        case,
        Request("GET", "/"),
        path(bridge, bridged=True),
        path(tunnel, bridged=False) if tunnel else None,
        problems,
    )


OK, PROXY = Disposition.ACCEPTED, Disposition.REFUSED_BY_PROXY
SITE, CLIENT = Disposition.REFUSED_BY_SITE_SYSTEM, Disposition.REFUSED_BY_CLIENT


@pytest.mark.parametrize(
    ("case", "found", "label"),
    [
        ("inventory-report", OK, "✓ PASSED"),
        ("malware-in-zlib", OK, "✗ NOT STOPPED"),
        ("revoked-certificate", SITE, "~ STOPPED INSIDE"),
        ("wrong-site-system", CLIENT, "~ STOPPED BY CLIENT"),
        ("unknown-name", PROXY, "✓ REFUSED"),
        ("forbidden-header", OK, "✗ NOT STOPPED"),
        ("enrolled-device", OK, "✓ PASSED"),
        ("catalog-challenge", SITE, "✓ PASSED"),
        ("inventory-report", SITE, "✗ NOT AS REQUIRED"),
        ("inventory-report", Disposition.NOT_DELIVERED, "! NOT DELIVERED"),
    ],
)
def test_the_tunnel_has_a_mark_and_a_word(case: str, found: Disposition, label: str) -> None:
    judged = result(CASE[case], CASE[case].bridge.disposition, found)
    assert judged.tunnel
    assert judge(judged, judged.tunnel).label == label


@pytest.mark.parametrize(
    ("case", "found", "problems", "faults", "label"),
    [
        ("inventory-report", OK, (), (), "✓ PASSED"),
        ("malware-in-zlib", PROXY, (), (), "✓ REFUSED"),
        ("leaked-policy", Disposition.RESPONSE_REFUSED, (), (), "✓ RESPONSE REFUSED"),
        ("malware-in-zlib", OK, ("x",), (), "✗ NOT STOPPED"),
        ("malware-in-zlib", OK, ("x",), ENGINE_DOWN, "✗ NOT STOPPED"),
        ("malware-in-zlib", PROXY, ("another rule",), (), "✗ NOT AS REQUIRED"),
        ("malware-in-zlib", PROXY, ("another rule",), ENGINE_DOWN, "✓ REFUSED"),
        ("inventory-report", PROXY, ("x",), (), "✗ NOT AS REQUIRED"),
        ("inventory-report", PROXY, ("x",), ENGINE_DOWN, "! REFUSED"),
        ("inventory-report", Disposition.NOT_DELIVERED, ("x",), (), "! NOT DELIVERED"),
    ],
)
def test_the_bridge_has_a_mark_and_a_word(
    case: str,
    found: Disposition,
    problems: tuple[str, ...],
    faults: tuple[str, ...],
    label: str,
) -> None:
    judged = result(CASE[case], found, None, problems)
    assert judge(judged, judged.bridge, faults).label == label


@pytest.mark.parametrize("bridged", [True, False])
def test_a_site_system_that_is_down_refuses_nothing(bridged: bool) -> None:
    ended: ClientResult = HandshakeRefused(None)
    if bridged:
        ended = Response(502, "Bad Gateway", (), b"")
    seen = Observation(ended, None, (), 0, DOWN, bridged)
    found = outcome(CASE["inventory-report"], seen)
    assert found.disposition is Disposition.NOT_DELIVERED
    assert found.client_received == ("502 Bad Gateway" if bridged else "a closed connection")
    assert found.proxy_saw.endswith("connection refused by 127.0.0.1:1")


def test_a_site_system_that_cannot_be_verified_is_not_down() -> None:
    seen = Observation(
        Response(502, "Bad Gateway", (), b""),
        None,
        (),
        1,
        DOWN | {"event": "request", "reason": "site-system-unverified"},
        True,
    )
    assert outcome(CASE["wrong-site-system"], seen).disposition is PROXY


def test_each_grade_has_its_own_mark() -> None:
    assert len({grade.mark for grade in Grade}) == len(Grade)
    assert len({grade.meaning for grade in Grade}) == len(Grade)


def test_the_score_counts_the_labels_of_each_path() -> None:
    counted = score(
        [
            result(CASE["malware-in-zlib"], PROXY, OK),
            result(CASE["inventory-report"], OK, OK),
            result(CASE["state-message"], OK, None),
        ]
    )
    assert counted["bridge"] == {"✓ REFUSED": 1, "✓ PASSED": 2}
    assert counted["tunnel"] == {"✗ NOT STOPPED": 1, "✓ PASSED": 1, "- NO TUNNEL": 1}


@pytest.mark.parametrize(
    ("case", "found", "dropped_arrived", "grade", "word"),
    [
        ("inventory-report", Disposition.ACCEPTED, False, Grade.RIGHT, "PASSED"),
        ("inventory-report", Disposition.REFUSED_BY_PROXY, False, Grade.WRONG, "NOT AS REQUIRED"),
        ("forbidden-header", Disposition.ACCEPTED, False, Grade.RIGHT, "PASSED"),
        ("forbidden-header", Disposition.ACCEPTED, True, Grade.WRONG, "NOT STOPPED"),
        ("malware-in-zlib", Disposition.ACCEPTED, False, Grade.WRONG, "NOT STOPPED"),
        ("malware-in-zlib", Disposition.REFUSED_BY_PROXY, False, Grade.RIGHT, "REFUSED"),
        ("spoofed-guid", Disposition.REFUSED_BY_SITE_SYSTEM, False, Grade.LATE, "STOPPED INSIDE"),
    ],
)
def test_a_plain_proxy_is_judged_like_a_perimeter(
    case: str, found: Disposition, dropped_arrived: bool, grade: Grade, word: str
) -> None:
    verdict = judge_plain(CASE[case], PlainResult("nginx", found, "200 OK", dropped_arrived))
    assert (verdict.grade, verdict.word) == (grade, word)


def test_a_part_that_is_not_exported_is_explained() -> None:
    refused = Disposition.REFUSED_BY_PROXY
    plain = PlainResult("nginx", refused, "403 Forbidden", False, left_out=True)
    verdict = judge_plain(CASE["catalog-signed-in"], plain)
    assert (verdict.grade, verdict.word) == (Grade.WRONG, "LEFT OUT")
    assert "Windows authentication" in verdict.detail
    # It is right to refuse what must be refused.
    assert judge_plain(CASE["catalog-verb"], plain).word == "REFUSED"
