"""The request that the bridge read, with the finding marked where the evidence says."""

from __future__ import annotations

import dataclasses
import datetime
import json
from typing import Any

import pytest

from ibcm_bridge.lab.cases.case import Case, ClientCertificate, credentials, senders
from ibcm_bridge.lab.cases.requests import Senders, eicar
from ibcm_bridge.lab.cases.table import CASES
from ibcm_bridge.lab.comparison.outcomes import CaseResult, Observation, outcome
from ibcm_bridge.lab.page.message_view import MAX_TEXT, message_view
from ibcm_bridge.lab.pki.authorities import LabPki
from ibcm_bridge.lab.protocol.client import Request, Response

BY_ID = {case.id: case for case in CASES}
NONE = "The evidence has no place in this request."


@pytest.fixture(scope="module")
def by_client() -> dict[ClientCertificate, Senders]:
    return senders(credentials(LabPki.make(now=datetime.datetime.now(datetime.UTC))))


def shown(case: Case, request: Request, record: dict[str, Any]) -> dict[str, Any]:
    audit = {"event": "request", "verdict": "deny", "reason": "x", "detail": "", **record}
    seen = Observation(Response(403, "Forbidden", (), b""), None, (), 0, audit, True)
    view = message_view(CaseResult(case, request, outcome(case, seen), None, ()))
    json.dumps(view)
    return view


def marked(view: dict[str, Any]) -> list[str]:
    return [
        segment["text"]
        for text in view["texts"]
        for segment in text["segments"]
        if segment["marked"]
    ]


PLACES = {
    "alternate-directory": ("/ccm_system_altauth requires no certificate", "/ccm_system_altauth"),
    "forbidden-verb": ("DELETE is not allowed for this role", "DELETE"),
    "http-1.0": ("HTTP/1.0", "HTTP/1.0"),
    "two-lengths": ("the request has Transfer-Encoding", "Transfer-Encoding: chunked"),
    "other-host": ("Host 'mp01.corp.example' does not match", "Host: mp01.corp.example"),
    "wrong-media-type": ("Content-Type is text/xml", "Content-Type: text/xml"),
    "external-entity": ("a document type declaration", "<!DOCTYPE"),
    "forbidden-endpoint": ("EndpointProtectionAgent is not published", "EndpointProtectionAgent"),
    "upload-gap": ("a fragment at byte 18856", "Content-Range: bytes 18856-28283/28284"),
    "update-serialized-cookie": ("a .NET BinaryFormatter stream", "<CookieData"),
    "malware-in-zlib": ("eicar_test_file in text", eicar()),
    "state-malware": ("eicar_test_file in text", eicar()),
}
"""Case -> the detail of the refusal, and what is marked first."""


@pytest.mark.parametrize("name", PLACES)
def test_the_finding_is_marked(name: str, by_client: dict[ClientCertificate, Senders]) -> None:
    case, (detail, place) = BY_ID[name], PLACES[name]
    request = case.request(by_client[case.client])
    view = shown(case, request, {"rule": case.bridge.rule, "detail": detail})
    assert marked(view)[0] == place
    assert view["note"] == f"Finding: {detail}. It is marked below."


def test_a_client_guid_is_marked_where_it_is(
    by_client: dict[ClientCertificate, Senders],
) -> None:
    case, who = BY_ID["spoofed-payload"], by_client[ClientCertificate.COMPUTER]
    detail = f"{who.other.guid} is bound to another certificate"
    view = shown(case, case.request(who), {"rule": case.bridge.rule, "detail": detail})
    titles = [
        text["title"]
        for text in view["texts"]
        if any(segment["marked"] for segment in text["segments"])
    ]
    assert titles == ["Part 2 of 2, inflated and decoded"]
    assert set(marked(view)) == {who.other.guid}


def test_an_encoded_value_is_marked_with_words(
    by_client: dict[ClientCertificate, Senders],
) -> None:
    case = BY_ID["malware-in-base64"]
    request = case.request(by_client[case.client])
    view = shown(case, request, {"rule": case.bridge.rule, "detail": "eicar_test_file in value 2"})
    (found,) = [
        segment for text in view["texts"] for segment in text["segments"] if segment["marked"]
    ]
    assert found["words"] == "the value decodes to the finding"


@pytest.mark.parametrize(
    ("name", "rule", "detail"),
    [
        ("clamav-find", "engines.clamav", "Lab.Only.ClamAV-Knows-It in text"),
        ("unsigned-message", "signatures.ClientIDSignature", "no ClientIDSignature"),
        ("zip-bomb", "ccm.inflated_limit", "more than 16777216 bytes"),
        ("upload-malware", "engines.yara-x", "eicar_test_file in text"),
    ],
)
def test_a_finding_without_a_place_is_reported(
    name: str, rule: str, detail: str, by_client: dict[ClientCertificate, Senders]
) -> None:
    case = BY_ID[name]
    view = shown(case, case.request(by_client[case.client]), {"rule": rule, "detail": detail})
    assert view["note"] == f"Finding: {detail}. {NONE}"
    assert marked(view) == []


@pytest.mark.parametrize(
    ("record", "note", "texts"),
    [
        ({"verdict": "allow"}, "The bridge read this, and found nothing to refuse.", 3),
        (
            {"forwarded": True, "detail": "dp01.corp.example"},
            "The finding is in the response, not in this request: dp01.corp.example.",
            3,
        ),
        (
            {"event": "connection-refused", "detail": "no certificate was presented"},
            "The bridge read no request. It ended the connection before: "
            "no certificate was presented.",
            0,
        ),
    ],
)
def test_a_note_says_what_was_read(
    record: dict[str, Any],
    note: str,
    texts: int,
    by_client: dict[ClientCertificate, Senders],
) -> None:
    case = BY_ID["inventory-report"]
    view = shown(case, case.request(by_client[case.client]), {"rule": "head.method", **record})
    assert view["note"] == note
    assert marked(view) == []
    assert len(view["texts"]) == texts


def test_a_finding_after_the_limit_of_a_text_is_shown() -> None:
    case = dataclasses.replace(BY_ID["state-malware"])
    body = f"<Report>{'x' * 2 * MAX_TEXT}{eicar()}</Report>".encode()
    request = Request("POST", "/SMS_FSP/.sms_fsp", (), body, plaintext=True)
    view = shown(case, request, {"rule": "engines.yara-x", "detail": "eicar_test_file in sent"})
    assert marked(view) == [eicar()]
    assert view["texts"][1]["left_out"] == f"{len(body):,} characters in total"
    assert sum(len(segment["text"]) for segment in view["texts"][1]["segments"]) <= MAX_TEXT


def test_each_case_can_be_shown(by_client: dict[ClientCertificate, Senders]) -> None:
    for case in CASES:
        request = case.request(by_client[case.client])
        view = shown(case, request, {"rule": case.bridge.rule, "detail": "a detail"})
        head = view["texts"][0]["segments"]
        assert "".join(segment["text"] for segment in head).startswith(f"{request.method} ")
