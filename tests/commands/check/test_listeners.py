"""`check` reports listen addresses that cannot be bound, and names that no client can send."""

import dataclasses

import pytest

from ibcm_bridge.commands.check.findings import Finding, Level
from ibcm_bridge.commands.check.listen_addresses import listen_addresses
from ibcm_bridge.commands.check.listeners import check_listeners
from ibcm_bridge.policy.addresses import Address
from ibcm_bridge.policy.publications import Listener, TunnelPublication

HOSTS = {"localhost": {"127.0.0.1", "::1"}, "bridge": {"192.0.2.7"}}


def resolve(address: Address) -> frozenset[str] | str:
    return frozenset(HOSTS.get(address[0], {address[0]}))


def listener(address: Address, name: str = "mp.internet.example") -> Listener:
    tunnel = TunnelPublication(name, 443, (("192.0.2.9", 443),), ())
    return Listener(address, {name: tunnel})


def found(*addresses: Address) -> list[Finding]:
    return list(check_listeners([listener(address) for address in addresses], resolve))


@pytest.mark.parametrize(
    ("first", "second"),
    [
        ("0.0.0.0", "127.0.0.1"),
        ("127.0.0.1", "0.0.0.0"),
        ("0.0.0.0", "localhost"),
        ("127.0.0.1", "localhost"),
        ("::", "localhost"),
        ("::", "0:0::1"),
        ("bridge", "192.0.2.7"),
    ],
)
def test_two_listeners_on_one_address_are_a_problem(first: str, second: str) -> None:
    (problem,) = found((first, 443), (second, 443))
    assert problem.level is Level.PROBLEM
    assert "`run` would fail to start" in problem.text
    assert found((first, 443), (second, 444)) == []
    assert found((first, 0), (second, 0)) == []


@pytest.mark.parametrize(
    ("first", "second"),
    [("0.0.0.0", "::"), ("::", "127.0.0.1"), ("127.0.0.1", "127.0.0.2"), ("bridge", "localhost")],
)
def test_different_addresses_can_share_a_port(first: str, second: str) -> None:
    assert found((first, 443), (second, 443)) == []


def test_a_host_that_does_not_resolve_is_a_problem() -> None:
    bad = listener(("bridge.invalid", 443))
    (problem,) = check_listeners([bad], lambda _: "Name or service not known")
    assert (problem.level, problem.where) == (Level.PROBLEM, "bridge.invalid:443")
    assert "cannot resolve the listen address (Name or service not known)" in problem.text


def test_hosts_are_resolved_on_this_machine() -> None:
    assert listen_addresses(("127.0.0.1", 443)) == {"127.0.0.1"}
    assert listen_addresses(("::1", 443)) == {"::1"}
    localhost = listen_addresses(("localhost", 443))
    assert not isinstance(localhost, str)
    assert localhost <= {"127.0.0.1", "::1"}
    # RFC 6761 section 6.4: .invalid never resolves.
    assert isinstance(listen_addresses(("bridge.invalid", 443)), str)
    assert listen_addresses(("x" * 64, 443)) == "not a host name"


def test_an_ip_address_is_not_a_server_name() -> None:
    named = listener(("127.0.0.1", 443), "192.0.2.1")
    (problem,) = check_listeners([named], resolve)
    assert (problem.level, problem.requirement) == (Level.PROBLEM, "DNS-INTERNET-FQDN")
    assert problem.where == "127.0.0.1:443: 192.0.2.1"
    # For an IP address, clients send no server name; without_sni serves them.
    assert (
        list(check_listeners([dataclasses.replace(named, without_sni="192.0.2.1")], resolve)) == []
    )
