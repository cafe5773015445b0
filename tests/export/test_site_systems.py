"""Lists of site systems in exported configurations. tests/repository runs them."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from ibcm_bridge.export.exported import ExportError
from ibcm_bridge.export.proxies import PROXIES
from ibcm_bridge.export.writing import Place

from .conftest import Load

ONE = (
    "        site_system: https://mp01.corp.example\n"
    "        connect: 127.0.0.1:9443      # where to connect, if the name does not resolve to it\n"
)


def role(*items: str, order: str = "as-listed") -> tuple[str, str]:
    """The replacement of the management point's site system by a list."""
    rows = "".join(f"          - {{site_system: {item}}}\n" for item in items)
    return ONE, f"        order: {order}\n        site_system:\n{rows}"


FIRST = "https://list1.corp.example, connect: 127.0.0.1:9443"
SECOND = "https://list2.corp.example, connect: 10.0.0.2:443"
THIRD = "https://list3.corp.example, connect: 10.0.0.3:443"
OLD = f'{SECOND}, highest_tls: "1.2"'


def exported(proxy: str, load: Load, *replacements: tuple[str, str]) -> str:
    place = Place("bridge.yaml", "0123456789abcdef", Path("/files"))
    return PROXIES[proxy].export(load(*replacements), place).text


@pytest.mark.parametrize(
    ("proxy", "name"),
    [
        ("nginx", "proxy_ssl_name list{}.corp.example;"),
        ("haproxy", "verifyhost list{}.corp.example "),
        ("apache", 'BalancerMember "https://list{}.corp.example:'),
        ("envoy", 'exact: "list{}.corp.example"'),
    ],
)
def test_each_site_system_has_its_own_name(proxy: str, name: str, load: Load) -> None:
    text = exported(proxy, load, role(FIRST, SECOND, THIRD))
    assert all(name.format(number) in text for number in (1, 2, 3))


def test_nginx_never_repeats_a_request_that_it_sent(load: Load) -> None:
    text = exported("nginx", load, role(FIRST, SECOND, THIRD))
    assert set(re.findall(r"proxy_next_upstream .*", text.partition("\nhttp {")[2])) == {
        "proxy_next_upstream off;"
    }
    first_lines = re.findall(r"location @site_\S+ \{\n +# .*\n +(.*)\n", text)
    assert first_lines == ['if ($upstream_connect_time ~ "[0-9]") { return 502; }'] * 2
    # Without this, error_page leads only to the second.
    assert text.count("recursive_error_pages on;") == 2


@pytest.mark.parametrize("proxy", PROXIES)
def test_all_attempts_together_have_the_time_to_connect(proxy: str, load: Load) -> None:
    share = {
        "nginx": "proxy_connect_timeout 10s;",
        "haproxy": "timeout connect 10000ms",
        "apache": "connectiontimeout=10",
        "envoy": ' connect_timeout: "10s"',
    }[proxy]
    assert share not in exported(proxy, load)
    assert share in exported(proxy, load, role(FIRST, SECOND, THIRD))


@pytest.mark.parametrize(
    ("proxy", "spread", "in_order"),
    [
        ("nginx", "split_clients $client_key", "@site_1_1_1_2"),
        ("haproxy", "balance hash var(txn.client)", "balance first"),
        ("envoy", 'lb_policy: "RING_HASH"', "priority: 1"),
    ],
)
def test_clients_are_spread_only_if_the_policy_says_so(
    proxy: str, spread: str, in_order: str, load: Load
) -> None:
    listed = exported(proxy, load, role(FIRST, SECOND))
    assert (spread in listed, in_order in listed) == (False, True)
    assert spread in exported(proxy, load, role(FIRST, SECOND, order="by-client"))


def test_nginx_tries_every_site_system_of_a_client(load: Load) -> None:
    text = exported("nginx", load, role(FIRST, SECOND, THIRD, order="by-client"))
    maps = re.findall(r"map \$first_1_1_1 \$name_1_1_1_\d \{\n((?: {8}.*\n)+)", text)
    chosen = [re.findall(r"\d list(\d)\.corp\.example;", lines) for lines in maps]
    assert ["".join(numbers) for numbers in chosen] == ["123", "231", "312"]


def test_other_tls_settings_of_a_site_system_are_its_own(load: Load) -> None:
    assert "proxy_ssl_protocols TLSv1.2;" in exported("nginx", load, role(FIRST, OLD))
    assert "ssl-max-ver TLSv1.2" in exported("haproxy", load, role(FIRST, OLD))
    legs = exported("envoy", load, role(FIRST, OLD)).partition("clusters:")[2]
    assert 'tls_maximum_protocol_version: "TLSv1_2"' in legs


def test_a_list_that_a_proxy_cannot_write_is_refused(load: Load) -> None:
    with pytest.raises(ExportError, match="management-point: with order: by-client, nginx has one"):
        exported("nginx", load, role(FIRST, OLD, order="by-client"))
    with pytest.raises(ExportError, match="Apache has one TLS setting for all site systems"):
        exported("apache", load, role(FIRST, OLD))
    same = f"{SECOND}, verify_name: list1.corp.example"
    with pytest.raises(ExportError, match=r"a name, which cannot have the addresses 127\.0\.0\.1"):
        exported("apache", load, role(FIRST, same))


def test_apache_loads_the_modules_of_balancers_only_for_lists(load: Load) -> None:
    assert "mod_proxy_balancer" not in exported("apache", load)
    assert "mod_proxy_balancer" in exported("apache", load, role(FIRST, SECOND))
