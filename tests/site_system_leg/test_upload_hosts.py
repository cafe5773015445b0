"""Host names in the response to an upload."""

from __future__ import annotations

import pytest

from ibcm_bridge.policy.publications import UploadHosts
from ibcm_bridge.site_system_leg.upload_hosts import (
    FALLBACK,
    HOST_ID,
    REPLY_URL,
    upload_hosts_for_client,
)

ORIGIN = b"https://bridge.internet.example"
OWN = ("mp01.corp.example",)
DROP, REWRITE = UploadHosts.DROP, UploadHosts.REWRITE


@pytest.mark.parametrize(
    ("name", "value", "rule", "expected"),
    [
        (HOST_ID, b"bridge.internet.example", DROP, b"bridge.internet.example"),
        (HOST_ID, b"BRIDGE.internet.example", DROP, b"BRIDGE.internet.example"),
        (HOST_ID, b"mp01.corp.example", DROP, None),
        (HOST_ID, b"mp01.corp.example", REWRITE, b"bridge.internet.example"),
        (HOST_ID, b"mp02.corp.example", DROP, None),
        (HOST_ID, b"mp02.corp.example", REWRITE, None),
        (HOST_ID, b"10.0.0.1", REWRITE, None),
        (HOST_ID, b"[::1]", REWRITE, None),
        (HOST_ID, b"", REWRITE, None),
        (HOST_ID, b"bridge.internet.example@evil.example", REWRITE, None),
        (HOST_ID, b"bridge.internet.example/x", DROP, b"bridge.internet.example"),
        (
            REPLY_URL,
            b"https://bridge.internet.example/r",
            DROP,
            b"https://bridge.internet.example/r",
        ),
        (REPLY_URL, b"/r", DROP, b"/r"),
        (REPLY_URL, b"https://mp01.corp.example/r", DROP, None),
        (REPLY_URL, b"https://mp01.corp.example/r", REWRITE, ORIGIN + b"/r"),
        (REPLY_URL, b"https://mp02.corp.example/r", REWRITE, None),
        (REPLY_URL, b"http://bridge.internet.example/r", REWRITE, None),  # BRIDGE-HTTPS-ONLY
        (REPLY_URL, b"file:///c:/", REWRITE, None),
    ],
)
def test_a_client_is_sent_to_the_publication_only(
    name: bytes, value: bytes, rule: UploadHosts, expected: bytes | None
) -> None:
    assert upload_hosts_for_client([(name, value)], ORIGIN, OWN, rule).get(name) == expected


def test_the_fallback_timeout_requires_the_host() -> None:
    here, away = (HOST_ID, b"bridge.internet.example"), (HOST_ID, b"mp01.corp.example")
    timeout = (FALLBACK, b"60")
    assert upload_hosts_for_client([here, timeout], ORIGIN, OWN, DROP)[FALLBACK] == b"60"
    assert upload_hosts_for_client([away, timeout], ORIGIN, OWN, DROP) == {}
    assert upload_hosts_for_client([timeout], ORIGIN, OWN, DROP) == {}
    assert FALLBACK not in upload_hosts_for_client([here, (FALLBACK, b"x")], ORIGIN, OWN, DROP)


@pytest.mark.parametrize("first", [b"bridge.internet.example", b"evil.example"])
@pytest.mark.parametrize("second", [b"bridge.internet.example", b"evil.example"])
def test_a_repeated_field_is_removed(first: bytes, second: bytes) -> None:
    twice = [(HOST_ID, first), (HOST_ID, second)]
    assert upload_hosts_for_client(twice, ORIGIN, OWN, REWRITE) == {}
