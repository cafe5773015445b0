"""The words of a client for a refusal and for an error, on one line."""

from __future__ import annotations

import ssl

import pytest

from ibcm_bridge.lab.protocol.client import Response
from ibcm_bridge.lab.scenes.scene import said
from ibcm_bridge.lab.simulated import client
from ibcm_bridge.lab.simulated.client import Result

REFUSAL = "This directory is not published.\n\nRequirement: NO-OSD\nReference: 0123456789ab\n"


def response(body: str) -> Response:
    return Response(404, "Not Found", (("Content-Type", "text/plain"),), body.encode())


@pytest.mark.parametrize(
    ("body", "text"),
    [
        (
            REFUSAL,
            "This directory is not published. Requirement: NO-OSD; Reference: 0123456789ab",
        ),
        ("It has\n a note:\n one", "It has; a note: one"),
        ("", ""),
    ],
)
def test_a_refusal_is_one_line(body: str, text: str) -> None:
    failed = said("request", "404 Not Found", Result.GOOD).failed_by(response(body))
    assert failed.text == text
    assert failed.reference == ("0123456789ab" if body == REFUSAL else "")


def test_an_error_of_tls_has_the_words_of_openssl_only() -> None:
    name = ssl.SSLCertVerificationError(1, "[SSL: CERTIFICATE_VERIFY_FAILED] x (_ssl.c:1020)")
    name.verify_message = "Hostname mismatch, certificate is not valid for 'a.example'."
    handshake = ssl.SSLError(1, "[SSL: NO_PROTOCOLS_AVAILABLE] no protocols available (_ssl.c:10)")
    assert [client._error_text(error) for error in (name, handshake, OSError())] == [
        "the certificate is not accepted: Hostname mismatch, certificate is not valid for "
        "'a.example'",
        "no protocols available",
        "OSError",
    ]
