"""Settings of addresses: load balancers that may name the client, and limits for one source."""

from __future__ import annotations

from ipaddress import ip_network

import pytest

from ibcm_bridge.policy.policy import PerSource
from ibcm_bridge.policy.site_systems import PerSiteSystem
from tests.policy_file.conftest import Load
from tests.policy_samples import Problems, plaintext, sample, tunnel

FROM = """\
version: 1
listeners:
  {address}: {{proxy_protocol: {{from: {networks}}}}}
publications:
"""


def with_balancers(networks: str, address: str = "127.0.0.1:1", publication: str = "") -> str:
    head = FROM.format(address=address, networks=networks)
    return sample(publication or tunnel(), head=head)


@pytest.fixture
def listen() -> str:
    """The listen address of the samples."""
    return next(
        line.partition("listen: ")[2].strip() for line in tunnel().splitlines() if "listen:" in line
    )


def test_nobody_names_a_client_by_default(load: Load) -> None:
    assert load(sample(tunnel())).listeners[0].balancers == ()


def test_networks_of_load_balancers(load: Load, listen: str) -> None:
    text = with_balancers("[10.0.0.8, 10.1.0.0/24, '2001:db8::/64']", listen)
    expected = tuple(map(ip_network, ("10.0.0.8", "10.1.0.0/24", "2001:db8::/64")))
    assert load(text).listeners[0].balancers == expected


def test_a_plaintext_listener_has_them_too(load: Load) -> None:
    published = plaintext()
    listen = next(part for part in published.replace(",", " ").split() if part.endswith(":80"))
    text = with_balancers("[10.0.0.8]", listen, published)
    assert load(text).listeners[0].balancers == (ip_network("10.0.0.8"),)


@pytest.mark.parametrize(
    ("networks", "message"),
    [
        ("[]", "from: "),
        ("[10.0.0.1/24]", "from.0: 10.0.0.1/24 is not an IP network; write one such as"),
        ("[10.0.0.8, 10.0.0.256]", "from.1: 10.0.0.256 is not an IP network"),
        ("[10.0.0.0/33]", "from.0: 10.0.0.0/33 is not an IP network"),
        ("[0.0.0.0/0]", "from.0: 0.0.0.0/0 has every address; write a smaller network"),
        ("['::/0']", "from.0: ::/0 has every address"),
        ("[balancer]", "from.0: "),
    ],
)
def test_an_unusable_network_is_reported(
    problems: Problems, listen: str, networks: str, message: str
) -> None:
    [(line, problem)] = problems(with_balancers(networks, listen))
    assert line == 3
    assert message in problem


def test_the_address_must_be_that_of_a_publication(problems: Problems) -> None:
    [(line, problem)] = problems(with_balancers("[10.0.0.8]", "192.0.2.1:9"))
    assert (line, problem) == (
        3,
        "listeners.192.0.2.1:9: no publication has listen: 192.0.2.1:9; write the same address",
    )


def test_an_address_without_a_port_is_reported(problems: Problems) -> None:
    [(line, problem)] = problems(with_balancers("[10.0.0.8]", "balancer"))
    assert line == 3
    assert "an address and a port number" in problem


def test_a_misspelt_key_is_reported_with_the_right_one(problems: Problems, listen: str) -> None:
    text = with_balancers("[10.0.0.8]", listen).replace("from:", "form:")
    [(_, problem)] = problems(text)
    assert "form: unknown key; did you mean from?" in problem


def with_limits(per_source: str) -> str:
    head = f"version: 1\nlimits:\n  per_source: {per_source}\npublications:\n"
    return sample(tunnel(), head=head)


def test_a_source_has_no_limit_by_default(load: Load) -> None:
    assert load(sample(tunnel())).per_source == PerSource()


def test_limits_for_one_source(load: Load) -> None:
    exceptions = "[{networks: [203.0.113.0/24, '::1'], because: a large branch}]"
    text = f"{{connections: 100, handshakes_per_minute: 600, exceptions: {exceptions}}}"
    networks = map(ip_network, ("203.0.113.0/24", "::1"))
    expected = PerSource(100, 600, dict.fromkeys(networks, "a large branch"))
    assert load(with_limits(text)).per_source == expected


@pytest.mark.parametrize(
    ("per_source", "message"),
    [
        ("{connections: 0}", "limits.per_source.connections: out of range"),
        ("{handshakes_per_minute: 0}", "limits.per_source.handshakes_per_minute: out of range"),
        ("{exceptions: [{networks: [10.0.0.8]}]}", "exceptions.0.because: this key is missing"),
        (
            "{exceptions: [{networks: [10.0.0.1/8], because: a branch}]}",
            "limits.per_source.exceptions.0.networks.0: 10.0.0.1/8 is not an IP network",
        ),
    ],
)
def test_an_unusable_limit_is_reported(problems: Problems, per_source: str, message: str) -> None:
    [(line, problem)] = problems(with_limits(per_source))
    assert line == 3
    assert message in problem


def with_breaker(per_site_system: str) -> str:
    head = f"version: 1\nlimits:\n  per_site_system: {per_site_system}\npublications:\n"
    return sample(tunnel(), head=head)


def test_limits_for_failing_site_systems(load: Load) -> None:
    assert load(sample(tunnel())).per_site_system == PerSiteSystem(3, 60, 30)
    text = "{failures: 5, within_seconds: 120, probe_seconds: 2.5}"
    assert load(with_breaker(text)).per_site_system == PerSiteSystem(5, 120, 2.5)
    assert load(with_breaker("{failures: 1}")).per_site_system == PerSiteSystem(failures=1)


@pytest.mark.parametrize(
    ("per_site_system", "message"),
    [
        ("{failures: 0}", "limits.per_site_system.failures: out of range"),
        ("{probe_seconds: 4000}", "limits.per_site_system.probe_seconds: out of range"),
        ("{window: 1}", "limits.per_site_system.window: unknown key"),
    ],
)
def test_an_unusable_limit_of_site_systems_is_reported(
    problems: Problems, per_site_system: str, message: str
) -> None:
    [(line, problem)] = problems(with_breaker(per_site_system))
    assert line == 3
    assert message in problem
