"""What every export needs of a policy, as values that each proxy writes in its own syntax."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from cryptography.hazmat.primitives.serialization import Encoding

from ibcm_bridge.export.exported import ExportError
from ibcm_bridge.export.targets import Line, published_directories, target_lines
from ibcm_bridge.policy.addresses import Address, Network
from ibcm_bridge.policy.bodies import BodyRule
from ibcm_bridge.policy.policy import Limits, PerSource, Policy
from ibcm_bridge.policy.publications import (
    BridgePublication,
    Listener,
    PlaintextListener,
    PlaintextPublication,
    PublishedRole,
    TunnelPublication,
    UnlistedHeaders,
)
from ibcm_bridge.policy.roles import CertificatePolicy
from ibcm_bridge.policy.site_systems import SiteSystem
from ibcm_bridge.policy.tls_settings import TlsSettings
from ibcm_bridge.policy.trust import Credential, CredentialFiles, Trust

_NAME = re.compile(r"[a-z0-9_](?:[a-z0-9_.-]*[a-z0-9_])?")
_FIELD = re.compile(r"[a-z0-9!#$%&'*+.^_`|~-]+")
_PATH = re.compile(r"[A-Za-z0-9_./@+:,=~-]+")
ENROLLMENT = "enrollment-proxy-point"
_ALWAYS_SENT = frozenset((b"host", b"content-length"))
"""The proxies write these themselves."""


@dataclass(frozen=True, slots=True)
class ExportedRole:
    """A role of a publication."""

    name: str
    site_system: SiteSystem
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
    site_system: Address
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


def exported_policy(policy: Policy, *, holds_legs: bool) -> ExportedPolicy:
    """Read a policy. ExportError if a value cannot be written safely.

    `holds_legs`: whether the proxy keeps a site-system leg for one client connection. Without it,
    directories with Windows authentication are left out.
    """
    left_out: list[str] = []
    listeners = []
    for number, listener in enumerate(policy.listeners, 1):
        publications, tunnels = [], []
        for publication in listener.published:
            _check_name(publication.name)
            if isinstance(publication, TunnelPublication):
                address = _only(publication.name, publication.site_systems)
                _check_host(address)
                enrolled = ENROLLMENT in publication.roles
                tunnels.append(ExportedTunnel(publication.name, address, enrolled))
                continue
            found = _publication(publication, policy, holds_legs, left_out)
            if found.roles:
                publications.append(found)
        listeners.append(
            ExportedListener(
                number,
                listener.address,
                tuple(publications),
                tuple(tunnels),
                listener.without_sni if isinstance(listener, Listener) else None,
                listener.balancers,
                not isinstance(listener, PlaintextListener),
            )
        )
    return ExportedPolicy(
        tuple(listeners),
        policy.limits,
        tuple(left_out),
        policy.per_source,
        tuple(sorted(name.decode("ascii") for name in policy.never.headers)),
        policy.never.header_patterns.pattern.decode("ascii"),
    )


def _publication(
    publication: BridgePublication | PlaintextPublication,
    policy: Policy,
    holds_legs: bool,
    left_out: list[str],
) -> ExportedPublication:
    published = _distinct(publication.directories.values())
    roles = []
    for role in published:
        found = _role(role, holds_legs)
        if not holds_legs:
            left_out += [f"{publication.name}/{name}" for name in found.users]
        if found.directories or (holds_legs and found.users):
            roles.append(found)
    lines = target_lines(published, policy.never, holds_legs=holds_legs)
    return ExportedPublication(
        publication.name,
        publication.public_port,
        _tls(publication) if isinstance(publication, BridgePublication) else None,
        tuple(roles),
        tuple(lines),
        publication.request_head,
        publication.unlisted_headers is UnlistedHeaders.REFUSE,
    )


def _distinct(roles: Iterable[PublishedRole]) -> list[PublishedRole]:
    """A role is the value of each of its directories."""
    return list({role.profile.name: role for role in roles}.values())


def _role(role: PublishedRole, holds_legs: bool) -> ExportedRole:
    profile = role.profile
    users = tuple(
        name for name, directory in profile.directories.items() if directory.authenticates_users
    )
    fields = profile.headers - _ALWAYS_SENT
    if users and holds_legs:
        fields |= {b"authorization"}
    names = tuple(sorted(field.decode("ascii") for field in fields))
    if unsafe := [name for name in names if not _FIELD.fullmatch(name)]:
        raise ExportError(f"the header field {unsafe[0]!r} cannot be written; remove it")
    dropped: dict[str, list[str]] = {}
    for method, some in profile.dropped_headers.items():
        for name in some:
            dropped.setdefault(name.decode("ascii"), []).append(method.decode("ascii"))
    site_system = _only(profile.name, role.site_systems.listed)
    _check_host(site_system.address)
    _check_name(site_system.name)
    _check_name(site_system.verify_name)
    return ExportedRole(
        profile.name,
        site_system,
        tuple(published_directories(profile)),
        users,
        {method.decode("ascii"): rule for method, rule in profile.bodies.items()},
        names,
        frozenset(name.decode("ascii") for name in fields & profile.repeatable_headers),
        {name: tuple(sorted(verbs)) for name, verbs in sorted(dropped.items())},
        profile.verbs_requirement,
        profile.headers_requirement,
    )


def _only[Place](where: str, listed: Sequence[Place]) -> Place:
    """Return the only site system."""
    if len(listed) == 1:
        return listed[0]
    raise ExportError(f"{where}: several site systems cannot be exported; write one in site_system")


def _tls(publication: BridgePublication) -> ExportedTls:
    server, client = publication.credential.files, publication.site_system_credential.files
    if server is None or client is None:
        raise ExportError(
            f"{publication.name}: other proxies read PEM files without a passphrase; write chain "
            "and key instead of pfx or passphrase"
        )
    for trust in (publication.client_trust, publication.site_system_trust):
        if trust is not None and trust.revocation.without_crl and trust.crls:
            raise ExportError(
                f"{publication.name}: other proxies need a CRL of every authority, or of none; "
                "remove without_crl, or remove all CRLs from a copy of the policy"
            )
    leaf, *issuers = publication.site_system_credential.chain
    return ExportedTls(
        server,
        client,
        _pem(publication.credential),
        _pem(publication.site_system_credential),
        leaf.public_bytes(Encoding.PEM) + publication.site_system_credential.key_pem,
        b"".join(issuer.public_bytes(Encoding.PEM) for issuer in issuers),
        publication.client_tls,
        publication.certificate_policy,
        publication.client_trust,
        publication.site_system_trust,
        publication.clients_resume,
        publication.legs_resume,
        publication.send_ca_names,
    )


def _pem(credential: Credential) -> bytes:
    return credential.chain_pem.rstrip() + b"\n" + credential.key_pem.rstrip() + b"\n"


def _check_name(name: str) -> None:
    if not _NAME.fullmatch(name):
        raise ExportError(f"the name {name!r} cannot be written; use letters, digits, - and .")


def _check_host(address: Address) -> None:
    if not re.fullmatch(r"[A-Za-z0-9_.:-]+", address[0]):
        raise ExportError(f"the address {address[0]!r} cannot be written")


def safe_path(path: Path) -> str:
    """Return a path as text for a configuration. ExportError if it needs quoting."""
    text = str(path)
    if not _PATH.fullmatch(text):
        raise ExportError(
            f"the path {text!r} cannot be written to a configuration; use only letters, digits and "
            "_ . / @ + : , = ~ - in paths"
        )
    return text


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
