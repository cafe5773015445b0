"""Host is the server name of the connection, once, or the request is refused."""

from __future__ import annotations

import pytest

from ibcm_bridge.decisions.denial import Reason
from tests.request.heads import POLICY, Decide, Head, allowed, denied


@pytest.mark.parametrize(
    "host",
    ["bridge.internet.example", "BRIDGE.Internet.Example", "bridge.internet.example:443"],
)
def test_host_is_the_server_name(decide: Decide, request_head: Head, host: str) -> None:
    allowed(decide(request_head(*POLICY, host=host)))


@pytest.mark.parametrize(
    "host",
    [
        None,
        "",
        "mp01.corp.example",
        "bridge.internet.example.",
        "bridge.internet.example.:443",
        "bridge.internet.example.evil.example",
        "bridge.internet.example:80:80",
        "bridge.internet.example:https",
        "bridge.internet.example:-1",
        "bridge.internet.example:\xb2",
        "bridge.internet.example, mp01.corp.example",
        "user@bridge.internet.example",
        "https://bridge.internet.example",
        "[::1]",
        "127.0.0.1",
    ],
)
def test_another_host_or_none_is_refused(
    decide: Decide, request_head: Head, host: str | None
) -> None:
    denial = denied(decide(request_head(*POLICY, host=host)))
    assert denial.reason is Reason.HOST_MISMATCH


@pytest.mark.parametrize("second", ["bridge.internet.example", "mp01.corp.example", ""])
def test_two_hosts_are_refused_even_if_they_are_equal(
    decide: Decide, request_head: Head, second: str
) -> None:
    denial = denied(decide(request_head(*POLICY, f"host: {second}")))
    assert denial.reason is Reason.HOST_MISMATCH
