"""What is written down, and what cannot be."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ibcm_bridge import audit
from ibcm_bridge.decisions import Deny, Reason
from ibcm_bridge.identity import AuthenticatedClient, CertificateFacts
from ibcm_bridge.responses import REFUSALS


def test_a_denial_is_written_with_reason_rule_and_requirement() -> None:
    denial = Deny(Reason.VERB, "distribution-point.verbs", "PUT is not a verb", "VERB-DP")
    assert audit.denial_fields(denial) == {
        "verdict": "deny",
        "reason": "verb",
        "rule": "distribution-point.verbs",
        "requirement": "VERB-DP",
        "detail": "PUT is not a verb",
    }


@pytest.mark.parametrize("reason", Reason)
def test_every_denial_cites_a_requirement(reason: Reason) -> None:
    fields = audit.denial_fields(Deny(reason, "rule"))
    assert fields[audit.REQUIREMENT] == REFUSALS[reason].requirement


def test_what_a_client_chose_is_bounded() -> None:
    fields = audit.denial_fields(Deny(Reason.VERB, "r" * 9_999, "d" * 9_999))
    assert len(str(fields[audit.RULE])) == len(str(fields[audit.DETAIL])) == audit.MAX_TEXT
    assert len(audit.target_field(b"/" * 9_999)) == audit.MAX_TEXT


def test_a_certificate_is_written_by_what_finds_it_again(client: AuthenticatedClient) -> None:
    written = audit.certificate_field(client.certificate)
    assert set(written) == {"subject", "issuer", "serial", "sha256", "not_after"}
    assert written["sha256"] == client.certificate.sha256


def test_a_record_is_one_line_of_json_in_its_order() -> None:
    text = audit.line({audit.TIME: "t", audit.EVENT: "request", audit.BYTES_IN: 0})
    assert text == '{"time":"t","event":"request","bytes_from_client":0}\n'


def test_fields_with_nothing_to_say_are_left_out_and_zero_says_something() -> None:
    record: audit.Record = {
        audit.REASON: None,
        audit.DETAIL: "",
        audit.DROPPED_HEADERS: (),
        audit.BYTES_OUT: 0,
        audit.SECONDS: 0.0,
    }
    assert json.loads(audit.line(record)) == {"bytes_to_client": 0, "seconds": 0.0}


@pytest.mark.parametrize(
    "text", ["a\nb", "a\r\nb", "\u2028", "\x1b[31m", "\x00", '"}{"', "ä\ud800"]
)
def test_a_client_cannot_begin_a_line_or_colour_a_terminal(text: str) -> None:
    line = audit.line({audit.SERVER_NAME: text})
    assert line.isascii()
    assert line.removesuffix("\n").isprintable()
    assert json.loads(line) == {"server_name": text}


@given(st.binary(max_size=600))
def test_any_target_is_written_on_one_line(target: bytes) -> None:
    line = audit.line({audit.TARGET: audit.target_field(target)})
    assert line.count("\n") == 1
    assert line.isascii()


def test_no_key_could_hold_payload_or_credentials() -> None:
    keys = {
        value
        for name, value in vars(audit).items()
        if name.isupper() and isinstance(value, str) and name not in ("TUNNEL_NOTE",)
    }
    assert {"time", "reason", "forwarded"} < keys
    for word in ("body", "payload", "signature", "token", "authorization", "key", "cookie"):
        assert not any(word in key for key in keys)


def test_a_tunnel_is_said_to_be_blind() -> None:
    assert audit.TUNNEL_NOTE.startswith("TUNNEL-BLIND")


def test_a_serial_number_is_bounded() -> None:
    facts = CertificateFacts("CN=x", "CN=x", "f" * 180_000, "00", "2026", None, (), (), None)
    assert len(audit.certificate_field(facts)["serial"]) == audit.MAX_TEXT
