"""The policy, as values: what is published, how, and with which certificates.

Only `policy_file` makes these (and tests); by the time one exists it has been checked.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path

from cryptography import x509

from ibcm_bridge.roles import CertificatePolicy, RoleProfile

Address = tuple[str, int]
"""Host (name or IP address) and TCP port."""


class UnlistedHeaders(StrEnum):
    """What happens to a request with a header field that is not listed."""

    DROP = "drop"
    REFUSE = "refuse"


@dataclass(frozen=True, slots=True)
class Credential:
    """A certificate with its intermediates, and its private key. PEM; the key is never shown."""

    chain_pem: bytes
    key_pem: bytes = field(repr=False)


@dataclass(frozen=True, slots=True)
class Trust:
    """The trust anchors and issuing authorities of one side, and their revocation lists."""

    anchors: tuple[x509.Certificate, ...]
    intermediates: tuple[x509.Certificate, ...]
    crls: tuple[x509.CertificateRevocationList, ...]


@dataclass(frozen=True, slots=True)
class SiteSystem:
    """The far end of the site-system leg.

    `name` is sent as server name and must stand in the site system's certificate; `address` is
    where it is reached.
    """

    address: Address
    name: str


@dataclass(frozen=True, slots=True)
class PublishedRole:
    """A role of a publication and the site system that holds it."""

    profile: RoleProfile
    site_system: SiteSystem


@dataclass(frozen=True, slots=True)
class BridgePublication:
    """An Internet FQDN that is bridged (BRIDGE-TERMINATE)."""

    name: str
    credential: Credential
    client_trust: Trust
    certificate_policy: CertificatePolicy
    directories: Mapping[str, PublishedRole]
    """First path segment in lower case -> the role that has it."""
    site_system_credential: Credential
    site_system_trust: Trust
    unlisted_headers: UnlistedHeaders

    def describe(self) -> str:
        """One line for an operator."""
        roles = {role.profile.name: role.site_system.name for role in self.directories.values()}
        to = ", ".join(f"{name} at {site_system}" for name, site_system in roles.items())
        return f"{self.name} is bridged: {to}"


@dataclass(frozen=True, slots=True)
class TunnelPublication:
    """An Internet FQDN that is tunneled (TUNNEL-PASS). No certificate: TUNNEL-NO-CERT."""

    name: str
    site_system: Address

    def describe(self) -> str:
        """One line for an operator; says what a tunnel is wherever there is one (TUNNEL-BLIND)."""
        host, port = self.site_system
        return f"{self.name} is tunneled to {host}:{port}: nothing inside can be inspected"


Publication = BridgePublication | TunnelPublication


@dataclass(frozen=True, slots=True)
class Listener:
    """One TLS port and what is published on it, by Internet FQDN in lower case."""

    address: Address
    publications: Mapping[str, Publication]


@dataclass(frozen=True, slots=True)
class Limits:
    """Sizes in bytes, times in seconds. Defaults and their precedents are in `policy_file`."""

    client_hello: int
    request_head: int
    handshake_seconds: float
    head_seconds: float
    body_seconds: float
    idle_seconds: float
    tunnel_idle_seconds: float


@dataclass(frozen=True, slots=True)
class Policy:
    """Everything the bridge was told."""

    listeners: tuple[Listener, ...]
    bypass_directories: frozenset[str]
    audit_file: Path | None
    """None: standard output."""
    rule_files: tuple[Path, ...]
    limits: Limits
