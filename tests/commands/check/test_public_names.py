"""`check --connect` looks up the names that clients on the Internet connect to."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from ibcm_bridge.commands.check.findings import Finding, Level
from ibcm_bridge.commands.check.public_names import addresses_of, check_names
from ibcm_bridge.policy.policy import Policy


def found(policy: Policy, addresses: dict[str, Sequence[str]]) -> dict[str, Finding]:
    def resolve(name: str) -> Sequence[str]:
        if name not in addresses:
            raise OSError(-2, "Name or service not known")
        return addresses[name]

    findings = list(check_names(policy, resolve))
    assert len(findings) == len({finding.where for finding in findings})
    return {finding.where.rpartition(" ")[2]: finding for finding in findings}


def test_each_published_name_is_looked_up_once(policy: Policy) -> None:
    names = [publication.name for _, publication in policy.publications()]
    assert len(names) > len(set(names)), "one of them is on two listeners"
    assert any("tunnel" in name for name in names)
    assert found(policy, {}).keys() == set(names)


def test_the_addresses_of_a_name_are_reported(policy: Policy) -> None:
    addresses = {
        "bridge.internet.example": ["8.8.8.8", "2001:4860:4860::8888"],
        "mp-tunnel.internet.example": ["10.0.0.7"],
    }
    findings = found(policy, addresses)
    bridge, tunnel = (findings[name] for name in addresses)
    assert (bridge.level, bridge.text) == (
        Level.FACT,
        "resolves to 8.8.8.8, 2001:4860:4860::8888",
    )
    assert bridge.where == "127.0.0.1:8443: bridge.internet.example"
    assert (tunnel.level, tunnel.text) == (Level.FACT, "resolves to 10.0.0.7 (not public)")


def test_a_name_that_cannot_be_resolved_is_a_warning(policy: Policy) -> None:
    finding = found(policy, {})["bridge.internet.example"]
    assert (finding.level, finding.requirement) == (Level.WARNING, "DNS-INTERNET-FQDN")
    assert finding.text == (
        "cannot be resolved here (Name or service not known); clients need it in public DNS"
    )


def test_the_resolver_of_this_machine_is_used() -> None:
    assert "127.0.0.1" in addresses_of("localhost") or "::1" in addresses_of("localhost")
    with pytest.raises(OSError, match="not a host name"):
        addresses_of("a" * 64 + ".example")
