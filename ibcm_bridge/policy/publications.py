"""Listeners and their publications: names, modes, roles and site systems."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from enum import StrEnum

from ibcm_bridge.policy.addresses import Address, Network
from ibcm_bridge.policy.roles import CertificatePolicy, RoleProfile
from ibcm_bridge.policy.site_systems import SiteSystems
from ibcm_bridge.policy.tls_settings import DEFAULT_TLS, TlsSettings
from ibcm_bridge.policy.trust import Credential, Trust


class UnlistedHeaders(StrEnum):
    """The treatment of header fields that are not in the role's table."""

    DROP = "drop"
    REFUSE = "refuse"


class UploadHosts(StrEnum):
    """The treatment of the site system's name in the response to an upload.

    The name of any other host, except the publication, is always removed.
    """

    DROP = "drop"
    """The field is removed, and the client continues with the publication's name."""
    REWRITE = "rewrite"
    """The publication's name replaces the site system's."""


class AdditionKind(StrEnum):
    """The kinds of additions to a role. Each is a key of the policy file."""

    VERB = "extra_verbs"
    HEADER = "extra_headers"
    PATH = "extra_paths"
    MESSAGE = "extra_messages"
    WINDOWS_AUTHENTICATION = "windows_authentication"
    WITHOUT_CLAMAV = "without_clamav"


@dataclass(frozen=True, slots=True)
class Addition:
    """An addition of the policy to a role, with its reason.

    `names`: a verb; a header field; a directory, a path and verbs; a root element and an endpoint;
    or nothing for the other kinds.
    """

    kind: AdditionKind
    names: tuple[str, ...]
    because: str


@dataclass(frozen=True, slots=True)
class PublishedRole:
    """A role of a publication, with its site systems."""

    profile: RoleProfile
    site_systems: SiteSystems
    additions: tuple[Addition, ...] = ()
    """The policy's additions to the role's table."""


@dataclass(frozen=True, slots=True)
class BridgePublication:
    """An Internet FQDN that is bridged (BRIDGE-TERMINATE)."""

    name: str
    public_port: int
    """The port that clients connect to. The port of the listener may differ."""
    credential: Credential
    client_trust: Trust | None
    """None if clients are not asked for a certificate."""
    certificate_policy: CertificatePolicy
    directories: Mapping[str, PublishedRole]
    """First path segment in lower case -> its role."""
    site_system_credential: Credential
    site_system_trust: Trust
    unlisted_headers: UnlistedHeaders
    request_head: int
    """Bytes."""
    upload_hosts: UploadHosts = UploadHosts.DROP
    send_ca_names: bool = False
    """True if the certificate request has the names of the authorities (RFC 8446 §4.2.4)."""
    client_tls: TlsSettings = DEFAULT_TLS
    """The settings for clients. A client with a TPM that cannot sign RSASSA-PSS fails in TLS 1.3
    (RFC 8446 §4.2.3), even if it offers it, but connects with TLS 1.2."""
    clients_resume: bool = False
    """True if clients may resume TLS sessions."""
    legs_resume: bool = True
    """True if site-system legs resume TLS sessions."""
    observe_because: str | None = None
    """The reason for not enforcing the refusals of `decisions.observing`; None: they are."""


@dataclass(frozen=True, slots=True)
class PlaintextPublication:
    """An Internet FQDN on both legs over HTTP: a fallback status point (VERB-FSP)."""

    name: str
    public_port: int
    directories: Mapping[str, PublishedRole]
    unlisted_headers: UnlistedHeaders
    request_head: int
    because: str

    @property
    def certificate_policy(self) -> CertificatePolicy:
        """Without TLS there is no client certificate."""
        return CertificatePolicy.NONE

    @property
    def observe_because(self) -> None:
        """All refusals are enforced."""
        return None


@dataclass(frozen=True, slots=True)
class TunnelPublication:
    """An Internet FQDN that is tunneled (TUNNEL-PASS). No certificate: TUNNEL-NO-CERT."""

    name: str
    public_port: int
    site_systems: tuple[Address, ...]
    """At least one; the others are for the failure of those before them."""
    roles: tuple[str, ...]
    """From the policy; the bridge cannot verify them."""


HttpPublication = BridgePublication | PlaintextPublication
"""The publications whose requests the bridge authorizes."""

Publication = BridgePublication | TunnelPublication
"""The publications of a TLS port."""


@dataclass(frozen=True, slots=True)
class Listener:
    """A TLS port and its publications, by Internet FQDN in lower case."""

    address: Address
    publications: Mapping[str, Publication]
    without_sni: str | None = None
    """The publication for clients that send no server name."""
    balancers: tuple[Network, ...] = ()
    """The networks whose connections begin with a PROXY header, which names the client."""

    @property
    def published(self) -> tuple[Publication, ...]:
        """The publications, in the order of the policy."""
        return tuple(self.publications.values())


@dataclass(frozen=True, slots=True)
class PlaintextListener:
    """A port without TLS, and its only publication, as there is no SNI to select one."""

    address: Address
    publication: PlaintextPublication
    balancers: tuple[Network, ...] = ()
    """As of `Listener`."""

    @property
    def published(self) -> tuple[PlaintextPublication]:
        """The only publication."""
        return (self.publication,)


def published(
    listeners: Iterable[Listener | PlaintextListener],
) -> Iterator[tuple[Address, Publication | PlaintextPublication]]:
    """Every publication with its listen address, in the order of the policy."""
    for listener in listeners:
        for publication in listener.published:
            yield listener.address, publication
