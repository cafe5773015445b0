"""Running site systems for the tests of a file."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime

import pytest

from ibcm_bridge.lab.pki.authorities import LabPki
from ibcm_bridge.lab.site_systems.site_systems import SiteSystems
from tests.lab.site_systems.running import SIZE, Lab


@pytest.fixture(scope="module")
def running_lab() -> Iterator[Lab]:
    pki = LabPki.make(now=datetime.now(UTC))
    computer = pki.computer("pc1.corp.example")
    revoked = pki.revoked_computer("pc2.corp.example")
    with SiteSystems(pki, download_bytes=SIZE) as site:
        yield Lab(pki, computer, revoked, site)


@pytest.fixture
def lab(running_lab: Lab) -> Lab:
    running_lab.site.clear()
    return running_lab
