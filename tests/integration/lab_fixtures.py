"""Fixtures of all tests that run a bridge as a process, here and in tests/soak."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime

import pytest

from ibcm_bridge.lab.pki.authorities import LabPki
from ibcm_bridge.lab.site_systems.site_systems import SiteSystems
from tests.integration.credentials import Credentials


@pytest.fixture(scope="session")
def pki() -> LabPki:
    return LabPki.make(now=datetime.now(UTC))


@pytest.fixture(scope="session")
def credentials(pki: LabPki) -> Credentials:
    """Made before any revocation list is."""
    return Credentials.make(pki)


@pytest.fixture(scope="module")
def site_systems(pki: LabPki, credentials: Credentials) -> Iterator[SiteSystems]:
    with SiteSystems(pki) as site:
        yield site
