"""Reports of workers: a report can only approve the body that it is about."""

from __future__ import annotations

import dataclasses
import json
import zlib
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ibcm_bridge.decisions.denial import Deny, Reason
from ibcm_bridge.decisions.observing import observed
from ibcm_bridge.decisions.rules import ENDPOINTS, Rule
from ibcm_bridge.inspection.message_facts import MessageFacts
from ibcm_bridge.inspection.reports import (
    MAX_LINE,
    MAX_SCANS,
    Report,
    ReportError,
    read_report,
    write_report,
)
from ibcm_bridge.inspection.scan import read_and_scan
from ibcm_bridge.inspection.subject import CleanBody, Subject
from ibcm_bridge.inspection.verdict import SMALL, Inspected, conclude, inspect, inspect_small
from ibcm_bridge.lab.protocol import ccm, documents
from ibcm_bridge.messages.registration import Registration
from ibcm_bridge.policy.endpoints import EndpointTable
from ibcm_bridge.request.authorization import Authorized
from ibcm_bridge.request.head import RequestHead

GUID = "0a1b2c3d-0000-4000-8000-00000000000f"
Allow = Callable[[bytes], Authorized]


class Engine:
    """An engine that finds a needle."""

    name = identity = "engine"
    in_place = True

    def scan(self, data: bytes, *, opened: bool = False) -> str | None:
        return "needle" if b"needle" in data else None


ENGINES = (Engine(),)


@pytest.fixture(scope="module")
def allow(
    decide: Callable[[RequestHead], Authorized | Deny], request_head: Callable[..., RequestHead]
) -> Allow:
    def make(body: bytes) -> Authorized:
        lines = (f"Content-Length: {len(body)}", f"Content-Type: {ccm.CONTENT_TYPE}")
        authorized = decide(request_head("CCM_POST", "/ccm_system/request", *lines))
        assert isinstance(authorized, Authorized)
        return authorized

    return make


def message(xml: str) -> bytes:
    return ccm.ccm_post_body(endpoint="MP_HinvEndpoint", body_xml=xml, client_guid=GUID)


LARGE = message(documents.inventory_report(GUID, rows=600))
MALICIOUS = message(documents.inventory_report(GUID, rows=600).replace("Publisher 1", "needle", 1))


def subject_of(allow: Allow, body: bytes) -> Subject:
    subject = inspect_small(allow(body), body, ENGINES)
    assert isinstance(subject, Subject)
    return subject


def report_on(subject: Subject) -> Report:
    """The report of a worker, serialized and parsed."""
    return read_report(write_report(Report(subject.digest(), read_and_scan(subject, ENGINES))))


# Small and large bodies


def test_a_small_body_is_inspected_at_once(allow: Allow) -> None:
    for xml, kind in (("<Report/>", Inspected), ("<Report>needle</Report>", Deny)):
        body = message(xml)
        assert type(inspect_small(allow(body), body, ENGINES)) is kind
        assert inspect_small(allow(body), body, ENGINES) == inspect(allow(body), body, ENGINES)


def test_a_body_that_is_large_when_inflated_is_returned_as_a_subject(allow: Allow) -> None:
    assert len(LARGE) < SMALL
    assert subject_of(allow, LARGE).body == LARGE


def test_a_body_that_is_large_as_sent_is_not_parsed(allow: Allow) -> None:
    assert subject_of(allow, bytes(SMALL + 1)).body == bytes(SMALL + 1)
    assert isinstance(inspect_small(allow(bytes(SMALL)), bytes(SMALL), ENGINES), Deny)


def test_a_bomb_is_returned_as_a_subject(allow: Allow) -> None:
    header = ccm.message_header("E", 10)
    body = ccm.raw_message(header, zlib.compress(bytes(20_000_000)))
    subject = subject_of(allow, body)
    assert conclude(allow(body), body, ENGINES, report_on(subject)) == Deny(
        Reason.INFLATED_TOO_LARGE, Rule("ccm.inflated_limit"), "more than 16777216 bytes"
    )


def test_a_body_over_the_inflated_limit_is_refused_at_once(allow: Allow) -> None:
    authorized = allow(LARGE)
    tight = dataclasses.replace(authorized.body_rule, inflated_limit=SMALL)
    refused = inspect_small(dataclasses.replace(authorized, body_rule=tight), LARGE, ENGINES)
    assert isinstance(refused, Deny)
    assert refused.reason is Reason.INFLATED_TOO_LARGE


class Elsewhere(Engine):
    """An engine that may take long."""

    in_place = False


