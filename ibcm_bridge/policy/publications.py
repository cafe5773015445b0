"""Publications: what is published where, in which mode, with which roles and site systems."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from enum import StrEnum

from ibcm_bridge.policy.addresses import Address
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


class AdditionKind(StrEnum):
    """What a policy may add to a role. Each is a key of the policy file."""

    VERB = "extra_verbs"
    HEADER = "extra_headers"
    PATH = "extra_paths"
    MESSAGE = "extra_messages"
    WINDOWS_AUTHENTICATION = "windows_authentication"
    WITHOUT_CLAMAV = "without_clamav"


@dataclass(frozen=True, slots=True)
class Addition:
    """Something that the policy adds to a role, and why.

    `names`: a verb; a header field; a directory, a path and verbs; a root element and an endpoint;
    nothing where the kind says all.
    """

    kind: AdditionKind
    names: tuple[str, ...]
    because: str


@dataclass(frozen=True, slots=True)
class PublishedRole:
    """A role of a publication and the site system that holds it."""

    profile: RoleProfile
    site_system: SiteSystem
    additions: tuple[Addition, ...] = ()
    """What the policy adds to the role's table."""


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


@dataclass(frozen=True, slots=True)
class TunnelPublication:
    """An Internet FQDN that is tunneled (TUNNEL-PASS). No certificate: TUNNEL-NO-CERT."""

    name: str
    public_port: int
    site_system: Address
    roles: tuple[str, ...]
    """As the operator says; nobody can tell."""


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
