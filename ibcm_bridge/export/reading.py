"""Reads a policy into the values of `model`, and refuses what a proxy could misread."""

from __future__ import annotations

import re
from collections.abc import Iterable

from cryptography.hazmat.primitives.serialization import Encoding

from ibcm_bridge.export.exported import ExportError
from ibcm_bridge.export.model import (
    ExportedListener,
    ExportedPolicy,
    ExportedPublication,
    ExportedRole,
    ExportedTls,
    ExportedTunnel,
)
from ibcm_bridge.export.targets import published_directories, target_lines
from ibcm_bridge.policy.addresses import Address
from ibcm_bridge.policy.policy import Policy
from ibcm_bridge.policy.publications import (
    BridgePublication,
    Listener,
    PlaintextListener,
    PlaintextPublication,
    PublishedRole,
    TunnelPublication,
    UnlistedHeaders,
)
from ibcm_bridge.policy.trust import Credential

_NAME = re.compile(r"[a-z0-9_](?:[a-z0-9_.-]*[a-z0-9_])?")
_FIELD = re.compile(r"[a-z0-9!#$%&'*+.^_`|~-]+")
_ENROLLMENT = "enrollment-proxy-point"
_ALWAYS_SENT = frozenset((b"host", b"content-length"))
"""The proxies write these themselves."""


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
                for address in publication.site_systems:
                    _check_host(address)
                enrolled = _ENROLLMENT in publication.roles
                places = publication.site_systems
                tunnels.append(ExportedTunnel(publication.name, places, enrolled))
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
    for site_system in role.site_systems.listed:
        _check_host(site_system.address)
        _check_name(site_system.name)
        _check_name(site_system.verify_name)
    return ExportedRole(
        profile.name,
        role.site_systems,
        tuple(published_directories(profile)),
        users,
        {method.decode("ascii"): rule for method, rule in profile.bodies.items()},
        names,
        frozenset(name.decode("ascii") for name in fields & profile.repeatable_headers),
        {name: tuple(sorted(verbs)) for name, verbs in sorted(dropped.items())},
        profile.verbs_requirement,
        profile.headers_requirement,
    )


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
