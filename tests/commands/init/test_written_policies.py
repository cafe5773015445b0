"""Each policy that `init` writes passes `check`; otherwise it writes nothing and says why."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from ibcm_bridge.commands.main import main
from tests.commands.init.options import MANY, NAMES, OWN, options

NAME_PREFIXES = ("", *(f"{name}=" for name in (*NAMES, OWN)))
PORTS = ("0.0.0.0:443", "0.0.0.0:8531", "0.0.0.0:80")


def site_systems(scheme: str, *prefixes: str) -> st.SearchStrategy[list[str]]:
    hosts = [f"{scheme}s{number}.corp.example,10.0.0.{number}:443" for number in (1, 2)]
    if not scheme:
        hosts = ["10.0.0.1:443", "10.0.0.2:443"]
    texts = [f"{prefix}{host}" for prefix in prefixes for host in hosts]
    return st.lists(st.sampled_from(texts), max_size=2)


CHANGES = {
    "management_point": site_systems("https://", *NAME_PREFIXES),
    "distribution_point": site_systems("https://", *NAME_PREFIXES),
    "software_update_point": site_systems("https://", *NAME_PREFIXES),
    "fallback_status_point": site_systems("http://", "", f"{OWN}="),
    "application_catalog_website_point": site_systems("https://", *NAME_PREFIXES[1:]),
    "policy_module": site_systems("https://", *NAME_PREFIXES[1:])
    | site_systems("", *NAME_PREFIXES[1:]),
    "enrollment_proxy_point": site_systems("", *NAME_PREFIXES[1:]),
    "tunnel": site_systems("", *NAME_PREFIXES[1:]),
    "clients": st.lists(
        st.sampled_from(["computer", "user", f"{NAMES[0]}=user", f"{NAMES[1]}=either"]), max_size=2
    ),
    "certificate_of": st.lists(
        st.sampled_from([f"{OWN}=pki/own.pfx,pki/pass.txt", f"{NAMES[0]}=pki/own.pem,pki/own.key"]),
        max_size=2,
    ),
    "listen": st.sampled_from(PORTS[:1] * 4 + PORTS),
    "update_listen": st.sampled_from(PORTS),
    "status_listen": st.sampled_from(PORTS),
}


@given(names=st.sets(st.sampled_from(sorted(CHANGES)), min_size=1, max_size=4), data=st.data())
@settings(
    max_examples=60,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
def test_a_written_policy_passes_check(
    names: set[str], data: st.DataObject, home: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    policy = home / "policy.yaml"
    policy.unlink(missing_ok=True)
    changes = {name: data.draw(CHANGES[name], label=name) for name in sorted(names)}
    capsys.readouterr()
    status = main(options(**{**MANY, **changes}))
    printed = capsys.readouterr()
    assert policy.exists() == (status == 0)
    if status == 0:
        assert main(["check", "--config", "policy.yaml"]) == 0
        return
    # A conflict of options is found before there is a policy with line numbers.
    assert "policy.yaml:" not in printed.err
    assert "PROBLEM" in printed.out or printed.err.startswith("ibcm-bridge init: ")