@pytest.mark.parametrize(
    ("query", "has_something"),
    [
        ("operation=GetCACaps", False),
        ("operation=GetCACert&message=Lab%20CA", False),
        ("operation=PKIOperation&message=MIIB", True),
        ("OPERATION=pkioperation&MESSAGE=MIIB%0D%0A", True),
    ],
)
def test_a_scep_query_is_a_subject_only_if_it_has_a_message(
    decide_role: Callable[[str], Callable[[RequestHead], Authorized | Deny]],
    request_head: Callable[..., RequestHead],
    query: str,
    has_something: bool,
) -> None:
    head = request_head("GET", f"/certsrv/mscep/mscep.dll?{query}")
    authorized = decide_role("policy-module")(head)
    assert isinstance(authorized, Authorized)
    engines = (Elsewhere(),)
    result = inspect_small(authorized, b"", engines)
    assert isinstance(result, Subject if has_something else Inspected)
    if isinstance(result, Subject):
        report = Report(result.digest(), read_and_scan(result, engines))
        assert isinstance(conclude(authorized, b"", engines, report), Inspected)


# Decisions by a report


@pytest.mark.parametrize("body", [LARGE, MALICIOUS, LARGE[:-3], bytes(SMALL + 1)])
def test_a_report_leads_to_the_same_decision_as_inspect(allow: Allow, body: bytes) -> None:
    subject = Subject(allow(body).body_rule, ccm.CONTENT_TYPE.encode(), body)
    concluded = conclude(allow(body), body, ENGINES, report_on(subject))
    assert concluded == inspect(allow(body), body, ENGINES)


def refused(allow: Allow, report: Report, body: bytes = LARGE) -> Deny:
    result = conclude(allow(body), body, ENGINES, report)
    assert isinstance(result, Deny)
    assert (result.reason, result.rule) == (Reason.ENGINE_UNAVAILABLE, "inspection.workers")
    return result


def test_a_report_about_another_body_approves_nothing(allow: Allow) -> None:
    other = message(documents.inventory_report(GUID, rows=601))
    about_other = report_on(subject_of(allow, other))
    assert isinstance(conclude(allow(other), other, ENGINES, about_other), Inspected)
    assert refused(allow, about_other).detail == "the report is about another body"


OTHER_MESSAGES = EndpointTable({}, ())


def test_a_report_about_the_same_body_under_other_terms_approves_nothing(allow: Allow) -> None:
    subject = subject_of(allow, LARGE)
    for change in (
        {"content_type": subject.content_type + b" "},
        {"body_rule": dataclasses.replace(subject.body_rule, inflated_limit=33_554_432)},
        {"body_rule": dataclasses.replace(subject.body_rule, messages=OTHER_MESSAGES)},
        {"body_rule": dataclasses.replace(subject.body_rule, name="soap")},
        {"body": subject.body + b"\0"},
    ):
        other = dataclasses.replace(subject, **change)  # type: ignore[arg-type]
        assert other.digest() != subject.digest()
        refused(allow, Report(other.digest(), read_and_scan(subject, ENGINES)))


def test_a_report_without_an_engine_or_without_views_approves_nothing(
    allow: Allow,
) -> None:
    whole = report_on(subject_of(allow, LARGE))
    assert isinstance(whole.result, CleanBody)
    for change in ({"engines": ()}, {"engines": ("engine", "other")}, {"views": ()}):
        seen = dataclasses.replace(whole.result, **change)
        refused(allow, Report(whole.digest, seen))


def test_a_report_does_not_approve_a_body_of_another_length(allow: Allow) -> None:
    whole = report_on(subject_of(allow, LARGE))
    result = conclude(allow(LARGE), LARGE[:-1], ENGINES, whole)
    assert isinstance(result, Deny)
    assert result.reason is Reason.BODY_INCOMPLETE


# Serialization

MESSAGE: dict[str, Any] = {
    "endpoint": "MP_x",
    "roots": ["Report"],
    "anonymous": False,
    "encrypted": False,
    "source_id": "",
    "client_guids": [["ClientID", "GUID:y"]],
    "mentioned": ["GUID:z"],
    "signature": [["PublicKey", "00"]],
    "payload": [10, 20],
    "registration": ["00", True],
}
FOUND: dict[str, Any] = {
    **{"digest": "d", "views": ["sent:1"], "message": MESSAGE, "engines": [], "missed": []},
    "scan_seconds": {"engine": [0.25, 1]},
    "would_refuse": [["endpoint", "endpoints.endpoints", "x is not published", "", "x", "y"]],
}
FACTS = MessageFacts(
    endpoint="MP_ä",
    roots=("Report",),
    anonymous=False,
    encrypted=True,
    source_id="GUID:x",
    client_guids=(("ClientID", "GUID:y"), ("Machine/ClientID", "z")),
    mentioned=("GUID:w",),
    signature=(("PublicKey", "00"), ("PayloadSignature", "11")),
    payload=(3, 5),
    registration=Registration(b"key", proven=False),
)
FINDING = observed(Deny(Reason.ENDPOINT, ENDPOINTS, "x is not published", names=("x", "y")))
assert FINDING is not None
DENIED: dict[str, Any] = {
    "digest": "d",
    "deny": ["xml", "rule", "detail", ""],
    "scan_seconds": {},
}


