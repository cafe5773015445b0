"""Describes publications for `check`, `explain` and the start of `run`."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from ibcm_bridge.commands.check.findings import Finding, Level
from ibcm_bridge.policy.addresses import Address, address_text
from ibcm_bridge.policy.publications import (
    Addition,
    AdditionKind,
    BridgePublication,
    HttpPublication,
    PlaintextPublication,
    Publication,
    PublishedRole,
    TlsVersion,
    TunnelPublication,
    UnlistedHeaders,
)
from ibcm_bridge.policy.roles import CertificatePolicy


def describe_publication(
    address: Address, publication: Publication | PlaintextPublication
) -> Iterator[Finding]:
    """The publication, its non-default settings, and additions to its roles."""
    at = address_text(address)
    here = f"{at}: {publication.name}"
    yield Finding(Level.FACT, at, _with_settings(address, publication))
    if isinstance(publication, PlaintextPublication):
        text = f"no encryption, no client authentication, because: {publication.because}"
        yield Finding(Level.WARNING, here, text, "BRIDGE-HTTPS-ONLY")
    if isinstance(publication, HttpPublication):
        yield from _describe_roles(here, publication)


def publication_text(publication: Publication | PlaintextPublication) -> str:
    """One line. It states of each tunnel that nothing is inspected (TUNNEL-BLIND)."""
    name = publication.name
    match publication:
        case BridgePublication():
            capped = publication.highest_client_tls is not TlsVersion.TLS_1_3
            cap = f"; client leg limited to TLS {publication.highest_client_tls}" if capped else ""
            accepted = _CERTIFICATES[publication.certificate_policy]
            return f"{name} is bridged: {_roles(publication.directories)}{cap}{accepted}"
        case PlaintextPublication():
            to = _roles(publication.directories)
            plain = "published over plain HTTP on both legs, readable by anyone on the path"
            return f"{name} is {plain}: {to}"
        case TunnelPublication():
            roles = f" ({', '.join(publication.roles)})" if publication.roles else ""
            to = address_text(publication.site_system)
            return f"{name} is tunneled to {to}{roles}: the content cannot be inspected"


def _roles(directories: Mapping[str, PublishedRole]) -> str:
    roles = {role.profile.name: role.site_system.name for role in directories.values()}
    return ", ".join(f"{name} at {site_system}" for name, site_system in roles.items())


_CERTIFICATES = {
    CertificatePolicy.COMPUTER: "",
    CertificatePolicy.USER: "; user certificates",
    CertificatePolicy.EITHER: "; computer and user certificates",
    CertificatePolicy.OPTIONAL: "; client certificates are optional",
    CertificatePolicy.NONE: "; client certificates are not requested",
}


def _with_settings(address: Address, publication: Publication | PlaintextPublication) -> str:
    """A publication with its non-default settings."""
    parts = [publication_text(publication)]
    if publication.public_port != address[1]:
        parts.append(f"clients connect to port {publication.public_port}")
    if (
        isinstance(publication, HttpPublication)
        and publication.unlisted_headers is UnlistedHeaders.REFUSE
    ):
        parts.append("unlisted header fields are refused")
    return "; ".join(parts)


def _describe_roles(here: str, publication: HttpPublication) -> Iterator[Finding]:
    roles = {role.profile.name: role for role in publication.directories.values()}
    for name, role in roles.items():
        for addition in role.additions:
            yield Finding(Level.FACT, f"{here}: roles.{name}", addition_text(addition))
        if role.profile.unusable_by:
            text = "clients cannot use this role without windows_authentication"
            yield Finding(Level.WARNING, f"{here}: roles.{name}", text, role.profile.unusable_by)


def addition_text(addition: Addition) -> str:
    """One line, with the operator's reason."""
    return f"{_ADDITIONS[addition.kind].format(*addition.names)}, because: {addition.because}"


_ADDITIONS = {
    AdditionKind.VERB: "added verb {}",
    AdditionKind.HEADER: "added header field {}",
    AdditionKind.PATH: "added path /{}/{} for {}",
    AdditionKind.MESSAGE: "added message {} for endpoint {}",
    AdditionKind.WINDOWS_AUTHENTICATION: "Windows authentication is allowed",
    AdditionKind.WITHOUT_CLAMAV: "requests that ClamAV cannot scan are forwarded",
}
