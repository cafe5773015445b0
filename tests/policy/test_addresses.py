"""Addresses as text, and from sockets."""

from __future__ import annotations

import pytest

from ibcm_bridge.policy.addresses import Address, address_text, host_text, socket_address


@pytest.mark.parametrize(
    ("address", "text"),
    [
        (("192.0.2.1", 443), "192.0.2.1:443"),
        (("mp.corp.example", 443), "mp.corp.example:443"),
        (("::", 443), "[::]:443"),
        (("2001:db8::1", 8531), "[2001:db8::1]:8531"),
        (("fe80::1%eth0", 443), "[fe80::1%eth0]:443"),
    ],
)
def test_an_ipv6_address_has_brackets(address: Address, text: str) -> None:
    assert address_text(address) == text
    assert host_text(address[0]) == text.rpartition(":")[0]


@pytest.mark.parametrize(
    ("name", "address"),
    [
        (("192.0.2.1", 443), ("192.0.2.1", 443)),
        (("2001:db8::1", 443, 0, 0), ("2001:db8::1", 443)),
        (("fe80::1", 443, 0, 2), ("fe80::1%2", 443)),
        (("fe80::1%eth0", 443, 0, 2), ("fe80::1%eth0", 443)),
    ],
)
def test_the_zone_of_a_socket_is_kept(name: tuple[object, ...], address: Address) -> None:
    assert socket_address(name) == address
