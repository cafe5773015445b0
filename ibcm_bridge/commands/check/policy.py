"""What an engineer would want to know of a policy before it is run: `ibcm-bridge check`.

The policy has been loaded by the same code that start-up uses, so what stands in it is well-formed.
Here its certificates and revocation lists are held against protocol.md §9: purposes, names, dates,
keys, and where a client on the Internet would look for revocation. The path of every issuing
authority is verified by the function the command line gives, which needs OpenSSL. Nothing is
connected to, and the time is an argument.
"""

from __future__ import annotations

import dataclasses
import datetime
import ipaddress
import itertools
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from urllib.parse import urlsplit

from cryptography import x509
from cryptography.x509.oid import ExtendedKeyUsageOID

from ibcm_bridge.authentication.certificate import CertificateFacts, certificate_facts
from ibcm_bridge.authentication.certification_path import (
    issued,
    malformation,
    weak_key,
    weak_signature,
)
from ibcm_bridge.authentication.revocation import Notes
from ibcm_bridge.commands.check.findings import Finding, Level
from ibcm_bridge.commands.check.revocation_lists import check_lists, distribution_urls
from ibcm_bridge.decisions.denial import Deny
from ibcm_bridge.policy.addresses import Address, address_text, is_ip_address, is_loopback
from ibcm_bridge.policy.policy import ClamAv, Policy, WhenUnwritable
from ibcm_bridge.policy.publications import (
    BridgePublication,
    HttpPublication,
    Listener,
    PlaintextPublication,
    Publication,
    SiteSystem,
    UnlistedHeaders,
)
from ibcm_bridge.policy.trust import Credential, Trust
from ibcm_bridge.policy_file import LimitsRow

WARN_CERTIFICATE = datetime.timedelta(days=14)

VerifyAuthority = Callable[[Trust, x509.Certificate], Notes | Deny]
"""Verifies that an issuing authority leads to an anchor: what to note, or why it does not."""


def check_policy(
    policy: Policy, now: datetime.datetime, verify_authority: VerifyAuthority
) -> Iterator[Finding]:
    """All findings, in the order of the policy. `verify_authority` goes by the machine's clock."""
    for listener in policy.listeners:
        at = address_text(listener.address)
        if isinstance(listener, Listener) and listener.without_sni is not None:
            text = f"clients that send no server name get {listener.without_sni}"
            yield Finding(Level.FACT, at, text)
        for publication in listener.published:
            here = f"{at}: {publication.name}"
            yield Finding(Level.FACT, at, _described(listener.address, publication))
            if isinstance(publication, PlaintextPublication):
                text = (
                    f"nothing is encrypted and nobody authenticated, because: {publication.because}"
                )
                yield Finding(Level.WARNING, here, text, "BRIDGE-HTTPS-ONLY")
            if isinstance(publication, HttpPublication):
                yield from _describe_roles(here, publication)
            if isinstance(publication, BridgePublication):
                yield from _check_bridge(here, publication, now, verify_authority)
    yield from _describe_notes(policy)
    yield from _describe_settings(policy)


def _described(address: Address, publication: Publication | PlaintextPublication) -> str:
    """A publication, with what is not as it is by default."""
    said = [publication.describe()]
    if publication.public_port != address[1]:
        said.append(f"clients connect to port {publication.public_port}")
    if (
        isinstance(publication, HttpPublication)
        and publication.unlisted_headers is UnlistedHeaders.REFUSE
    ):
        said.append("unlisted header fields are refused")
    return "; ".join(said)


def _describe_clamav(clamav: ClamAv) -> Iterator[Finding]:
    where = "engines.clamav"
    if isinstance(clamav.address, Path):
        yield Finding(Level.FACT, where, f"asked through {clamav.address}")
        return
    yield Finding(Level.FACT, where, f"asked at {address_text(clamav.address)}")
    if not is_loopback(clamav.address[0]):
        # clamd(8) knows neither TLS nor who asks.
        text = "what clients send is sent to another machine, and nothing encrypts it"
        yield Finding(Level.WARNING, where, text, "BRIDGE-INSPECT")


