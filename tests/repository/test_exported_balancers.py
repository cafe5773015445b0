"""Load balancers in front of other proxies: who may name the client in a PROXY header."""

from __future__ import annotations

import contextlib
import socket
import ssl
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from ipaddress import IPv4Address
from pathlib import Path

import pytest

from ibcm_bridge.conformance.kit import make_kit, now
from ibcm_bridge.conformance.serving import quick_policy, serving
from ibcm_bridge.export.proxies import PROXIES
from ibcm_bridge.lab.bridge.exported_proxy import exported_proxy
from ibcm_bridge.lab.bridge.process import with_site_systems
from ibcm_bridge.lab.site_systems.published import BRIDGED, PLAINTEXT_PORT, TLS_PORT
from ibcm_bridge.lab.site_systems.site_systems import SiteSystems
from tests.needs import demand
from tests.repository.exported import NEEDED

SECONDS = 30
BALANCER, OTHER = "127.0.0.2", "127.0.0.3"
HEADER = b"PROXY TCP4 192.0.2.7 192.0.2.8 56324 443\r\n"
FORGED = b"PROXY TCP4 10.0.0.7 192.0.2.8 56324 443\r\n"
"""Names a balancer as the client."""
LIST = b"GET /SMS_MP/.sms_aut?MPLIST HTTP/1.1\r\nHost: %b\r\nConnection: close\r\n\r\n"
STATE = (
    b"POST /SMS_FSP/.sms_fsp HTTP/1.1\r\nHost: fsp.internet.example\r\n"
    b"Content-Length: 1\r\nConnection: close\r\n\r\nx"
)


@dataclass(frozen=True)
class Lab:
    """A proxy whose addresses have one balancer."""

    proxy: str
    site: SiteSystems
    pki: Path
    addresses: dict[int, tuple[str, int]]
    files: Path
    """The folder with the proxy's logs."""

    def bridged(self, source: str, header: bytes) -> bytes:
        """Send a request with TLS from an address of this machine; the response, or nothing."""
        context = ssl.create_default_context(cafile=self.pki / "root.pem")
        client = self.pki / "clients" / "computer"
        context.load_cert_chain(f"{client}.pem", f"{client}.key")
        with self._connection(TLS_PORT, source) as plain, contextlib.suppress(OSError):
            plain.sendall(header)
            with context.wrap_socket(plain, server_hostname=BRIDGED) as connection:
                connection.sendall(LIST % BRIDGED.encode())
                return b"".join(iter(lambda: connection.recv(65_536), b""))
        return b""

    def plaintext(self, source: str, header: bytes) -> bytes:
        """Send a request without TLS."""
        with self._connection(PLAINTEXT_PORT, source) as plain, contextlib.suppress(OSError):
            plain.sendall(header + STATE)
            return b"".join(iter(lambda: plain.recv(65_536), b""))
        return b""

    def _connection(self, port: int, source: str) -> socket.socket:
        return socket.create_connection(self.addresses[port], SECONDS, (source, 0))


@pytest.fixture(scope="module", params=["nginx", "haproxy", "apache"])
def lab(request: pytest.FixtureRequest) -> Iterator[Lab]:
    proxy = PROXIES[request.param]
    demand(*NEEDED[proxy.name])
    listeners = "".join(
        f'  "127.0.0.1:{port}":\n    proxy_protocol: {{from: [{BALANCER}, 10.0.0.0/8]}}\n'
        for port in (TLS_PORT, PLAINTEXT_PORT)
    )
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary) / "kit"
        with serving(IPv4Address("127.0.0.1"), folder, fixed_ports=False) as site:
            make_kit(folder, None, now())
            policy = with_site_systems(f"{quick_policy()}\nlisteners:\n{listeners}", site)
            with exported_proxy(proxy, policy, folder) as running:
                (files,) = {file.parent for file in running.export.files}
                yield Lab(proxy.name, site, folder / "pki", running.addresses, files)


def arrived(lab: Lab) -> int:
    return len(lab.site.received())


def test_a_balancer_names_the_client(lab: Lab) -> None:
    before = arrived(lab)
    assert lab.bridged(BALANCER, HEADER).startswith(b"HTTP/1.1 200 ")
    assert lab.plaintext(BALANCER, HEADER).startswith(b"HTTP/1.1 200 ")
    assert arrived(lab) == before + 2
    if lab.proxy == "apache":
        lines = (lab.files / "access.log").read_text("utf-8").splitlines()
        assert {line.partition(" ")[0] for line in lines} == {"192.0.2.7"}


@pytest.mark.parametrize(
    ("source", "header"),
    [(OTHER, HEADER), (OTHER, FORGED), (BALANCER, b"")],
    ids=["another", "forged", "without a header"],
)
def test_others_name_no_client_and_a_balancer_must(lab: Lab, source: str, header: bytes) -> None:
    before = arrived(lab)
    for response in (lab.bridged(source, header), lab.plaintext(source, header)):
        assert response == b"" or response.startswith((b"HTTP/1.1 400 ", b"HTTP/1.1 403 "))
    assert arrived(lab) == before
