"""One bridge in front of a scripted site system, of one that is down, and of the stand-ins."""

from __future__ import annotations

from typing import Any

import pytest

from tests.integration.raw_site_system import RawSiteSystem
from tests.integration.site_system_leg.publications import DOWN, PORTS, SLOW_SECONDS


@pytest.fixture(scope="module")
def change_policy(policy: dict[str, Any], raw_site_system: RawSiteSystem) -> None:
    (bridge, *_) = policy["publications"]
    management_points = {
        "raw": raw_site_system.address,
        "down": DOWN,
        "good": ("127.0.0.1", 9443),
    }
    policy["publications"] = []
    for name, (host, port) in management_points.items():
        roles = bridge["roles"]
        point = {**roles["management-point"], "connect": f"{host}:{port}"}
        policy["publications"].append(
            {
                **bridge,
                "listen": f"127.0.0.1:{PORTS[name]}",
                "roles": {**roles, "management-point": point},
            }
        )
    policy["limits"] = {"response_seconds": SLOW_SECONDS, "connect_seconds": SLOW_SECONDS}