def test_both_kinds_of_report_round_trip() -> None:
    for report in (
        Report("d", CleanBody(("sent:1", "text:2"), FACTS, ("engine",))),
        Report("d", CleanBody(("sent:1",), None, ())),
        Report("d", CleanBody(("sent:1",), None, ("yara-x:0",), ("clamav: gone",))),
        Report("d", CleanBody(("sent:1",), None, (), would_refuse=(FINDING,))),
        Report("d", Deny(Reason.XML, Rule("rule"), "detail", "NO-OSD")),
        Report("d", CleanBody(("sent:1",), None, ()), {"engine": (0.25, 1.0), "other": (0.0,)}),
    ):
        assert read_report(write_report(report)) == report
    assert read_report(json.dumps(FOUND).encode()).digest == "d"
    assert read_report(json.dumps(DENIED).encode()).digest == "d"


def test_only_so_many_scans_are_reported() -> None:
    report = Report("d", CleanBody(("sent:1",), None, ()), {"engine": (0.5,) * (MAX_SCANS + 1)})
    assert read_report(write_report(report)).scan_seconds == {"engine": (0.5,) * MAX_SCANS}


def test_the_size_of_a_report_is_limited() -> None:
    long = "\U0001f4a3" * 5_000
    line = write_report(Report("d" * 64, Deny(Reason.XML, Rule(long), long, long)))
    assert len(line) <= MAX_LINE
    facts = dataclasses.replace(
        FACTS,
        endpoint=long,
        roots=(long,) * 32,
        source_id=long,
        client_guids=((long, long),) * 32,
        signature=((long, long),) * 32,
    )
    line = write_report(Report("d" * 64, CleanBody(("sent:1",) * 16, facts, ("engine",))))
    assert len(line) <= MAX_LINE
    assert isinstance(read_report(line).result, CleanBody)


@pytest.mark.parametrize(
    "values",
    [
        {},
        [],
        "text",
        1,
        None,
        {"digest": "d"},
        {**FOUND, "deny": DENIED["deny"]},
        {**FOUND, "more": 1},
        # A refusal that is always enforced.
        {**FOUND, "would_refuse": [["xml-dtd", "ccm.payload.dtd", "", ""]]},
        {**FOUND, "would_refuse": [["message", "endpoints.refused", "", "NO-OSD"]]},
        {
            **FOUND,
            "would_refuse": [
                ["endpoint", "endpoints.endpoints", "", "", str(number)] for number in range(17)
            ],
        },
        {**FOUND, "digest": 1},
        {**FOUND, "views": "sent:1"},
        {**FOUND, "views": [1]},
        {**FOUND, "views": ["x"] * 65},
        {**FOUND, "message": "MP_x"},
        {**FOUND, "message": {**MESSAGE, "more": 1}},
        {**FOUND, "message": {**MESSAGE, "endpoint": None}},
        {**FOUND, "message": {**MESSAGE, "endpoint": "x" * 4_097}},
        {**FOUND, "message": {**MESSAGE, "anonymous": 1}},
        {**FOUND, "message": {**MESSAGE, "payload": [1]}},
        {**FOUND, "message": {**MESSAGE, "payload": [-1, 2]}},
        {**FOUND, "message": {**MESSAGE, "signature": [["PublicKey"]]}},
        {**FOUND, "message": {**MESSAGE, "client_guids": ["GUID:y"]}},
        {**FOUND, "message": {**MESSAGE, "client_guids": [["ClientID", "GUID:y"]] * 65}},
        {**FOUND, "message": {**MESSAGE, "mentioned": "GUID:z"}},
        {**FOUND, "message": {**MESSAGE, "registration": ["x", True]}},
        {**FOUND, "message": {**MESSAGE, "registration": ["00", 1]}},
        {**FOUND, "engines": None},
        {**FOUND, "missed": None},
        {key: value for key, value in FOUND.items() if key != "missed"},
        {key: value for key, value in FOUND.items() if key != "scan_seconds"},
        {**FOUND, "scan_seconds": None},
        {**FOUND, "scan_seconds": {"engine": 1}},
        {**FOUND, "scan_seconds": {"engine": ["1"]}},
        {**FOUND, "scan_seconds": {"engine": [True]}},
        {**FOUND, "scan_seconds": {"engine": [-1]}},
        {**FOUND, "scan_seconds": {"engine": [float("nan")]}},
        {**FOUND, "scan_seconds": {"engine": [float("inf")]}},
        {**FOUND, "scan_seconds": {"engine": [0] * 4_097}},
        {**FOUND, "scan_seconds": {"x" * 4_097: [0]}},
        {**FOUND, "scan_seconds": {str(number): [0] for number in range(65)}},
        {**DENIED, "deny": ["none-such", "", "", ""]},
        {**DENIED, "deny": ["xml"]},
        {**DENIED, "deny": None},
        {**DENIED, "deny": ["xml", 1, "", ""]},
    ],
)
def test_anything_else_is_not_a_report(values: object) -> None:
    with pytest.raises(ReportError):
        read_report(json.dumps(values).encode())


@given(st.binary(max_size=60))
def test_any_bytes_are_a_report_or_a_report_error(line: bytes) -> None:
    for bad in (line, b'{"digest":' + line, b"[" * 100_000):
        with pytest.raises(ReportError):
            read_report(bad)
