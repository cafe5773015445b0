"""Checks the certificates and trusts of a publication against protocol.md §9.

Checked are purposes, names, dates, keys, and where a client on the Internet would fetch CRLs. The
caller provides the function that verifies the path of each issuing authority; it needs OpenSSL.
"""

from __future__ import annotations

import datetime
import ipaddress
import itertools
from collections.abc import Callable, Iterator, Sequence
from urllib.parse import urlsplit

from cryptography import x509
from cryptography.x509.oid import ExtendedKeyUsageOID

from ibcm_bridge.authentication.certificate import CertificateFacts, certificate_facts
from ibcm_bridge.authentication.certification_path import (
    is_self_signed,
    issued,
    malformation,
    weak_key,
    weak_signature,
)
from ibcm_bridge.authentication.revocation import Notes
from ibcm_bridge.commands.check.findings import Finding, Level
from ibcm_bridge.commands.check.revocation_lists import check_lists, distribution_urls
from ibcm_bridge.decisions.denial import Deny
from ibcm_bridge.policy.addresses import address_text, is_ip_address
from ibcm_bridge.policy.policy import Policy
from ibcm_bridge.policy.publications import BridgePublication
from ibcm_bridge.policy.site_systems import SiteSystem
from ibcm_bridge.policy.trust import WARN_CERTIFICATE, Credential, Trust

VerifyAuthority = Callable[[Trust, x509.Certificate], Notes | Deny]
"""Verifies the path from an issuing authority to an anchor. Returns audit notes, or a denial."""


def check_certificates(
    here: str,
    publication: BridgePublication,
    now: datetime.datetime,
    verify_authority: VerifyAuthority,
) -> Iterator[Finding]:
    where = f"{here}: certificate"
    facts = _facts(publication.credential)
    yield from _check_credential(where, publication.credential, now)
    yield from _check_purpose(where, facts, ExtendedKeyUsageOID.SERVER_AUTH, "serverAuth")
    if not _names(facts, publication.name):
        named = ", ".join(facts.dns_names) or "no DNS name"
        text = f"issued for {named}, not for {publication.name}; clients will refuse it"
        yield Finding(Level.PROBLEM, where, text, "DNS-INTERNET-FQDN")
    yield from _check_distribution_points(where, publication.credential)
    yield from _check_end_of_chain(where, publication)

    for role in {role.profile.name: role for role in publication.directories.values()}.values():
        for site_system in role.site_systems.listed:
            yield from _check_name(f"{here}: roles.{role.profile.name}", site_system)
    where = f"{here}: site_systems.certificate"
    facts = _facts(publication.site_system_credential)
    yield from _check_credential(where, publication.site_system_credential, now)
    yield from _check_purpose(where, facts, ExtendedKeyUsageOID.CLIENT_AUTH, "clientAuth")

    presented = [
        certificate
        for credential in (publication.credential, publication.site_system_credential)
        for certificate in credential.chain
    ]
    for key, trust in _trusts(publication):
        found = list(_check_trust(f"{here}: {key}", trust, presented, now))
        yield from found
        if not any(finding.level is Level.PROBLEM for finding in found):
            # A wrong part also breaks the path; reporting both would not help.
            yield from _check_paths(f"{here}: {key}", trust, verify_authority)


def _trusts(publication: BridgePublication) -> Iterator[tuple[str, Trust]]:
    """Each trust, with its key in the policy file."""
    if publication.client_trust is not None:
        yield "clients.trust", publication.client_trust
    yield "site_systems.trust", publication.site_system_trust


def _facts(credential: Credential) -> CertificateFacts:
    return certificate_facts(credential.chain[0])


def _names(facts: CertificateFacts, name: str) -> bool:
    """Return whether a client that connects to `name` accepts these names (RFC 9525 §6.3)."""
    wildcard = "*." + name.partition(".")[2]
    return any(given.lower() in (name, wildcard) for given in facts.dns_names)


def _check_purpose(
    where: str, facts: CertificateFacts, oid: x509.ObjectIdentifier, name: str
) -> Iterator[Finding]:
    if facts.purposes is None or oid.dotted_string not in facts.purposes:
        text = f"extKeyUsage lacks {name}"
        yield Finding(Level.PROBLEM, where, text, "PKI-BOTH-ENDS")


def _check_credential(
    where: str, credential: Credential, now: datetime.datetime
) -> Iterator[Finding]:
    chain = credential.chain
    if (file := credential.exposed_file) is not None:
        text = f"{file} has a private key; every user of this machine can read it; restrict access"
        yield Finding(Level.WARNING, where, text)
    for certificate in chain:
        yield from _check_certificate(where, certificate, now)
    for certificate, issuer in itertools.pairwise(chain):
        if not issued(issuer, certificate):
            text = f"the chain is out of order: {_name(certificate)} is followed by "
            text += f"{_name(issuer)}, which did not issue it"
            yield Finding(Level.PROBLEM, where, text, "PKI-BOTH-ENDS")


