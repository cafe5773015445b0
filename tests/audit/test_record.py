"""Audit records: their fields, their limits, and the removal of secrets."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ibcm_bridge.audit import record as audit
from ibcm_bridge.authentication.certificate import CertificateFacts
from ibcm_bridge.authentication.client import AuthenticatedClient
from ibcm_bridge.decisions.denial import Deny, Reason
from ibcm_bridge.decisions.refusals import REFUSALS
from ibcm_bridge.decisions.rules import Rule


def test_a_denial_is_recorded_with_reason_rule_and_requirement() -> None:
    denial = Deny(Reason.VERB, Rule("distribution-point.verbs"), "PUT is not a verb", "VERB-DP")
    assert audit.denial_fields(denial) == {
        "verdict": "deny",
        "reason": "verb",
        "rule": "distribution-point.verbs",
        "requirement": "VERB-DP",
        "detail": "PUT is not a verb",
    }


@pytest.mark.parametrize("reason", Reason)
def test_every_denial_cites_a_requirement(reason: Reason) -> None:
    fields = audit.denial_fields(Deny(reason, Rule("rule")))
    assert fields[audit.REQUIREMENT] == REFUSALS[reason].requirement


def test_texts_from_a_client_are_limited() -> None:
    fields = audit.denial_fields(Deny(Reason.VERB, Rule("r" * 9_999), "d" * 9_999))
    assert len(str(fields[audit.RULE])) == len(str(fields[audit.DETAIL])) == audit.MAX_TEXT
    assert len(audit.target_field(b"/" * 9_999)) == audit.MAX_TEXT


QUERIES = {
    # RFC 8894 §4.1: the message of a GET is in the query.
    b"/certsrv/mscep/mscep.dll?operation=PKIOperation&message=MIIHunter2": (
        "/certsrv/mscep/mscep.dll?operation=PKIOperation&message=..."
    ),
    b"/x?access_token=hunter2": "/x?access_token=...",
    b"/x?a=1&sig=hunter2%3D&se=2": "/x?a=...&sig=...&se=...",
    b"/x?OPERATION=GetCACert": "/x?OPERATION=GetCACert",
    b"/x?password=hunter2=hunter2": "/x?password=...",
    b"/x?a?password=hunter2": "/x?a?password=...",
    b"/x?operation=a%26password%3Dhunter2": "/x?operation=...",
    b"/x?=hunter2": "/x?=...",
    b"/x;jsessionid=hunter2?y": "/x;jsessionid=...?y",
    b"/x#access_token=hunter2": "/x#access_token=...",
    b"https://user:hunter2@ibcm.example/x": "https://...@ibcm.example/x",
    b"https://user:hunter2@a@ibcm.example/x?b@c": "https://...@ibcm.example/x?b@c",
    b"//user:hunter2@ibcm.example/x": "//...@ibcm.example/x",
    b"https:hunter2@ibcm.example": "https:...@ibcm.example",
}


@pytest.mark.parametrize("target", QUERIES)
def test_a_named_value_is_not_recorded_unless_it_is_known_to_be_harmless(target: bytes) -> None:
    assert audit.target_field(target) == QUERIES[target]


@pytest.mark.parametrize(
    "target",
    [
        "/SMS_MP/.sms_aut?MPLIST",
        "/SMS_MP/.sms_aut?MPCERT&LAB",
        "/SMS_MP/.sms_pol?{5E2B7C1A-94D0-4B6E-8F3A-0C1D2E3F4A5B}.1_00",
        "/SMS_MP/.sms_dcm?Id&DocumentId=ScopeId_1/Baseline_2/3",
        "/SMS_DP_SMSPKG$/LAB00001/sccm?/setup.exe",
        "/SMS_DP_SMSPKG$/LAB00001/a@b.cab",
        "/certsrv/mscep/mscep.dll?operation=GetCACaps",
        "*",
    ],
)
def test_the_name_of_a_policy_or_a_file_is_recorded(target: str) -> None:
    assert audit.target_field(target.encode()) == target


@pytest.mark.parametrize("before", [b"/x?message=", b"https://user:", b"/x;a="])
def test_a_long_target_does_not_expose_a_secret(before: bytes) -> None:
    target = before + b"hunter2" * 15_000 + b"@ibcm.example/"
    assert "hunter2" not in audit.target_field(target)
    assert "hunter2" not in audit.target_field(b"/" + b"a" * 500 + target)


def test_a_list_of_dropped_fields_is_limited_and_the_rest_is_counted() -> None:
    names = tuple(f"X-{number}" for number in range(40))
    written = audit.dropped_field(names)
    assert written == (*names[: audit.MAX_ITEMS], "8 more")
    assert audit.dropped_field(names[: audit.MAX_ITEMS]) == names[: audit.MAX_ITEMS]
    assert audit.dropped_field(("x" * 9_999,)) == ("x" * audit.MAX_NAME,)


TEXT_KEYS = [
    *(audit.DETAIL, audit.RULE, audit.SERVER_NAME, audit.CLIENT_NAME, audit.MESSAGE_ENDPOINT),
    *(audit.METHOD, audit.TARGET, audit.NOTE, audit.TLS_ALERT, audit.CLIENT_ADDRESS),
    *(audit.SITE_SYSTEM, audit.TLS_VERSION),
]


@pytest.mark.parametrize("key", TEXT_KEYS)
def test_every_text_is_limited(key: str) -> None:
    written = json.loads(audit.line({key: "x" * 99_999}))
    assert written == {key: "x" * audit.MAX_TEXT}


def test_lists_and_certificates_are_limited() -> None:
    many = ("x" * 9_999,) * 999
    written = json.loads(
        audit.line({audit.INSPECTED: many, audit.CLIENT_CERTIFICATE: {"subject": "x" * 9_999}})
    )
    assert len(written["inspected"]) == audit.MAX_ITEMS + 1
    assert max(map(len, written["inspected"])) == audit.MAX_TEXT
    assert len(written["client_certificate"]["subject"]) == audit.MAX_TEXT


def test_a_certificate_is_recorded_by_its_identifying_fields(client: AuthenticatedClient) -> None:
    written = audit.certificate_field(client.certificate)
    assert set(written) == {"subject", "issuer", "serial", "sha256", "not_after"}
    assert written["sha256"] == client.certificate.sha256


def test_a_record_is_one_line_of_json_that_keeps_the_order_of_its_keys() -> None:
    text = audit.line({audit.TIME: "t", audit.EVENT: "request", audit.BYTES_FROM_CLIENT: 0})
    assert text == '{"time":"t","event":"request","bytes_from_client":0}\n'


def test_empty_fields_are_omitted_and_zeros_are_kept() -> None:
    record: audit.Record = {
        audit.REASON: None,
        audit.DETAIL: "",
        audit.DROPPED_HEADERS: (),
        audit.BYTES_TO_CLIENT: 0,
        audit.DURATION_SECONDS: 0.0,
    }
    assert json.loads(audit.line(record)) == {"bytes_to_client": 0, "duration_seconds": 0.0}


@pytest.mark.parametrize(
    "text", ["a\nb", "a\r\nb", "\u2028", "\x1b[31m", "\x00", '"}{"', "ä\ud800"]
)
def test_a_client_cannot_inject_lines_or_terminal_escapes(text: str) -> None:
    line = audit.line({audit.SERVER_NAME: text})
    assert line.isascii()
    assert line.removesuffix("\n").isprintable()
    assert json.loads(line) == {"server_name": text}


@given(st.binary(max_size=600))
def test_any_target_is_recorded_on_one_line(target: bytes) -> None:
    line = audit.line({audit.TARGET: audit.target_field(target)})
    assert line.count("\n") == 1
    assert line.isascii()


def test_no_key_is_for_payload_or_credentials() -> None:
    keys = {
        value
        for name, value in vars(audit).items()
        if name.isupper() and isinstance(value, str) and name not in ("TUNNEL_NOTE",)
    }
    assert {"time", "reason", "forwarded"} < keys
    for word in ("body", "payload", "signature", "token", "authorization", "key", "cookie"):
        assert not any(word in key for key in keys)


def test_the_note_of_a_tunnel_cites_the_requirement() -> None:
    assert audit.TUNNEL_NOTE.startswith("TUNNEL-BLIND")


def test_a_serial_number_is_limited() -> None:
    facts = CertificateFacts("CN=x", "CN=x", "f" * 180_000, "00", "2026", None, (), (), None, b"")
    assert len(audit.certificate_field(facts)["serial"]) == audit.MAX_TEXT
