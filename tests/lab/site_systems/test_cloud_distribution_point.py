"""The simulated cloud distribution point, and its access tokens."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime

import pytest

from ibcm_bridge.lab.pki.authorities import LabPki
from ibcm_bridge.lab.protocol.client import LabClient, Response
from ibcm_bridge.lab.protocol.content import content
from ibcm_bridge.lab.site_systems.cloud_distribution_point import (
    SIZE,
    VALID_SECONDS,
    AccessTokens,
    CloudDistributionPoint,
)

NAME = "cloud.internet.example"
FILE = "/SMS_DP_SMSPKG$/EUR00002/sccm?/a.msi"
TOKENS = AccessTokens()
PKI = LabPki.make(now=datetime.now(UTC))


@pytest.fixture(scope="module")
def client() -> Iterator[LabClient]:
    with CloudDistributionPoint(PKI.server(NAME), TOKENS) as cloud:
        client = LabClient(cloud.address, NAME, trust=PKI.root, credential=None)
        with client:
            yield client


def get(client: LabClient, file: str, token: str) -> Response:
    return client.request("GET", file, {"Authorization": f"Bearer {token}"})


def test_a_token_opens_its_content(client: LabClient) -> None:
    response = get(client, FILE, TOKENS.issue("EUR00002"))
    assert (response.status, response.body) == (200, content(0, SIZE))


def test_without_a_token_there_is_no_content(client: LabClient) -> None:
    assert client.request("GET", FILE).status == 401


@pytest.mark.parametrize(
    ("file", "token", "status"),
    [
        (FILE, TOKENS.issue("EUR00003"), 403),
        (FILE, AccessTokens().issue("EUR00002"), 403),
        (FILE, "", 403),
        ("/SMS_DP_SMSPKG$/EUR00002/other", TOKENS.issue("EUR00002"), 404),
        ("/other/EUR00002/sccm?/a.msi", TOKENS.issue("EUR00002"), 404),
    ],
)
def test_other_requests_are_refused(client: LabClient, file: str, token: str, status: int) -> None:
    assert get(client, file, token).status == status


def test_a_token_ends_after_a_day() -> None:
    token = TOKENS.issue("EUR00002", now=1_000)
    assert TOKENS.accepts(token, "EUR00002", now=1_000 + VALID_SECONDS - 1)
    assert not TOKENS.accepts(token, "EUR00002", now=1_000 + VALID_SECONDS)
    later = token.replace(str(1_000 + VALID_SECONDS), str(2_000 + VALID_SECONDS))
    assert not TOKENS.accepts(later, "EUR00002", now=1_000)