def _describe_settings(policy: Policy) -> Iterator[Finding]:
    """What is not as it is by default, of what holds for all publications."""
    if policy.when_unwritable is WhenUnwritable.CONTINUE:
        text = "requests go on while it cannot be written (when_unwritable: continue)"
        yield Finding(Level.FACT, "audit", text)
    yield Finding(Level.FACT, "messages", policy.messages.describe())
    yield Finding(Level.FACT, "uploads", policy.uploads.describe())
    if policy.clamav is not None:
        yield from _describe_clamav(policy.clamav)
    if (why := policy.messages.encrypted_because) is not None:
        text = f"encrypted reports pass unread, because: {why}"
        yield Finding(Level.WARNING, "messages.encrypted", text, "BRIDGE-INSPECT")
    if policy.web_because is not None:
        text = (
            f"run --web may show traffic on a page of this machine, because: {policy.web_because}"
        )
        yield Finding(Level.WARNING, "web", text)
    defaults = LimitsRow().model_dump()
    changed = [
        f"{name} {_number(value)} (default {_number(defaults[name])})"
        for name, value in dataclasses.asdict(policy.limits).items()
        if value != defaults[name]
    ]
    if changed:
        yield Finding(Level.FACT, "limits", ", ".join(changed))


def _number(value: float) -> str:
    return str(value) if isinstance(value, int) else f"{value:g}"


def _describe_roles(here: str, publication: HttpPublication) -> Iterator[Finding]:
    roles = {role.profile.name: role for role in publication.directories.values()}
    for name, role in roles.items():
        for text in role.additions:
            yield Finding(Level.FACT, f"{here}: roles.{name}", text)
        if role.profile.of_no_use:
            text = "without windows_authentication nobody can use it: it knows its users by that"
            yield Finding(Level.WARNING, f"{here}: roles.{name}", text, role.profile.of_no_use)


