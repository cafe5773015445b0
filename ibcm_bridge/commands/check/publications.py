"""What is published, in words: for `check`, for `explain` and for the log at the start."""

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
    """What it is, whatever is not as it is by default, and what its roles have beside their own."""
    at = address_text(address)
    here = f"{at}: {publication.name}"
    yield Finding(Level.FACT, at, _with_settings(address, publication))
    if isinstance(publication, PlaintextPublication):
        text = f"nothing is encrypted and nobody authenticated, because: {publication.because}"
        yield Finding(Level.WARNING, here, text, "BRIDGE-HTTPS-ONLY")
    if isinstance(publication, HttpPublication):
        yield from _describe_roles(here, publication)


def publication_text(publication: Publication | PlaintextPublication) -> str:
    """One line. A tunnel says what it is wherever it is named (TUNNEL-BLIND)."""
    name = publication.name
    match publication:
        case BridgePublication():
            capped = publication.highest_client_tls is not TlsVersion.TLS_1_3
            cap = f"; TLS {publication.highest_client_tls} at most with clients" if capped else ""
            asked = _ASKED[publication.certificate_policy]
            return f"{name} is bridged: {_roles(publication.directories)}{cap}{asked}"
        case PlaintextPublication():
            to = _roles(publication.directories)
            return f"{name} is plain HTTP on both legs, readable by anybody: {to}"
        case TunnelPublication():
            roles = f" ({', '.join(publication.roles)})" if publication.roles else ""
            to = address_text(publication.site_system)
            return f"{name} is tunneled to {to}{roles}: nothing inside can be inspected"


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


def _with_settings(address: Address, publication: Publication | PlaintextPublication) -> str:
    """A publication, with what is not as it is by default."""
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
            text = "without windows_authentication nobody can use it: it knows its users by that"
            yield Finding(Level.WARNING, f"{here}: roles.{name}", text, role.profile.unusable_by)


def addition_text(addition: Addition) -> str:
    """One line, with why."""
    return f"{_ADDITIONS[addition.kind].format(*addition.names)}, because: {addition.because}"


_ADDITIONS = {
    AdditionKind.VERB: "the verb {} is added",
    AdditionKind.HEADER: "the header {} is added",
    AdditionKind.PATH: "/{}/{} is added for {}",
    AdditionKind.MESSAGE: "{} for {} is added",
    AdditionKind.WINDOWS_AUTHENTICATION: "Windows authentication passes",
    AdditionKind.WITHOUT_CLAMAV: "what ClamAV gives no answer about passes without it",
}
