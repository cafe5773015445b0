"""The site-system legs of Apache.

How it works: Apache connects to the name in a URL, and verifies that name, so the names must
resolve to the addresses of the policy. Several site systems of a role are the members of a balancer
(mod_proxy_balancer): those of a higher `lbset` are tried if all of the lower ones are in error.
If the connection to a member fails, the request goes to the next one; if its TLS handshake fails,
the request is lost (500), and the next one goes to another member. A member in error is left out
for 30 s.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from ibcm_bridge.export.apache.text import block, ciphers, versions, whole_seconds
from ibcm_bridge.export.exported import ExportError
from ibcm_bridge.export.model import (
    ExportedPolicy,
    ExportedPublication,
    ExportedRole,
    ExportedTls,
    attempt_seconds,
)
from ibcm_bridge.export.raw_patterns import raw_literal
from ibcm_bridge.export.writing import Files, comment
from ibcm_bridge.policy.addresses import host_text, is_ip_address
from ibcm_bridge.policy.policy import Limits
from ibcm_bridge.policy.site_systems import SiteSystem
from ibcm_bridge.policy.tls_settings import TlsSettings

_OF_BALANCERS = ("slotmem_shm", "proxy_balancer", "lbmethod_byrequests")


def needed_modules(policy: ExportedPolicy) -> tuple[str, ...]:
    """Return the modules for several site systems of a role; nothing if no role has several."""
    return _OF_BALANCERS if any(role.has_several for role in policy.roles) else ()


def host_addresses(policy: ExportedPolicy) -> Mapping[str, str]:
    """Return the names of site systems that the policy connects to at another address."""
    hosts: dict[str, str] = {}
    for role in policy.roles:
        for site_system in role.site_systems.listed:
            _add(hosts, site_system.verify_name, site_system.address[0])
    return hosts


def _add(hosts: dict[str, str], name: str, address: str) -> None:
    if name == address:
        return
    if hosts.setdefault(name, address) != address:
        raise ExportError(
            f"{name}: Apache connects to a name, which cannot have the addresses {hosts[name]} and "
            f"{address}"
        )
    if not is_ip_address(address):
        raise ExportError(f"{name}: connect: {address} is another name; write an IP address")


def site_system_tls(
    publication: ExportedPublication, tls: ExportedTls, files: Files
) -> Iterator[str]:
    """Return the certificate and the settings of the site-system leg."""
    settings = _settings(publication)
    yield comment("[BRIDGE-TERMINATE] The site-system leg.")
    yield "SSLProxyEngine on"
    yield f"SSLProxyProtocol -all {versions(settings)}"
    yield f"SSLProxyCipherSuite {ciphers(settings)}"
    yield f"SSLProxyMachineCertificateFile {files.pair(tls.client, tls.client_leaf_pem)}"
    if tls.client_issuers_pem:
        path = files.chain(tls.client, tls.client_issuers_pem)
        yield f"SSLProxyMachineCertificateChainFile {path}"
    yield "SSLProxyVerify require"
    yield "SSLProxyVerifyDepth 8"
    yield "SSLProxyCheckPeerName on"
    yield "SSLProxyCheckPeerExpire on"
    yield f"SSLProxyCACertificateFile {files.authorities(tls.site_system_trust)}"
    if (crls := files.crls(tls.site_system_trust)) is not None:
        yield f"SSLProxyCARevocationFile {crls}"
        yield "SSLProxyCARevocationCheck chain"


def _settings(publication: ExportedPublication) -> TlsSettings:
    found = {
        site_system.tls for role in publication.roles for site_system in role.site_systems.listed
    }
    if len(found) > 1:
        raise ExportError(
            f"{publication.name}: Apache has one TLS setting for all site systems of a name; "
            "publish roles with other tls or highest_tls under another name"
        )
    return found.pop()


def site_systems(limits: Limits, publication: ExportedPublication, key: str) -> Iterator[str]:
    """Return the directives that forward requests; `key` is a name for the balancers."""
    yield comment("[BRIDGE-HTTPS-ONLY] [BRIDGE-IDENTITY] Each request has its own connection.")
    scheme = "http" if publication.tls is None else "https"
    for index, role in enumerate(publication.roles, 1):
        if not role.directories:
            continue
        listed = role.site_systems.listed
        options = (
            f"disablereuse=on connectiontimeout={whole_seconds(attempt_seconds(limits, listed))}"
        )
        to, after = _url(scheme, listed[0]), f" {options}"
        if role.has_several:
            to, after = f"balancer://site_{key}_{index}", ""
            yield comment(f"{role.name}: [BRIDGE-TERMINATE] In this order; 30 s after an error.")
            yield block("Proxy", f'"{to}"', _members(role, scheme, options))
        directories = "|".join(map(raw_literal, role.directories))
        # nocanon: the target as sent, with its query.
        pattern = f"(?i)^/((?:{directories})(?:[/?].*)?)$"
        yield f'ProxyPassMatch "{pattern}" "{to}/$1" nocanon{after}'
        for name in sorted(role.site_systems.names):
            yield f"ProxyPassReverse / {scheme}://{name}/"


def _members(role: ExportedRole, scheme: str, options: str) -> Iterator[str]:
    for number, site_system in enumerate(role.site_systems.listed):
        yield f'BalancerMember "{_url(scheme, site_system)}" lbset={number} retry=30 {options}'


def _url(scheme: str, site_system: SiteSystem) -> str:
    return f"{scheme}://{host_text(site_system.verify_name)}:{site_system.address[1]}"
