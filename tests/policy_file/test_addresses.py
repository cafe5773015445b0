"""Addresses in a policy file: IPv6 in brackets, in every key with an address."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

import pytest

from ibcm_bridge.lab.pki.files import make_pki
from ibcm_bridge.policy.addresses import Address
from ibcm_bridge.policy.policy import Policy
from ibcm_bridge.policy.publications import (
    PlaintextPublication,
    TunnelPublication,
)
from ibcm_bridge.policy_file import PolicyError, load_policy

Changed = Callable[[str, str], Policy]


@pytest.fixture
def changed(tmp_path: Path) -> Changed:
    """The shipped policy with one text replaced."""
    make_pki(tmp_path)
    path = tmp_path / "bridge.yaml"
    shipped = path.read_text("utf-8")

    def load(old: str, new: str) -> Policy:
        assert old in shipped
        path.write_text(shipped.replace(old, new, 1), "utf-8")
        return load_policy(path)

    return load


IPV6: list[tuple[str, Address]] = [
    ('"[::]:443"', ("::", 443)),
    ('"[2001:DB8:0::1]:8443"', ("2001:db8::1", 8443)),
    ('"[fe80::1%eth0]:443"', ("fe80::1%eth0", 443)),
    ('"[fe80::1%2]:443"', ("fe80::1%2", 443)),
]


@pytest.mark.parametrize(("text", "address"), IPV6)
def test_a_listener_may_have_an_ipv6_address(changed: Changed, text: str, address: Address) -> None:
    policy = changed("listen: 127.0.0.1:8443", f"listen: {text}")
    assert policy.listeners[0].address == address
    (publication,) = policy.listeners[0].published
    assert publication.public_port == address[1]


@pytest.mark.parametrize(("text", "address"), IPV6)
def test_a_site_system_may_have_an_ipv6_address(
    changed: Changed, text: str, address: Address
) -> None:
    bridged = next(changed("connect: 127.0.0.1:9443", f"connect: {text}").bridged())[1]
    site_system = bridged.directories["sms_mp"].site_systems.first
    assert (site_system.name, site_system.address) == ("mp01.corp.example", address)
    policy = changed("\n    site_system: 127.0.0.1:9443", f"\n    site_system: {text}")
    tunnels = [found for _, found in policy.publications() if isinstance(found, TunnelPublication)]
    assert tunnels[0].site_systems == (address,)


@pytest.mark.parametrize(
    ("url", "address"),
    [
        ("http://[2001:db8::7]", ("2001:db8::7", 80)),
        ("http://[2001:DB8::7]:8080/", ("2001:db8::7", 8080)),
        ("http://fsp01.corp.example:8080", ("fsp01.corp.example", 8080)),
        ("http://192.0.2.7", ("192.0.2.7", 80)),
    ],
)
def test_a_plaintext_site_system_may_have_an_address_instead_of_a_name(
    changed: Changed, url: str, address: Address
) -> None:
    shipped = "http://fsp01.corp.example\n        connect: 127.0.0.1:9446"
    policy = changed(shipped, f'"{url}"')
    (plain,) = (
        found for _, found in policy.publications() if isinstance(found, PlaintextPublication)
    )
    site_system = plain.directories["sms_fsp"].site_systems.first
    assert (site_system.name, site_system.address) == (address[0], address)


def test_revocation_lists_may_be_fetched_from_an_ipv6_address(
    changed: Changed, tmp_path: Path
) -> None:
    url = "http://[2001:db8::5]:8080/root.crl"
    bridged = next(changed(*_fetched(url, tmp_path)).bridged())[1]
    assert bridged.client_trust is not None
    assert bridged.client_trust.revocation.fetch is not None
    assert bridged.client_trust.revocation.fetch.urls == (url,)


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        (("listen: 127.0.0.1:8443", 'listen: "[::1::2]:443"'), "is not an IPv6 address"),
        (("listen: 127.0.0.1:8443", 'listen: "[192.0.2.1]:443"'), "is not an IPv6 address"),
        (("listen: 127.0.0.1:8443", 'listen: "::1:443"'), "listen: "),
        (("listen: 127.0.0.1:8443", 'listen: "[fe80::1%]:443"'), "listen: "),
        (("https://mp01.corp.example", "https://[2001:db8::1]"), "site_system: "),
    ],
)
def test_an_invalid_address_is_a_problem(
    changed: Changed, change: tuple[str, str], problem: str
) -> None:
    with pytest.raises(PolicyError, match=problem):
        changed(*change)


@pytest.mark.parametrize(
    ("host", "problem"),
    [
        ("[::1::2]", "urls.0: [::1::2] is not an IPv6 address"),
        ("pki.corp.example:65536", "urls.0: 65536 is not a port"),
        ("pki.corp.example:0", "urls.0: 0 is not a port"),
        ("[2001:db8::5]:99999", "urls.0: 99999 is not a port"),
    ],
)
def test_the_address_in_a_fetch_url_is_checked(
    changed: Changed, tmp_path: Path, host: str, problem: str
) -> None:
    with pytest.raises(PolicyError, match=re.escape(problem)):
        changed(*_fetched(f"http://{host}/root.crl", tmp_path))


@pytest.mark.parametrize(
    ("old", "url", "problem"),
    [
        ("https://mp01.corp.example", "https://mp01.corp.example:65536", "65536 is not a port"),
        ("https://mp01.corp.example", "https://mp01.corp.example:0", "0 is not a port"),
        ("http://fsp01.corp.example", "http://fsp01.corp.example:65536", "65536 is not a port"),
        ("http://fsp01.corp.example", "'http://[::1::2]'", "[::1::2] is not an IPv6 address"),
    ],
)
def test_the_address_in_a_site_system_url_is_checked_although_connect_replaces_it(
    changed: Changed, old: str, url: str, problem: str
) -> None:
    with pytest.raises(PolicyError, match=re.escape(f"site_system: {problem}")):
        changed(old, url)


def _fetched(url: str, directory: Path) -> tuple[str, str]:
    (directory / "fetched").mkdir()
    crls = "crls: [pki/root.crl, pki/issuing.crl]"
    return crls, f'{crls}\n        fetch: {{urls: ["{url}"], folder: fetched}}'
