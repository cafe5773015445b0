"""The responses to refusals, and what they never disclose."""

from __future__ import annotations

from http import HTTPStatus

import h11
import pytest

from ibcm_bridge.decisions.client_reaction import NextStep
from ibcm_bridge.decisions.denial import Deny, Reason
from ibcm_bridge.decisions.refusal_response import response_bytes
from ibcm_bridge.decisions.refusals import REFUSALS, Refusal, refusal, requirement
from ibcm_bridge.decisions.rules import Rule

SECRET = "mp01.corp.example 10.0.0.1 /SMS_MP/.sms_pol?{LAB00001}"
OVER_HTTP = [reason for reason, row in REFUSALS.items() if row.status is not None]


def read(raw: bytes, method: str = "GET") -> tuple[h11.Response, bytes, bytes]:
    """The response, its body and any further data, as another HTTP implementation reads them."""
    reader = h11.Connection(h11.CLIENT)
    reader.send(h11.Request(method=method, target="/", headers=[("Host", "x")]))
    reader.send(h11.EndOfMessage())
    reader.receive_data(raw)
    response = reader.next_event()
    assert isinstance(response, h11.Response)
    body = b""
    while isinstance(event := reader.next_event(), h11.Data):
        body += event.data
    assert isinstance(event, h11.EndOfMessage)
    return response, body, reader.trailing_data[0]


@pytest.mark.parametrize("reason", Reason)
def test_every_reason_has_a_status_or_an_alert(reason: Reason) -> None:
    row = REFUSALS[reason]
    assert (row.status is None) != (row.alert is None)
    assert row.text.endswith(".")
    if row.status is not None:
        assert 400 <= row.status < 600


@pytest.mark.parametrize(
    ("reason", "status"),
    [
        (Reason.PLAINTEXT, 403),
        (Reason.TOO_SLOW, 408),
        (Reason.MALFORMED_HEAD, 400),
        (Reason.HEAD_TOO_LARGE, 431),
        (Reason.HTTP_VERSION, 505),
        (Reason.FRAMING, 400),
        (Reason.LENGTH_REQUIRED, 411),
        (Reason.HOST_MISMATCH, 421),
        (Reason.TARGET_UNSAFE, 400),
        (Reason.DIRECTORY, 404),
        (Reason.BYPASS_DIRECTORY, 404),
        (Reason.VERB, 405),
        (Reason.HEADER, 403),
        (Reason.MEDIA_TYPE, 415),
        (Reason.EXPECTATION, 417),
        (Reason.BODY_NOT_ALLOWED, 400),
        (Reason.BODY_TOO_LARGE, 413),
        (Reason.MALICIOUS_CONTENT, 403),
        (Reason.ENGINE_UNAVAILABLE, 503),
        (Reason.SITE_SYSTEM_UNREACHABLE, 502),
        (Reason.BRIDGE_DEFECT, 500),
    ],
)
def test_a_reason_has_its_status(reason: Reason, status: int) -> None:
    assert refusal(Deny(reason, Rule("rule"))).status == status


@pytest.mark.parametrize(
    ("reason", "alert"),
    [
        (Reason.NOT_TLS, "unexpected_message"),
        (Reason.UNKNOWN_NAME, "unrecognized_name"),
        (Reason.CERTIFICATE_MISSING, "certificate_required"),
        (Reason.CERTIFICATE_UNTRUSTED, "unknown_ca"),
        (Reason.CERTIFICATE_EXPIRED, "certificate_expired"),
        (Reason.CERTIFICATE_REVOKED, "certificate_revoked"),
        (Reason.CERTIFICATE_PURPOSE, "unsupported_certificate"),
    ],
)
def test_a_refused_handshake_has_its_alert(reason: Reason, alert: str) -> None:
    assert refusal(Deny(reason, Rule("rule"))).alert == alert


def test_a_denial_cites_its_own_requirement_or_that_of_its_reason() -> None:
    assert requirement(Deny(Reason.VERB, Rule("rule"))) == "VERB-MP"
    assert requirement(Deny(Reason.VERB, Rule("rule"), requirement="VERB-DP")) == "VERB-DP"