def _check_end_of_chain(where: str, publication: BridgePublication) -> Iterator[Finding]:
    """A client without an intermediate authority cannot build the path."""
    chain = publication.credential.chain
    client_trust = publication.client_trust
    # SSL_CTX_add_extra_chain_cert(3): OpenSSL completes a chain of one certificate with the
    # authorities that verify client certificates.
    known = list(client_trust.intermediates) if client_trust is not None and len(chain) == 1 else []
    last = chain[-1]
    while issuer := next((authority for authority in known if issued(authority, last)), None):
        known.remove(issuer)
        last = issuer
    anchors = [anchor for _, trust in _trusts(publication) for anchor in trust.anchors]
    if not any(issued(authority, last) for authority in (last, *anchors)):
        text = f"{_name(last)} was issued by {last.issuer.rfc4514_string()[:200]}, which is not in "
        text += "the chain file; clients without that CA will refuse the certificate"
        yield Finding(Level.WARNING, where, text, "PKI-BOTH-ENDS")


def _check_name(where: str, site_system: SiteSystem) -> Iterator[Finding]:
    if is_ip_address(site_system.verify_name):
        text = f"{site_system.verify_name} is an IP address, and only the DNS names of a "
        text += "certificate are verified, so verification always fails; set site_system or "
        text += "verify_name to a DNS name"
        yield Finding(Level.PROBLEM, where, text, "BRIDGE-TERMINATE")
    elif is_ip_address(site_system.name):
        text = f"{site_system.name} is sent as server name, which must not be an IP address "
        text += "(RFC 6066 section 3); set site_system to the DNS name and connect to the address"
        yield Finding(Level.WARNING, where, text)


def _check_certificate(
    where: str, certificate: x509.Certificate, now: datetime.datetime
) -> Iterator[Finding]:
    name, ends = _name(certificate), certificate.not_valid_after_utc
    if now > ends:
        yield Finding(Level.PROBLEM, where, f"{name} expired on {ends:%Y-%m-%d}", "PKI-BOTH-ENDS")
    elif now < certificate.not_valid_before_utc:
        begins = certificate.not_valid_before_utc
        text = f"{name} is not valid before {begins:%Y-%m-%d %H:%M} UTC"
        yield Finding(Level.PROBLEM, where, text, "PKI-BOTH-ENDS")
    elif ends - now < WARN_CERTIFICATE:
        yield Finding(Level.WARNING, where, f"{name} expires on {ends:%Y-%m-%d}")
    for weakness in filter(None, (weak_key(certificate), weak_signature(certificate))):
        yield Finding(Level.PROBLEM, where, f"{name} has {weakness}", "PKI-BOTH-ENDS")


def _check_distribution_points(where: str, credential: Credential) -> Iterator[Finding]:
    """A client on the Internet checks revocation by default (protocol.md §9.2)."""
    urls = distribution_urls(credential.chain[0])
    if not urls:
        text = (
            "no CRL distribution point; clients that check revocation will refuse the certificate"
        )
        yield Finding(Level.WARNING, where, text)
    elif not any(_reachable_from_the_internet(url) for url in urls):
        text = f"Internet clients can reach no CRL distribution point: {', '.join(urls)}"
        yield Finding(Level.WARNING, where, text)


_INTERNAL_SUFFIXES = (".local", ".lan", ".internal", ".corp", ".home.arpa")


def _reachable_from_the_internet(url: str) -> bool:
    """Decided by the URL alone: HTTP, to a name or an address that can be public."""
    parts = urlsplit(url)
    host = (parts.hostname or "").lower()
    if parts.scheme != "http" or not host:
        return False  # ldap and file need the domain; https would need the CRL that it fetches
    try:
        return ipaddress.ip_address(host).is_global
    except ValueError:
        return "." in host and not host.endswith(_INTERNAL_SUFFIXES)


def _check_trust(
    where: str, trust: Trust, presented: Sequence[x509.Certificate], now: datetime.datetime
) -> Iterator[Finding]:
    authorities = (*trust.anchors, *trust.intermediates)
    for certificate in authorities:
        yield from _check_certificate(where, certificate, now)
        malformed = malformation(certificate, issues=True)
        if malformed is not None:
            text = f"{_name(certificate)} {malformed}: every path through it is refused"
            yield Finding(Level.PROBLEM, where, text, "PKI-BOTH-ENDS")
    for certificate in trust.anchors:
        if not is_self_signed(certificate):
            text = f"{_name(certificate)} is not self-signed; list it under issuing"
            yield Finding(Level.PROBLEM, where, text, "PKI-BOTH-ENDS")
    yield from check_lists(where, trust, presented, now)


def _check_paths(where: str, trust: Trust, verify_authority: VerifyAuthority) -> Iterator[Finding]:
    for certificate in trust.intermediates:
        denial = verify_authority(trust, certificate)
        if isinstance(denial, Deny):
            text = f"{_name(certificate)} cannot be verified: {denial.detail}"
            yield Finding(Level.PROBLEM, where, text, "PKI-BOTH-ENDS")


def _name(certificate: x509.Certificate) -> str:
    return certificate.subject.rfc4514_string()[:200]


def describe_trust_files(policy: Policy) -> Iterator[Finding]:
    """Problems of CRL files, once each: publications share files."""
    places: dict[str, list[str]] = {}
    for at, publication in policy.bridged():
        for key, trust in _trusts(publication):
            if text := _files_text(trust):
                places.setdefault(text, []).append(f"{address_text(at)}: {publication.name}: {key}")
    for text, wheres in places.items():
        yield Finding(Level.WARNING, ", ".join(wheres), text)


def _files_text(trust: Trust) -> str:
    awaited = (
        f"no revocation list of {name.rfc4514_string()} yet; its certificates are refused until "
        "the list is fetched"
        for name in trust.awaited
    )
    return "; ".join((*trust.unread_files, *awaited))
