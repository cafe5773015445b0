"""Tests that take minutes: `make soak`. The tests of a folder above do not collect them."""

from __future__ import annotations

import pytest

from tests.integration.lab_fixtures import credentials, pki, site_systems

__all__ = ["credentials", "minutes", "pki", "site_systems"]


@pytest.fixture(scope="session")
def minutes(request: pytest.FixtureRequest) -> float:
    return float(request.config.getoption("minutes"))
