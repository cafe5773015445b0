"""Load balancers that name the client; tests/repository/test_exported_balancers.py runs them."""

from __future__ import annotations

from pathlib import Path

from ibcm_bridge.export.proxies import PROXIES
from ibcm_bridge.export.writing import Place

from .conftest import Load

PLACE = Place("bridge.yaml", "0123456789abcdef", Path("/files"))
LISTENERS = (
    'listeners:\n  "127.0.0.1:8531":\n    proxy_protocol: {from: [10.0.0.8, fd00::/8]}\n'
    "\npublications:\n"
)
EXPRESSION = (
    "Require expr \"%{CONN_REMOTE_ADDR} -ipmatch '10.0.0.8/32' || "
    "%{CONN_REMOTE_ADDR} -ipmatch 'fd00::/8'\""
)


def apache(load: Load, *replacements: tuple[str, str]) -> str:
    return PROXIES["apache"].export(load(*replacements), PLACE).text


def test_apache_reads_no_header_without_balancers(load: Load) -> None:
    text = apache(load)
    assert "remoteip" not in text.lower()
    assert "CONN_REMOTE_ADDR" not in text


def test_apache_serves_only_the_balancers_of_an_address(load: Load) -> None:
    text = apache(load, ("publications:\n", LISTENERS))
    assert "LoadModule remoteip_module" in text
    hosts = text.split("<VirtualHost ")[1:]
    assert {host.partition(">")[0] for host in hosts if "RemoteIPProxyProtocol On" in host} == {
        "127.0.0.1:8531"
    }
    for host in hosts:
        # A second section would replace the first one.
        assert host.count('<Location "/">') <= 1
        behind = host.startswith("127.0.0.1:8531>")
        refused = "Require all denied" in host
        assert ("RemoteIPProxyProtocol On" in host) == behind
        assert (EXPRESSION in host) == (behind and not refused)
