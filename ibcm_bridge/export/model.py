"""What every export needs of a policy, as values that each proxy writes in its own syntax."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sized
from dataclasses import dataclass, field

from ibcm_bridge.export.targets import Line
from ibcm_bridge.policy.addresses import Address, Network
from ibcm_bridge.policy.bodies import BodyRule
from ibcm_bridge.policy.policy import Limits, PerSource
from ibcm_bridge.policy.roles import CertificatePolicy
from ibcm_bridge.policy.site_systems import Order, SiteSystems
from ibcm_bridge.policy.tls_settings import TlsSettings
from ibcm_bridge.policy.trust import CredentialFiles, Trust


@dataclass(frozen=True, slots=True)
class ExportedRole:
    """A role of a publication."""

    name: str
    site_systems: SiteSystems
    directories: tuple[str, ...]
    """In lower case. Those with Windows authentication are in `users`."""
    users: tuple[str, ...]
    """If the proxy does not hold legs, these are left out."""
    verbs: Mapping[str, BodyRule]
    fields: tuple[str, ...]
    """The header fields to forward, in lower case, without Host and Content-Length."""
    repeatable: frozenset[str]
    """Those of `fields` that may occur more than once."""
    dropped: Mapping[str, tuple[str, ...]]
    """Field -> the verbs with which it is dropped."""
    verbs_requirement: str
    fields_requirement: str

    @property
    def most_body(self) -> int:
        """The largest allowed body, in bytes."""
        return max(rule.limit for rule in self.verbs.values())

    @property
    def has_several(self) -> bool:
        """True if it has more than one site system."""
        return len(self.site_systems.listed) > 1

    @property
    def is_spread(self) -> bool:
        """True if its clients are spread over its site systems."""
        return self.has_several and self.site_systems.order is Order.BY_CLIENT


@dataclass(frozen=True, slots=True)
class ExportedPublication:
    """A bridged publication, or one in plaintext: then `tls` is None."""

    name: str
    public_port: int
    tls: ExportedTls | None
    roles: tuple[ExportedRole, ...]
    lines: tuple[Line, ...]
    request_head: int
    refuses_unlisted: bool

    @property
    def key(self) -> str:
        """A name for variables and sections."""
        return re.sub(r"[^a-z0-9]", "_", self.name)


@dataclass(frozen=True, slots=True)
class ExportedTls:
    """The certificates and settings of both legs."""

    server: CredentialFiles
    client: CredentialFiles
    """The client certificate of the proxy, for site systems."""
    server_pem: bytes = field(repr=False)
    client_pem: bytes = field(repr=False)
    """Chain and key, for proxies that read both from one file."""
    client_leaf_pem: bytes = field(repr=False)
    """The client certificate and its key, without issuers."""
    client_issuers_pem: bytes
    settings: TlsSettings
    certificates: CertificatePolicy
    client_trust: Trust | None
    site_system_trust: Trust
    clients_resume: bool
    legs_resume: bool
    sends_names: bool


@dataclass(frozen=True, slots=True)
class ExportedTunnel:
    """A tunneled publication."""

    name: str
    site_systems: tuple[Address, ...]
    """At least one; the others are for the failure of those before them."""
    is_for_enrolled: bool
    """True for the site system of enrolled mobile devices."""


@dataclass(frozen=True, slots=True)
class ExportedListener:
    """A port of the proxy."""

    number: int
    address: Address
    publications: tuple[ExportedPublication, ...]
    tunnels: tuple[ExportedTunnel, ...]
    without_sni: str | None
    balancers: tuple[Network, ...]
    is_tls: bool


@dataclass(frozen=True, slots=True)
class ExportedPolicy:
    """All listeners. `left_out` has the directories that need a leg bound to one client."""

    listeners: tuple[ExportedListener, ...]
    limits: Limits
    left_out: tuple[str, ...]
    per_source: PerSource
    never_fields: tuple[str, ...]
    never_field_pattern: str
    """Header fields that no policy can allow."""

    @property
    def roles(self) -> Iterator[ExportedRole]:
        """The roles of all publications."""
        for listener in self.listeners:
            for publication in listener.publications:
                yield from publication.roles


def attempt_seconds(limits: Limits, site_systems: Sized) -> float:
    """Return the time to connect to one of these: together, they have `connect_seconds`."""
    return limits.connect_seconds / len(site_systems)


def body_patterns(role: ExportedRole) -> Iterator[str]:
    """The allowed bodies, as patterns for `METHOD LENGTH MEDIA-TYPE`. They ignore case."""
    for verb, rule in role.verbs.items():
        method = re.escape(verb)
        if not rule.required:
            yield f"^{method} 0* "
        if rule.limit == 0:
            continue
        # Below 2^31, because other proxies compare lengths as 32-bit integers.
        length = f"^{method} 0*(?:[1-9][0-9]{{0,8}}|1[0-9]{{9}}) "
        if not rule.media_types:
            yield length
        for media_type in sorted(rule.media_types):
            found = re.escape(media_type.decode("ascii"))
            yield f"{length}{found}[ \\t]*(?:;|$)" if found else f"{length}$"


def one_pattern_for(names: Iterable[str]) -> str:
    """A group that matches one of these names."""
    return f"(?:{'|'.join(re.escape(name) for name in names)})"
