"""The running lab for clients: two networks, and an authority for certificates.

`lab up` writes it to its state file (`runtime`), and `lab client` reads it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from random import Random
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, NamedTuple, Self

from cryptography import x509

from ibcm_bridge.lab.clients.device import Device
from ibcm_bridge.lab.errors import LabError
from ibcm_bridge.lab.namespaces import NO_NAMESPACES, Namespace, Namespaces
from ibcm_bridge.lab.pki.authorities import LabPki
from ibcm_bridge.lab.pki.certificates import LabCredential, computer_of, user_of
from ibcm_bridge.lab.pki.running import RunningPki
from ibcm_bridge.lab.protocol import wsus
from ibcm_bridge.lab.protocol.other_sites import BOTH_INSIDE, SECOND_PUBLISHED, SECONDARY
from ibcm_bridge.lab.protocol.reply_documents import INTERNET, INTRANET
from ibcm_bridge.lab.simulated.client import SimulatedClient
from ibcm_bridge.lab.simulated.installation import Installation, Mode
from ibcm_bridge.lab.simulated.known_site_systems import KnownSiteSystems
from ibcm_bridge.lab.simulated.network import HTTP, HTTPS, UPDATES, Host, Network
from ibcm_bridge.lab.site_systems.published import (
    PLAINTEXT_PORT,
    SIGN_IN,
    SIGN_IN_INSIDE,
    TLS_PORT,
    UPDATE_PORT,
    USER_CERTIFICATES,
)
from ibcm_bridge.lab.site_systems.second_site import BOTH_NETWORKS, SECONDARY_SITE

if TYPE_CHECKING:
    # It imports all parts of a lab, which `lab client` does not start.
    from ibcm_bridge.lab.perimeter.perimeter import Perimeter

FALLBACK = "fsp.internet.example"
AUTHORITY = "authority"
"""Name of its files, without extension."""

ON_DEMAND = "on_demand"
"""Key of the state: the addresses of site systems that a scene starts."""

DOMAIN = "domain"
"""Folder of the lab's domain, which exists while a scene has one."""

AUDIT = "audit.jsonl"
"""File with the audit of the bridge."""

INSTALLATION_OPTIONS = {
    Mode.INTRANET_ONLY: KnownSiteSystems(
        intranet_management_points=INTRANET.management_points, fallback_status_point=FALLBACK
    ),
    Mode.INTERNET_ONLY: KnownSiteSystems(
        internet_management_points=INTERNET.management_points, fallback_status_point=FALLBACK
    ),
    Mode.BOTH: KnownSiteSystems(
        internet_management_points=INTERNET.management_points,
        intranet_management_points=INTRANET.management_points,
        fallback_status_point=FALLBACK,
    ),
}
"""Mode -> the site systems in the installation options."""


class LabAddresses(NamedTuple):
    """The listen addresses of a lab."""

    bridge: Mapping[int, Host]
    """Port of the shipped policy -> address."""
    site_systems: Mapping[str, Host]
    """Role -> address."""
    microsoft_update: Host
    on_demand: Mapping[str, Host] = MappingProxyType({})
    """Role -> address of a site system that a scene starts."""


