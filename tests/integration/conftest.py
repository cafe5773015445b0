"""Fixtures: one perimeter serves a module; `lab` starts each test with clean records."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from ibcm_bridge.lab.perimeter.perimeter import Perimeter
from ibcm_bridge.lab.pki.authorities import LabPki
from ibcm_bridge.lab.pki.files import shipped_policy
from ibcm_bridge.lab.site_systems.site_systems import SiteSystems
from tests.integration.credentials import Credentials
from tests.integration.lab import Lab
from tests.integration.lab_fixtures import credentials, pki, site_systems
from tests.integration.raw_site_system import RawSiteSystem
from tests.integration.worker_bridges import own
from tests.needs import demand

__all__ = ["credentials", "own", "pki", "site_systems"]
"""Fixtures that the tests here use, too."""


@pytest.fixture(scope="session")
def credential_files(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("credentials")


@pytest.fixture(scope="module")
def raw_site_system(pki: LabPki) -> Iterator[RawSiteSystem]:
    with RawSiteSystem(pki) as raw:
        yield raw


@pytest.fixture
def raw(raw_site_system: RawSiteSystem) -> Iterator[RawSiteSystem]:
    """The raw site system of the module, whose scripts must not fail."""
    yield raw_site_system
    raw_site_system.check_scripts()


@pytest.fixture(scope="module")
def policy() -> dict[str, Any]:
    """The shipped policy, for a module to change."""
    loaded: dict[str, Any] = yaml.safe_load(shipped_policy())
    return loaded


@pytest.fixture(scope="module")
def change_policy() -> None:
    """Overridden by modules that need another policy: they change `policy` in place."""


@pytest.fixture(scope="module")
def run_options() -> tuple[str, ...]:
    """Overridden by modules that run the bridge with more options."""
    return ()


@pytest.fixture(scope="module")
def module_lab(
    pki: LabPki,
    credentials: Credentials,
    credential_files: Path,
    site_systems: SiteSystems,
    policy: dict[str, Any],
    change_policy: None,
    run_options: tuple[str, ...],
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[Lab]:
    demand("curl", "openssl")
    with Perimeter(
        tmp_path_factory.mktemp("bridge"),
        pki=pki,
        clients=credentials.clients,
        site=site_systems,
        policy=yaml.safe_dump(policy),
        options=run_options,
    ) as perimeter:
        bridge = perimeter.bridge
        lab = Lab(perimeter, credentials, files=credential_files)
        yield lab
        assert bridge.stop() == 0
    said = "".join(bridge.lines)
    assert "Traceback" not in said, said
    assert "ERROR" not in said, said
    assert "CRITICAL" not in said, said


@pytest.fixture
def lab(module_lab: Lab) -> Iterator[Lab]:
    module_lab.clear()
    yield module_lab
    module_lab.check_nothing_leaked()
    defects = [record for record in module_lab.audit() if record.get("reason") == "bridge-defect"]
    assert not defects, (defects, "".join(module_lab.bridge.lines))


@pytest.fixture(scope="session")
def run_command() -> Callable[..., subprocess.CompletedProcess[str]]:
    """`ibcm-bridge` with these arguments, to its end."""

    def run(*arguments: str, cwd: Path | None = None) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-m", "ibcm_bridge", *arguments],
            capture_output=True,
            text=True,
            timeout=30,
            check=False,
            cwd=cwd,
            env={**os.environ, "PYTHONDONTWRITEBYTECODE": "1"},
        )

    return run
