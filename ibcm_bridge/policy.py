"""The policy, as values: what is published, how, and with which certificates.

Only `policy_file` makes these (and tests); by the time one exists it has been checked.
"""

from __future__ import annotations

import datetime
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path

from cryptography import x509

from ibcm_bridge.roles import CertificatePolicy, NeverPublished, RoleProfile
from ibcm_bridge.speaker.bindings import Renewal

Address = tuple[str, int]
"""Host (name or IP address) and TCP port."""


def shown(address: Address) -> str:
    """As it stands in a policy file: an IPv6 address in brackets (RFC 3986 §3.2.2)."""
    host, port = address
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


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


@dataclass(frozen=True, slots=True)
class Credential:
    """A certificate with its intermediates, and its private key. PEM; the key is never shown."""

    chain_pem: bytes
    key_pem: bytes = field(repr=False)
    notes: tuple[str, ...] = ()
    """What was noticed when it was read and stops nothing, in words for `check`."""


@dataclass(frozen=True, slots=True)
class CrlFetch:
    """Where revocation lists are fetched from, how often, and the folder that keeps them."""

    urls: tuple[str, ...]
    every: datetime.timedelta
    folder: Path


type Authority = tuple[x509.Name, bytes]
"""An authority: its name and its public key (RFC 5280 §4.1.2.7). Either may be another's too."""


@dataclass(frozen=True, slots=True)
class Revocation:
    """Where revocation lists come from, and what holds while there is no current one."""

    sources: tuple[Path, ...] = ()
    """Files and folders, which are watched."""
    fetch: CrlFetch | None = None
    warn_before: datetime.timedelta = datetime.timedelta(days=1)
    grace: datetime.timedelta = datetime.timedelta(0)
    """How long after its end a list is still accepted."""
    without_crl: Mapping[Authority, str] = field(default_factory=dict)
    """Authorities that need no list, and why."""


@dataclass(frozen=True, slots=True)
class Trust:
    """The trust anchors and issuing authorities of one side, and their revocation lists."""

    anchors: tuple[x509.Certificate, ...]
    intermediates: tuple[x509.Certificate, ...]
    crls: tuple[x509.CertificateRevocationList, ...]
    """Those it was loaded with; `revocation` says where newer ones come from."""
    revocation: Revocation = Revocation()
    notes: tuple[str, ...] = ()
    """What was noticed when it was read and stops nothing, in words for `check`."""


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
    widened: tuple[str, ...] = ()
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
        to = shown(self.site_system)
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


@dataclass(frozen=True, slots=True)
class PlaintextListener:
    """One port without TLS, and the one publication on it: there is no SNI to choose by."""

    address: Address
    publication: PlaintextPublication


SITE_SYSTEM_IDLE_SECONDS = 100.0
"""Less than the 120 s after which IIS closes an idle connection by default ("connectionTimeout"): a
request that meets its end cannot be told from one that was carried out."""


@dataclass(frozen=True, slots=True)
class Limits:
    """Sizes in bytes, times in seconds. Defaults and their precedents are in `policy_file`."""

    client_hello: int
    request_head: int
    handshake_seconds: float
    head_seconds: float
    body_seconds: float
    response_seconds: float
    idle_seconds: float
    tunnel_idle_seconds: float
    connections: int
    """Client connections at once, of all listeners together."""
    held_bytes: int
    """Heads and bodies of requests that are kept at once, of all connections together."""
    inspection_workers: int
    """Processes that look into large bodies."""
    site_system_idle_seconds: float = SITE_SYSTEM_IDLE_SECONDS


class WhenUnwritable(StrEnum):
    """What happens to requests while the audit cannot be written."""

    REFUSE = "refuse"
    CONTINUE = "continue"


class Enforcement(StrEnum):
    """What becomes of a message that breaks a rule which some real client may break, too."""

    OBSERVE = "observe"
    """It passes, and the audit says that it would be refused."""
    ENFORCE = "enforce"


