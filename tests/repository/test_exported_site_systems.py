"""Several site systems of a role, through other proxies with their exported configurations."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from hashlib import sha256
from ipaddress import IPv4Address
from pathlib import Path
from typing import Any

import pytest
import yaml

from ibcm_bridge.conformance.exchange import Exchange
from ibcm_bridge.conformance.kit import Client, Kit, make_kit, now
from ibcm_bridge.conformance.serving import serving
from ibcm_bridge.conformance.subject import Subject
from ibcm_bridge.export.proxies import PROXIES, Proxy
from ibcm_bridge.export.rules import ExportRule, Extent
from ibcm_bridge.lab.bridge.process import free_port, with_site_systems
from ibcm_bridge.lab.cases.case import BRIDGE, MP_TUNNEL
from ibcm_bridge.lab.cases.policy import FORGED, SECOND, WRONG_NAME, demo_policy
from ibcm_bridge.lab.cases.requests import PACKAGE, Senders, plain, state_message
from ibcm_bridge.lab.pki.authorities import LabPki
from ibcm_bridge.lab.protocol.client import Request, Response
from ibcm_bridge.lab.site_systems.published import PLAINTEXT_PORT, TLS_PORT
from ibcm_bridge.lab.site_systems.site_systems import Address, SiteSystems
from tests.integration.raw_site_system import Peer, RawSiteSystem
from tests.needs import demand
from tests.repository.exported import NEEDED, subject_of

MP, OTHER_MP = "mp01.corp.example", "mp-tunnel.internet.example"
"""The names in the certificate of a management point: two site systems of a list."""
DP, FSP = "dp01.corp.example", "fsp01.corp.example"
LIST = plain("GET", "/SMS_MP/.sms_aut?MPLIST")
FILE = plain("GET", PACKAGE)
LOST = {"haproxy": 3, "apache": 1}
"""Proxy -> the most requests that fail before it leaves out a site system with a wrong name."""
PLACES = {
    "listed": (BRIDGE.name, TLS_PORT),
    "spread": (SECOND.name, TLS_PORT),
    "wrong-first": (SECOND.name, TLS_PORT),
    "wrong-second": (BRIDGE.name, TLS_PORT),
    "foreign-second": (FORGED.name, TLS_PORT),
    "breaks": (WRONG_NAME.name, TLS_PORT),
    "tunnel": (MP_TUNNEL.name, TLS_PORT),
    "plaintext": ("fsp.internet.example", PLAINTEXT_PORT),
}


@dataclass
class Lab:
    """A proxy in front of two sets of site systems, and of one that breaks each connection."""

    proxy: Proxy
    subject: Subject
    kit: Kit
    pki: LabPki
    first: SiteSystems
    second: SiteSystems
    breaks: RawSiteSystem
    before: int = 0
    """Requests at the first set before the last `send`."""

    def send(self, to: str, make: Callable[[Senders], Request] = LIST) -> Exchange:
        """Send a request, and forget those before it."""
        self.subject.begin()
        self.before = len(self.first.received())
        self.second.clear()
        return self.subject.send(make, to=to)

    def arrived(self) -> tuple[int, int]:
        """The number of requests at the first and at the second set of site systems."""
        return len(self.first.received()) - self.before, len(self.second.received())


def message(size: int) -> Callable[[Senders], Request]:
    """A message of a client, with a body of `size` bytes. These proxies do not parse it."""
    head = (("User-Agent", "ccmhttp"), ("Content-Type", 'multipart/mixed; boundary="a"'))
    return lambda _: Request("CCM_POST", "/ccm_system/request", head, b"x" * size)


def read_only(peer: Peer) -> None:
    """Read a request head, and close the connection."""
    peer.read_head()


def listed(*places: tuple[str, Address], scheme: str = "https") -> list[dict[str, str]]:
    return [
        {"site_system": f"{scheme}://{name}", "connect": f"{host}:{port}"}
        for name, (host, port) in places
    ]


def with_lists(policy: str, first: SiteSystems, second: SiteSystems, breaks: Address) -> str:
    """The policy, with a list of site systems at each of `PLACES`."""
    closed = Address("127.0.0.1", free_port())
    mp, dp = first.addresses["management-point"], first.addresses["distribution-point"]
    other = second.addresses["management-point"]
    found = yaml.safe_load(policy)
    published = {
        (row["name"], int(row["listen"].rpartition(":")[2])): row for row in found["publications"]
    }

    def roles(place: str) -> dict[str, Any]:
        rows: dict[str, Any] = published[PLACES[place]]["roles"]
        return rows

    roles("listed")["management-point"] = {"site_system": listed((MP, mp), (OTHER_MP, other))}
    roles("wrong-second")["distribution-point"] = {
        "site_system": listed((DP, closed), (MP, dp)),
    }
    roles("spread")["management-point"] = {
        "site_system": listed((MP, mp), (OTHER_MP, other)),
        "order": "by-client",
    }
    roles("wrong-first")["distribution-point"] = {"site_system": listed((MP, dp), (DP, dp))}
    impostor = first.addresses["impostor"]
    roles("foreign-second")["management-point"] = {
        "site_system": listed((OTHER_MP, closed), (MP, impostor)),
    }
    roles("breaks")["management-point"] = {"site_system": listed((MP, breaks), (OTHER_MP, other))}
    fallback = first.addresses["fallback-status-point"]
    roles("plaintext")["fallback-status-point"] = {
        "site_system": listed(("fsp02.corp.example", closed), (FSP, fallback), scheme="http"),
    }
    tunnel = published[PLACES["tunnel"]]
    tunnel["site_system"] = [f"{host}:{port}" for host, port in (closed, other)]
    return yaml.dump(found, Dumper=_Plain, sort_keys=False)


class _Plain(yaml.SafeDumper):
    """Writes no anchors and aliases, which a policy file does not allow."""

    def ignore_aliases(self, data: Any) -> bool:
        return True


@pytest.fixture(scope="module", params=PROXIES.values(), ids=PROXIES)
def lab(request: pytest.FixtureRequest) -> Iterator[Lab]:
    proxy: Proxy = request.param
    demand(*NEEDED[proxy.name])
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary) / "kit"
        with serving(IPv4Address("127.0.0.1"), folder, fixed_ports=False) as first:
            kit, pki = make_kit(folder, None, now())
            with SiteSystems(pki) as second, RawSiteSystem(pki) as breaks:
                breaks.behave(read_only, pki.server(MP))
                policy = with_site_systems(demo_policy(), first)
                policy = with_lists(policy, first, second, breaks.address)
                with subject_of(proxy, policy, folder, kit, first, PLACES) as subject:
                    yield Lab(proxy, subject, kit, pki, first, second, breaks)


def status(exchange: Exchange) -> int:
    assert isinstance(exchange.result, Response), exchange.result
    return exchange.result.status


@pytest.mark.parametrize("make", [LIST, message(100)])
def test_a_request_that_was_sent_is_not_sent_to_another(
    lab: Lab, make: Callable[[Senders], Request]
) -> None:
    # The first site system reads the head, and closes the connection without a response.
    lab.breaks.peers.clear()
    exchange = lab.send("breaks", make)
    sent = [peer for peer in lab.breaks.peers if peer.received]
    assert len(sent) == 1
    assert lab.arrived() == (0, 0)
    assert not isinstance(exchange.result, Response) or exchange.result.status in (502, 503)


@pytest.mark.parametrize("to", ["wrong-second", "foreign-second"])
def test_a_second_site_system_with_a_wrong_certificate_gets_nothing(lab: Lab, to: str) -> None:
    make = FILE if to == "wrong-second" else LIST
    exchange = lab.send(to, make)
    assert status(exchange) in (500, 502, 503)
    assert lab.arrived() == (0, 0)


def test_each_site_system_has_its_own_name(lab: Lab) -> None:
    # The first has a wrong name; without one for each, the second would have, too.
    for _ in range(LOST.get(lab.proxy.name, 0)):
        exchange = lab.send("wrong-first", FILE)
        assert (status(exchange), lab.arrived()) in [(500, (0, 0)), (503, (0, 0)), (200, (1, 0))]
    exchange = lab.send("wrong-first", FILE)
    assert (status(exchange), lab.arrived()) == (200, (1, 0))
    assert lab.first.received()[-1].site_system == "distribution-point"


def test_clients_are_spread_by_their_certificate(lab: Lab) -> None:
    found: dict[int, set[tuple[int, int]]] = {}
    clients: Any = lab.kit.clients
    usual = clients[Client.COMPUTER]
    try:
        for number in range(12):
            clients[Client.COMPUTER] = lab.pki.computer(f"pc{number}.corp.example")
            for _ in range(2):
                assert status(lab.send("spread")) == 200
                found.setdefault(number, set()).add(lab.arrived())
    finally:
        clients[Client.COMPUTER] = usual
    assert all(len(places) == 1 for places in found.values()), found
    used = {place for places in found.values() for place in places}
    spreads = lab.proxy.statements[ExportRule.SPREAD].extent is not Extent.NO
    assert used == ({(1, 0), (0, 1)} if spreads else {(1, 0)})


def test_a_plaintext_role_has_a_second_site_system(lab: Lab) -> None:
    exchange = lab.send("plaintext", state_message)
    assert (status(exchange), lab.arrived()) == (200, (1, 0))


def test_a_tunnel_has_a_second_site_system(lab: Lab) -> None:
    if lab.proxy.statements[ExportRule.TUNNEL].extent is Extent.NO:
        pytest.skip("this proxy has no tunnels")
    exchange = lab.send("tunnel")
    assert (status(exchange), lab.arrived()) == (200, (0, 1))


def test_the_second_site_system_serves_while_the_first_is_down(lab: Lab) -> None:
    # The last test: the health checks of HAProxy notice, too.
    lab.send("listed")
    assert lab.arrived() == (1, 0)
    lab.first.take_down("management-point")
    try:
        # Envoy may keep more than 1 MiB, or not.
        large = 200_000 if lab.proxy.name == "envoy" else 2_000_000
        for make in (LIST, message(100), message(large)):
            exchange = lab.send("listed", make)
            assert (status(exchange), lab.arrived()) == (200, (0, 1))
            (received,) = lab.second.received()
            body = make(lab.subject.senders(Client.COMPUTER)).body or b""
            assert received.sha256 == sha256(body).hexdigest()
    finally:
        lab.first.bring_up("management-point")
