"""An exported proxy that lends a signed-in leg to another client fails the checks of `users`."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import pytest

from ibcm_bridge.conformance.collection import all_checks
from ibcm_bridge.conformance.runner import run_checks
from ibcm_bridge.export.exported import Export
from ibcm_bridge.export.model import ExportedPolicy
from ibcm_bridge.export.proxies import PROXIES, Proxy
from ibcm_bridge.export.writing import Place
from tests.needs import demand
from tests.repository.exported import NEEDED, outcomes, subject_behind

OF_ANOTHER_CLIENT = "users::sign_in_of_another_client"

LENDING = {
    "haproxy": ("http-reuse never", "http-reuse always"),
    "envoy": (
        "connection_pool_per_downstream_connection: true",
        "connection_pool_per_downstream_connection: false",
    ),
}
"""By proxy: the line that binds a leg to its client, and the one that does not."""


def users(proxy: Proxy) -> Mapping[str, str]:
    checks = [check for name, check in all_checks().items() if name.startswith("users::")]
    with subject_behind(proxy) as subject:
        return outcomes(list(run_checks(checks, subject, {})))


def lending(proxy: Proxy) -> Proxy:
    """Return the proxy with an export in which clients share the legs."""
    line, other = LENDING[proxy.name]

    def write(policy: ExportedPolicy, place: Place) -> Export:
        export = proxy.write(policy, place)
        assert line in export.text
        return replace(export, text=export.text.replace(line, other))

    return replace(proxy, write=write)


@pytest.mark.parametrize("name", LENDING)
def test_an_export_that_lends_legs_fails(name: str) -> None:
    demand(*NEEDED[name])
    proxy = PROXIES[name]
    assert {*users(proxy).values()} == {"pass"}
    assert users(lending(proxy))[OF_ANOTHER_CLIENT] == "fail"