class UnknownGuids(StrEnum):
    """What becomes of a client GUID that nothing is known of, where identity is enforced."""

    LEARN = "learn"
    REFUSE = "refuse"


@dataclass(frozen=True, slots=True)
class MessageRules:
    """What the policy makes of ConfigMgr's messages, beyond what is always refused."""

    identity: Enforcement = Enforcement.OBSERVE
    """Whether a client GUID belongs to the certificate of the connection (BRIDGE-IDENTITY)."""
    unknown_guids: UnknownGuids = UnknownGuids.LEARN
    renewal: Renewal = Renewal.SAME_KEY
    bindings_file: Path | None = None
    """SQLite; None: kept in memory, forgotten at the end."""
    signatures: Enforcement = Enforcement.OBSERVE
    """Whether what is signed is signed by the client, and not long ago."""
    clock_skew: datetime.timedelta = datetime.timedelta(minutes=15)
    """How far a signed timestamp may be from now, before or after."""
    host_names: Enforcement = Enforcement.OBSERVE
    """Whether replies name hosts of `internal_domains`."""
    intranet_only: Enforcement = Enforcement.OBSERVE
    """Whether replies assign policies that are flagged for the intranet."""
    internal_domains: frozenset[str] = frozenset()
    """In lower case, without a dot before; hosts of these and below are internal."""
    encrypted_because: str | None = None
    """Why encrypted messages are let through unread; None: they are refused."""

    def describe(self) -> str:
        """One line for an operator."""
        done = {Enforcement.OBSERVE: "observed", Enforcement.ENFORCE: "enforced"}
        answered = {Enforcement.OBSERVE: "observed", Enforcement.ENFORCE: "refused"}
        kept = f"kept in {self.bindings_file}" if self.bindings_file else "forgotten at the end"
        names = ", ".join(sorted(self.internal_domains)) or "no domain"
        return "; ".join(
            (
                f"whose client GUID it is: {done[self.identity]}, unknown ones "
                f"{_UNKNOWN[self.unknown_guids]}, {kept}",
                f"signatures: {done[self.signatures]}",
                f"answers with hosts of {names}: {answered[self.host_names]}",
                f"answers with policy for the intranet: {answered[self.intranet_only]}",
            )
        )


_UNKNOWN = {UnknownGuids.LEARN: "learnt", UnknownGuids.REFUSE: "refused"}


@dataclass(frozen=True, slots=True)
class ClamAv:
    """Where ClamAV's daemon is, and how long it may take for one view."""

    address: Path | Address
    """A Unix socket, or host and port."""
    seconds: float = 30.0


@dataclass(frozen=True, slots=True)
class UploadRules:
    """How much of BITS uploads there may be. Sizes in bytes; docs/policy-file.md has the keys."""

    spool: Path | None = None
    """SQLite; None: a temporary file, thrown away at the end."""
    largest: int = 67_108_864
    """One upload."""
    size: int = 1_073_741_824
    """All uploads that are under way."""
    sessions: int = 1_000
    of_client: int = 8
    client_size: int = 134_217_728
    """All uploads of one client."""
    abandoned_after: datetime.timedelta = datetime.timedelta(days=3)

    def describe(self) -> str:
        """One line for an operator."""
        where = f"put together in {self.spool}" if self.spool else "forgotten at the end"
        return f"up to {self.largest} bytes each, {self.size} in all, {where}"


@dataclass(frozen=True, slots=True)
class Policy:
    """Everything the bridge was told."""

    listeners: tuple[Listener | PlaintextListener, ...]
    never: NeverPublished
    audit_file: Path | None
    """None: standard output."""
    when_unwritable: WhenUnwritable
    rule_files: tuple[Path, ...]
    limits: Limits
    messages: MessageRules = MessageRules()
    uploads: UploadRules = UploadRules()
    clamav: ClamAv | None = None
    web_because: str | None = None
    """Why traffic may be shown on a page outside a lab; None: it may not."""