@pytest.mark.parametrize("reason", Reason)
def test_a_response_is_complete_and_closes_the_connection(reason: Reason) -> None:
    raw = response_bytes(Deny(reason, Rule("rule")), "a1b2c3")
    response, body, after = read(raw)
    headers = dict(response.headers)
    assert response.status_code == (REFUSALS[reason].status or HTTPStatus.FORBIDDEN)
    assert headers[b"content-length"] == b"%d" % len(body)
    assert headers[b"connection"] == b"close"
    assert headers[b"cache-control"] == b"no-store"
    assert after == b""
    text, requirement_line, reference, end = body.decode().split("\r\n")
    assert text == REFUSALS[reason].text
    assert requirement_line == f"Requirement: {REFUSALS[reason].requirement}"
    assert (reference, end) == ("Reference: a1b2c3", "")


@pytest.mark.parametrize("reason", OVER_HTTP)
def test_a_response_discloses_nothing_of_the_request_or_the_internal_network(
    reason: Reason,
) -> None:
    raw = response_bytes(Deny(reason, Rule(SECRET), SECRET), "a1b2c3")
    assert raw == response_bytes(Deny(reason, Rule("rule")), "a1b2c3")
    lower = raw.lower()
    for word in (b"mp01", b"10.0.0.1", b"sms_pol", b"mitmproxy", b"server:", b"python"):
        assert word not in lower


def test_the_response_to_a_refused_head_request_has_no_body() -> None:
    denial = Deny(Reason.DIRECTORY, Rule("rule"))
    whole = response_bytes(denial, "a1b2c3")
    head = response_bytes(denial, "a1b2c3", head_only=True)
    assert head == whole[: len(head)]
    response, body, after = read(head, "HEAD")
    assert (response.status_code, body, after) == (404, b"", b"")
    assert int(dict(response.headers)[b"content-length"]) == len(whole) - len(head)


TEMPORARY = {
    Reason.TOO_SLOW,
    Reason.ENGINE_UNAVAILABLE,
    Reason.OVERLOADED,
    Reason.UPLOAD_UNAVAILABLE,
    Reason.IDENTITY_UNAVAILABLE,
    Reason.SITE_SYSTEM_UNREACHABLE,
    Reason.SITE_SYSTEM_UNVERIFIED,
    Reason.SITE_SYSTEM_RESPONSE,
    Reason.SITE_SYSTEM_SLOW,
    Reason.REPLY_HOST_NAMES,
    Reason.REPLY_INTRANET_ONLY,
    Reason.REPLY_UNREADABLE,
    Reason.BRIDGE_DEFECT,
}
"""Failures that may be over when the client sends the same request again."""

UPLOADS = {
    Reason.UPLOAD_SESSION: NextStep.STARTS_OVER,
    Reason.UPLOAD_OF_ANOTHER: NextStep.STARTS_OVER,
    Reason.UPLOAD_GAP: NextStep.GOES_ON,
}


@pytest.mark.parametrize("reason", Reason)
def test_a_client_retries_only_after_a_temporary_failure(reason: Reason) -> None:
    row = REFUSALS[reason]
    if row.status is None:
        assert row.next_step is NextStep.CANNOT_CONNECT
    else:
        wanted = NextStep.TRIES_AGAIN if reason in TEMPORARY else NextStep.GIVES_UP
        assert row.next_step is UPLOADS.get(reason, wanted)


@pytest.mark.parametrize(
    ("status", "step"),
    [
        (400, NextStep.GIVES_UP),
        (403, NextStep.GIVES_UP),
        (408, NextStep.TRIES_AGAIN),
        (409, NextStep.TRIES_AGAIN),
        (413, NextStep.GIVES_UP),
        (500, NextStep.TRIES_AGAIN),
        (501, NextStep.GIVES_UP),
        (503, NextStep.TRIES_AGAIN),
        (505, NextStep.GIVES_UP),
    ],
)
def test_the_client_gives_up_after_a_status_that_bits_treats_as_final(
    status: int, step: NextStep
) -> None:
    assert Refusal("X", HTTPStatus(status), None, "X.").next_step is step


@pytest.mark.parametrize("reason", OVER_HTTP)
def test_only_a_503_has_retry_after(reason: Reason) -> None:
    response, _, _ = read(response_bytes(Deny(reason, Rule("rule")), "a1b2c3"))
    delay = dict(response.headers).get(b"retry-after")
    assert delay == (b"60" if response.status_code == 503 else None)


def test_the_response_does_not_disclose_the_upload_session_of_another_client() -> None:
    none, anothers = (
        response_bytes(Deny(reason, Rule("uploads.session"), "x"), "ref", upload=True)
        for reason in (Reason.UPLOAD_SESSION, Reason.UPLOAD_OF_ANOTHER)
    )
    assert none == anothers
