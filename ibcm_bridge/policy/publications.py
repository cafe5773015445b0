"""Publications: what is published where, in which mode, with which roles and site systems."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from enum import StrEnum

from ibcm_bridge.policy.addresses import Address, address_text
from ibcm_bridge.policy.roles import CertificatePolicy, RoleProfile
from ibcm_bridge.policy.trust import Credential, Trust


class UnlistedHeaders(StrEnum):
    """What happens to a request with a header field that is not listed."""

    DROP = "drop"
    REFUSE = "refuse"


class UploadHosts(StrEnum):
    """What becomes of a host that a site system names in an answer to an upload.

    Whatever names another than the publication or the site system itself is always taken out.
    """

    DROP = "drop"
    """Taken out: the client goes on with the name it has."""
    REWRITE = "rewrite"
    """The site system's name becomes the publication's."""


class TlsVersion(StrEnum):
    """The highest version that a leg offers or accepts."""

    TLS_1_2 = "1.2"
    TLS_1_3 = "1.3"


@dataclass(frozen=True, slots=True)
class SiteSystem:
    """The far end of the site-system leg.

    `name` is sent as server name, `verify_name` must stand in the site system's certificate, and
    `address` is where it is reached. `highest_tls`: IIS that asks for a certificate late can need
    an older version (design of HTTP.sys; RFC 8446 §4.6.2).
    """

    address: Address
    name: str
    verify_name: str
    highest_tls: TlsVersion = TlsVersion.TLS_1_3

    @property
    def names(self) -> frozenset[str]:
        """All names it may call itself by."""
        return frozenset((self.name, self.verify_name))


@dataclass(frozen=True, slots=True)
class PublishedRole:
    """A role of a publication and the site system that holds it."""

    profile: RoleProfile
    site_system: SiteSystem
    additions: tuple[str, ...] = ()
    """What the policy adds to the role's table and why, in words for `check`."""


@dataclass(frozen=True, slots=True)
class BridgePublication:
    """An Internet FQDN that is bridged (BRIDGE-TERMINATE)."""

    name: str
    public_port: int
    """What clients connect to; the listener's may differ."""
    credential: Credential
    client_trust: Trust | None
    """None where nobody is asked for a certificate."""
    certificate_policy: CertificatePolicy
    directories: Mapping[str, PublishedRole]
    """First path segment in lower case -> the role that has it."""
    site_system_credential: Credential
    site_system_trust: Trust
    unlisted_headers: UnlistedHeaders
    request_head: int
    """Bytes."""
    upload_hosts: UploadHosts = UploadHosts.DROP
    send_ca_names: bool = False
    """Whether clients are told the names of the authorities (RFC 8446 §4.2.4)."""
    highest_client_tls: TlsVersion = TlsVersion.TLS_1_3
    """With clients. A TPM that cannot sign RSASSA-PSS cannot prove its key in TLS 1.3 (RFC 8446
    §4.2.3), and a client that offers 1.3 all the same is refused, where 1.2 would do."""

    def describe(self) -> str:
        """One line for an operator."""
        capped = self.highest_client_tls is not TlsVersion.TLS_1_3
        cap = f"; TLS {self.highest_client_tls} at most with clients" if capped else ""
        asked = _ASKED[self.certificate_policy]
        return f"{self.name} is bridged: {_roles(self.directories)}{cap}{asked}"


@dataclass(frozen=True, slots=True)
class PlaintextPublication:
    """An Internet FQDN that is published over HTTP, to HTTP: a fallback status point (VERB-FSP)."""

    name: str
    public_port: int
    directories: Mapping[str, PublishedRole]
    unlisted_headers: UnlistedHeaders
    request_head: int
    because: str

    @property
    def certificate_policy(self) -> CertificatePolicy:
        """Without TLS nobody can be asked."""
        return CertificatePolicy.NONE

    def describe(self) -> str:
        """One line for an operator."""
        to = _roles(self.directories)
        return f"{self.name} is plain HTTP on both legs, readable by anybody: {to}"


@dataclass(frozen=True, slots=True)
class TunnelPublication:
    """An Internet FQDN that is tunneled (TUNNEL-PASS). No certificate: TUNNEL-NO-CERT."""

    name: str
    public_port: int
    site_system: Address
    roles: tuple[str, ...]
    """As the operator says; nobody can tell."""

    def describe(self) -> str:
        """One line for an operator; says what a tunnel is wherever there is one (TUNNEL-BLIND)."""
        roles = f" ({', '.join(self.roles)})" if self.roles else ""
        to = address_text(self.site_system)
        return f"{self.name} is tunneled to {to}{roles}: nothing inside can be inspected"


def _roles(directories: Mapping[str, PublishedRole]) -> str:
    roles = {role.profile.name: role.site_system.name for role in directories.values()}
    return ", ".join(f"{name} at {site_system}" for name, site_system in roles.items())


_ASKED = {
    CertificatePolicy.COMPUTER: "",
    CertificatePolicy.USER: "; for users' certificates",
    CertificatePolicy.EITHER: "; for computers' and users' certificates",
    CertificatePolicy.OPTIONAL: "; clients without a certificate are let in",
    CertificatePolicy.NONE: "; nobody is asked for a certificate",
}

HttpPublication = BridgePublication | PlaintextPublication
"""Where requests are decided on."""

Publication = BridgePublication | TunnelPublication
"""What is published on a TLS port."""


@dataclass(frozen=True, slots=True)
class Listener:
    """One TLS port and what is published on it, by Internet FQDN in lower case."""

    address: Address
    publications: Mapping[str, Publication]
    without_sni: str | None = None
    """The publication for clients that send no server name."""

    @property
    def published(self) -> tuple[Publication, ...]:
        """All of it, in the order of the policy."""
        return tuple(self.publications.values())


@dataclass(frozen=True, slots=True)
class PlaintextListener:
    """One port without TLS, and the one publication on it: there is no SNI to choose by."""

    address: Address
    publication: PlaintextPublication

    @property
    def published(self) -> tuple[PlaintextPublication]:
        """The one."""
        return (self.publication,)


def published(
    listeners: Iterable[Listener | PlaintextListener],
) -> Iterator[tuple[Address, Publication | PlaintextPublication]]:
    """Every publication and where it is listened for, in the order of the policy."""
    for listener in listeners:
        for publication in listener.published:
            yield listener.address, publication
