"""Describes publications for `check`, `explain` and the start of `run`."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from ibcm_bridge.commands.check.findings import Finding, Level
from ibcm_bridge.decisions.observing import NOTICE
from ibcm_bridge.policy.addresses import Address, address_text
from ibcm_bridge.policy.publications import (
    Addition,
    AdditionKind,
    BridgePublication,
    HttpPublication,
    PlaintextPublication,
    Publication,
    PublishedRole,
    TunnelPublication,
    UnlistedHeaders,
)
from ibcm_bridge.policy.roles import CertificatePolicy
from ibcm_bridge.policy.site_systems import Order, SiteSystems
from ibcm_bridge.policy.tls_settings import DEFAULT_TLS, CipherSuites, TlsSettings


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
        if (why := publication.observe_because) is not None:
            yield Finding(Level.WARNING, here, f"{NOTICE}, because: {why}", "BRIDGE-INSPECT")
        yield from _describe_roles(here, publication)


def publication_text(publication: Publication | PlaintextPublication) -> str:
    """One line. It states of each tunnel that nothing is inspected (TUNNEL-BLIND)."""
    name = publication.name
    match publication:
        case BridgePublication():
            tls = "".join(f"; client leg {text}" for text in _tls_texts(publication.client_tls))
            accepted = _CERTIFICATES[publication.certificate_policy]
            return f"{name} is bridged: {_roles(publication.directories)}{tls}{accepted}"
        case PlaintextPublication():
            to = _roles(publication.directories)
            plain = "published over plain HTTP on both legs, readable by anyone on the path"
            return f"{name} is {plain}: {to}"
        case TunnelPublication():
            roles = f" ({', '.join(publication.roles)})" if publication.roles else ""
            to = " or ".join(map(address_text, publication.site_systems))
            return f"{name} is tunneled to {to}{roles}: the content cannot be inspected"


def _roles(directories: Mapping[str, PublishedRole]) -> str:
    roles = {role.profile.name: role.site_systems for role in directories.values()}
    return ", ".join(f"{name} at {site_systems_text(each)}" for name, each in roles.items())


def site_systems_text(site_systems: SiteSystems) -> str:
    """Their names; of several, with their order."""
    several = len(site_systems.listed) > 1
    return site_systems.text + (_ORDERS[site_systems.order] if several else "")


_ORDERS = {
    Order.AS_LISTED: " (as listed)",
    Order.BY_CLIENT: " (by client)",
}


def _tls_texts(settings: TlsSettings) -> Iterator[str]:
    """The settings that are not the default, each after the name of its leg."""
    if settings.highest is not DEFAULT_TLS.highest:
        yield f"limited to TLS {settings.highest}"
    if settings.suites is not DEFAULT_TLS.suites:
        yield f"with {_SUITES[settings.suites]} (tls: {settings.suites})"


_SUITES = {
    CipherSuites.MODERN: "AEAD cipher suites only",
    CipherSuites.STANDARD: "ECDHE cipher suites only",
    CipherSuites.COMPATIBLE: "static RSA cipher suites too, which have no forward secrecy",
}

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
        listed = role.site_systems.listed
        for site_system in listed:
            leg = "site-system leg" if len(listed) == 1 else f"leg to {site_system.name}"
            for text in _tls_texts(site_system.tls):
                yield Finding(Level.FACT, f"{here}: roles.{name}", f"{leg} {text}")
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