def _check_bridge(
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
        text = f"it is for {named}, not for {publication.name}: clients will refuse it"
        yield Finding(Level.PROBLEM, where, text, "DNS-INTERNET-FQDN")
    yield from _check_distribution_points(where, publication.credential)
    yield from _check_end_of_chain(where, publication)

    for role in {one.profile.name: one for one in publication.directories.values()}.values():
        yield from _check_name(f"{here}: roles.{role.profile.name}", role.site_system)
    where = f"{here}: site_systems.certificate"
    facts = _facts(publication.site_system_credential)
    yield from _check_credential(where, publication.site_system_credential, now)
    yield from _check_purpose(where, facts, ExtendedKeyUsageOID.CLIENT_AUTH, "clientAuth")

    presented = [
        certificate
        for credential in (publication.credential, publication.site_system_credential)
        for certificate in x509.load_pem_x509_certificates(credential.chain_pem)
    ]
    for key, trust in _trusts(publication):
        found = list(_check_trust(f"{here}: {key}", trust, presented, now))
        yield from found
        if not any(one.level is Level.PROBLEM for one in found):
            # Where the parts are wrong the path is too, and saying so twice would not help.
            yield from _check_paths(f"{here}: {key}", trust, verify_authority)


def _trusts(publication: BridgePublication) -> Iterator[tuple[str, Trust]]:
    """By the key that each has in the policy file."""
    if publication.client_trust is not None:
        yield "clients.trust", publication.client_trust
    yield "site_systems.trust", publication.site_system_trust


def _describe_notes(policy: Policy) -> Iterator[Finding]:
    """What was noticed of files, once: publications share them, and a folder has one story."""
    places: dict[str, list[str]] = {}
    for at, publication in policy.bridged():
        for key, trust in _trusts(publication):
            if trust.notes:
                places.setdefault("; ".join(trust.notes), []).append(
                    f"{address_text(at)}: {publication.name}: {key}"
                )
    for text, wheres in places.items():
        yield Finding(Level.WARNING, ", ".join(wheres), text)


def _facts(credential: Credential) -> CertificateFacts:
    return certificate_facts(x509.load_pem_x509_certificates(credential.chain_pem)[0])


def _names(facts: CertificateFacts, name: str) -> bool:
    """Whether a client that asks for `name` accepts these names (RFC 9525 §6.3)."""
    wildcard = "*." + name.partition(".")[2]
    return any(given.lower() in (name, wildcard) for given in facts.dns_names)


def _check_purpose(
    where: str, facts: CertificateFacts, oid: x509.ObjectIdentifier, name: str
) -> Iterator[Finding]:
    if facts.purposes is None or oid.dotted_string not in facts.purposes:
        text = f"its extKeyUsage does not have {name}"
        yield Finding(Level.PROBLEM, where, text, "PKI-BOTH-ENDS")


def _check_credential(
    where: str, credential: Credential, now: datetime.datetime
) -> Iterator[Finding]:
    chain = x509.load_pem_x509_certificates(credential.chain_pem)
    for note in credential.notes:
        yield Finding(Level.WARNING, where, note)
    for certificate in chain:
        yield from _check_certificate(where, certificate, now)
    for certificate, issuer in itertools.pairwise(chain):
        if not issued(issuer, certificate):
            text = f"{_name(issuer)} did not issue {_name(certificate)}: the chain is out of order"
            yield Finding(Level.PROBLEM, where, text, "PKI-BOTH-ENDS")


def _check_end_of_chain(where: str, publication: BridgePublication) -> Iterator[Finding]:
    """A client that lacks an authority in between cannot build the path."""
    chain = x509.load_pem_x509_certificates(publication.credential.chain_pem)
    asked = publication.client_trust
    # SSL_CTX_add_extra_chain_cert(3): OpenSSL completes a certificate that stands alone from the
    # authorities that client certificates are verified by.
    known = list(asked.intermediates) if asked is not None and len(chain) == 1 else []
    last = chain[-1]
    while issuer := next((one for one in known if issued(one, last)), None):
        known.remove(issuer)
        last = issuer
    anchors = [one for _, trust in _trusts(publication) for one in trust.anchors]
    if not any(issued(one, last) for one in (last, *anchors)):
        text = f"{_name(last)} was issued by {last.issuer.rfc4514_string()[:200]}, which is not "
        text += "in its file: clients that do not have that authority will refuse it"
        yield Finding(Level.WARNING, where, text, "PKI-BOTH-ENDS")


def _check_name(where: str, site_system: SiteSystem) -> Iterator[Finding]:
    if is_ip_address(site_system.verify_name):
        text = f"{site_system.verify_name} is an address, and of a certificate only DNS names are "
        text += "looked at, so it is never verified: give its name, or a verify_name"
        yield Finding(Level.PROBLEM, where, text, "BRIDGE-TERMINATE")
    elif is_ip_address(site_system.name):
        text = f"{site_system.name} is sent as server name, which an address must not be "
        text += "(RFC 6066 section 3): give site_system its name, and connect the address"
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
    urls = distribution_urls(x509.load_pem_x509_certificates(credential.chain_pem)[0])
    if not urls:
        text = "it names no CRL distribution point; clients that check revocation will refuse it"
        yield Finding(Level.WARNING, where, text)
    elif not any(_reachable_from_the_internet(url) for url in urls):
        text = f"no CRL distribution point that an Internet client can reach: {', '.join(urls)}"
        yield Finding(Level.WARNING, where, text)


_INTERNAL_SUFFIXES = (".local", ".lan", ".internal", ".corp", ".home.arpa")


def _reachable_from_the_internet(url: str) -> bool:
    """Judged by the URL alone: HTTP, to a name or an address that can be public."""
    parts = urlsplit(url)
    host = (parts.hostname or "").lower()
    if parts.scheme != "http" or not host:
        return False  # ldap and file need the domain; https would need the CRL it is fetching
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
        if certificate.subject != certificate.issuer:
            text = f"{_name(certificate)} is not self-signed; it belongs under issuing"
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