@dataclass(frozen=True)
class RunningLab:
    """`internet` resolves names to the bridge, `intranet` to the site systems."""

    internet: Network
    intranet: Network
    pki: RunningPki
    on_demand: Mapping[str, Host]
    """Role -> address of a site system that a scene starts; empty if this lab has none."""
    domain: Path | None = None
    """The directory in which the site systems look for users (`lab.domain`); None without one."""
    audit: Path | None = None
    """The audit of the bridge; None without one."""

    @property
    def authority(self) -> LabCredential:
        """The issuing authority."""
        return self.pki.authority

    @classmethod
    def of(cls, perimeter: Perimeter) -> Self:
        """Describe a perimeter in this process."""
        addresses = LabAddresses(
            perimeter.bridge.addresses,
            perimeter.site.addresses,
            perimeter.microsoft_update.address,
            perimeter.on_demand,
        )
        lab = cls.at(addresses, perimeter.pki, perimeter.namespaces)
        return replace(lab, domain=perimeter.directory / DOMAIN, audit=perimeter.bridge.audit_file)

    @classmethod
    def at(
        cls, addresses: LabAddresses, pki: LabPki, namespaces: Namespaces = NO_NAMESPACES
    ) -> Self:
        """Describe a lab at these addresses."""
        return cls(
            Network(
                "internet",
                on_internet=True,
                hosts=_outside(addresses),
                trust=pki.root,
                namespace=namespaces.internet,
            ),
            Network(
                "intranet",
                on_internet=False,
                hosts=_inside(addresses),
                trust=pki.root,
                namespace=namespaces.intranet,
            ),
            RunningPki(pki.root, pki.authority, pki.crls()),
            addresses.on_demand,
        )

    def state(self, directory: Path) -> dict[str, Any]:
        """Return the data for the state file; write the authority's certificate and key."""
        self.authority.write(directory, AUTHORITY)
        return {
            ON_DEMAND: dict(self.on_demand),
            **{
                network.name: {"hosts": _rows(network), "namespace": network.namespace.name}
                for network in (self.internet, self.intranet)
            },
        }

    @classmethod
    def read(cls, state: dict[str, Any], directory: Path) -> Self:
        """Read the data of `state`. LabError if the lab has not written it yet."""
        if "internet" not in state:
            raise LabError("the lab is still starting; try again in a moment")
        files = directory / "pki"
        trust = x509.load_pem_x509_certificate((files / "root.pem").read_bytes())
        crls = tuple(
            x509.load_pem_x509_crl((files / f"{name}.crl").read_bytes())
            for name in ("root", "issuing")
        )
        internet, intranet = (
            Network(
                name,
                on_internet=name == "internet",
                hosts=_hosts(state[name]["hosts"]),
                trust=trust,
                namespace=Namespace(state[name]["namespace"]),
            )
            for name in ("internet", "intranet")
        )
        pki = RunningPki(trust, LabCredential.read(directory, AUTHORITY), crls)
        on_demand = {role: (address, port) for role, (address, port) in state[ON_DEMAND].items()}
        return cls(internet, intranet, pki, on_demand, directory / DOMAIN, directory / AUDIT)

    def client(self, name: str, mode: Mode, random: Random, *, own_key: bool) -> SimulatedClient:
        """Create a client on the Internet; it signs with a separate key or with its TLS key."""
        return self.installed(
            name, Installation(mode, INSTALLATION_OPTIONS[mode]), random, own_key=own_key
        )

    def installed(
        self, name: str, installed: Installation, random: Random, *, own_key: bool
    ) -> SimulatedClient:
        """Create a client with this installation, on the Internet.

        A mobile device presents a user certificate (BRIDGE-AUTH-USER), with the name of the user.
        """
        issue = user_of if installed.is_mobile else computer_of
        credential = issue(self.authority, name, datetime.now(UTC))
        device = Device.with_own_key(name) if own_key else Device.of(credential, name)
        return SimulatedClient(device, credential, installed, self.internet, random)


def _outside(addresses: LabAddresses) -> dict[Host, Host]:
    bridge = addresses.bridge
    second_site = [(name, HTTPS) for name in SECOND_PUBLISHED]
    published = dict.fromkeys(
        ((name, HTTPS) for name in (*INTERNET.management_points, USER_CERTIFICATES, SIGN_IN)),
        bridge[TLS_PORT],
    )
    return published | {
        (INTERNET.update_point, UPDATES): bridge[UPDATE_PORT],
        (FALLBACK, HTTP): bridge[PLAINTEXT_PORT],
        (wsus.MICROSOFT_UPDATE, HTTP): addresses.microsoft_update,
        **(dict.fromkeys(second_site, bridge[TLS_PORT]) if addresses.on_demand else {}),
    }


def _inside(addresses: LabAddresses) -> dict[Host, Host]:
    site = addresses.site_systems
    started = {
        (_INTRANET_NAMES[role], HTTPS): address
        for role, address in addresses.on_demand.items()
        if role in _INTRANET_NAMES
    }
    return started | {
        (INTRANET.management_points[0], HTTPS): site["management-point"],
        (SIGN_IN_INSIDE, HTTPS): site["management-point-of-users"],
        (INTRANET.distribution_points[0], HTTPS): site["distribution-point"],
        (INTRANET.update_point, UPDATES): site["software-update-point"],
        (FALLBACK, HTTP): site["fallback-status-point"],
        (wsus.MICROSOFT_UPDATE, HTTP): addresses.microsoft_update,
    }


_INTRANET_NAMES = {BOTH_NETWORKS: BOTH_INSIDE, SECONDARY_SITE: SECONDARY}
"""Role -> intranet name of a site system that a scene starts."""


def _rows(network: Network) -> list[list[str | int]]:
    return [[*host, *to] for host, to in network.hosts.items()]


def _hosts(rows: list[tuple[str, int, str, int]]) -> dict[Host, Host]:
    return {(name, port): (address, at) for name, port, address, at in rows}
