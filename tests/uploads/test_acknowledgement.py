from __future__ import annotations

import pytest

from ibcm_bridge.decisions.denial import Deny, Reason
from ibcm_bridge.uploads.acknowledgement import Acknowledgement, read_acknowledgement

Fields = list[tuple[bytes, bytes]]


@pytest.mark.parametrize(
    ("status", "fields", "expected"),
    [
        (200, [], Acknowledgement(True, "", None, False)),
        (
            201,
            [(b"bits-session-id", b"{A-1}"), (b"bits-received-content-range", b"0")],
            Acknowledgement(True, "{A-1}", 0, False),
        ),
        (
            416,
            [(b"bits-received-content-range", b"213")],
            Acknowledgement(False, "", 213, False),
        ),
        # The names of Windows and of [MC-BUP], in either case.
        (500, [(b"bits-error-code", b"0x8020001F")], Acknowledgement(False, "", None, True)),
        (500, [(b"bits-error", b"8020001f")], Acknowledgement(False, "", None, True)),
        (500, [(b"bits-error-code", b"0x80070005")], Acknowledgement(False, "", None, False)),
    ],
)
def test_a_response_is_parsed(status: int, fields: Fields, expected: Acknowledgement) -> None:
    assert read_acknowledgement(status, fields) == expected


@pytest.mark.parametrize(
    "fields",
    [
        [(b"bits-session-id", b"a"), (b"bits-session-id", b"a")],
        [(b"bits-session-id", b"a" * 101)],
        [(b"bits-session-id", b"a b")],
        [(b"bits-received-content-range", b"-1")],
        [(b"bits-received-content-range", b"0-9")],
        [(b"bits-received-content-range", b"1"), (b"bits-received-content-range", b"2")],
        [(b"bits-error-code", b"none")],
    ],
)
def test_an_ambiguous_response_is_refused(fields: Fields) -> None:
    refused = read_acknowledgement(200, fields)
    assert isinstance(refused, Deny)
    assert refused.reason is Reason.SITE_SYSTEM_RESPONSE
