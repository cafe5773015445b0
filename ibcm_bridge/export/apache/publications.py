"""The bridged publications of Apache: a virtual host for each name."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from ibcm_bridge.export.apache.balancers import from_balancers, proxy_headers
from ibcm_bridge.export.apache.security_rules import security_rules
from ibcm_bridge.export.apache.site_systems import site_system_tls, site_systems
from ibcm_bridge.export.apache.text import ciphers, versions
from ibcm_bridge.export.model import (
    ExportedListener,
    ExportedPolicy,
    ExportedPublication,
    ExportedTls,
)
from ibcm_bridge.export.writing import SITE_SYSTEM_FIELDS, Files, comment, safe_path
from ibcm_bridge.policy.roles import CertificatePolicy


def server_certificate(tls: ExportedTls) -> Iterator[str]:
    """Return the certificate and the settings of the client leg."""
    yield "SSLEngine on"
    yield f"SSLCertificateFile {safe_path(tls.server.chain)}"
    yield f"SSLCertificateKeyFile {safe_path(tls.server.key)}"
    yield f"SSLProtocol -all {versions(tls.settings)}"
    yield f"SSLCipherSuite {ciphers(tls.settings)}"
    yield "SSLHonorCipherOrder on"


def virtual_host(
    policy: ExportedPolicy,
    listener: ExportedListener,
    publication: ExportedPublication,
    files: Files,
    ids: Iterator[int],
    *,
    key: str,
) -> Iterator[str]:
    """Return the virtual host of a publication; `key` is a name for its balancers."""
    yield comment(f"{publication.name}, for clients port {publication.public_port}")
    yield f"ServerName {publication.name}"
    yield from proxy_headers(listener)
    conditions = [*from_balancers(listener)]
    if publication.tls is not None:
        yield comment("[BRIDGE-TERMINATE] The client leg.")
        yield from server_certificate(publication.tls)
        without_sni = listener.without_sni == publication.name
        yield from _client_certificate(
            publication, publication.tls, conditions, without_sni=without_sni, files=files
        )
        yield from site_system_tls(publication, publication.tls, files)
    elif conditions:
        yield _all_of(conditions)
    yield from security_rules(policy, publication, ids)
    yield comment("[BRIDGE-INSPECT] Fields about the site system.")
    for field in ("Server", *SITE_SYSTEM_FIELDS):
        yield f"Header unset {field}"
        yield f"Header always unset {field}"
    yield from site_systems(policy.limits, publication, key)


def _client_certificate(
    publication: ExportedPublication,
    tls: ExportedTls,
    others: Iterable[str],
    *,
    without_sni: bool,
    files: Files,
) -> Iterator[str]:
    """`others`: more conditions of a request. Of several sections, only the last one counts."""
    yield comment("[DNS-INTERNET-FQDN] The name of the connection.")
    name = publication.name.replace(".", "[.]")
    optional = "?" if without_sni else ""
    conditions = [*others, f"%{{SSL_TLS_SNI}} =~ /^(?:{name}){optional}$/i"]
    trust = tls.client_trust
    if trust is None:
        yield "SSLVerifyClient none"
    else:
        yield comment("[BRIDGE-AUTH-COMPUTER] Client certificates.")
        required = tls.certificates is not CertificatePolicy.OPTIONAL
        yield f"SSLVerifyClient {'require' if required else 'optional'}"
        yield "SSLVerifyDepth 8"
        yield f"SSLCACertificateFile {files.authorities(trust)}"
        yield f"SSLCADNRequestFile {files.anchors(trust)}"
        if (crls := files.crls(trust)) is not None:
            yield f"SSLCARevocationFile {crls}"
            yield "SSLCARevocationCheck chain"
        yield comment("[PKI-BOTH-ENDS] [BRIDGE-AUTH-USER] Purpose and kind of the certificate.")
        conditions.append(_kind(tls.certificates))
    yield "SSLOptions +StdEnvVars"
    yield _all_of(conditions)


def _all_of(conditions: Iterable[str]) -> str:
    requirements = "\n".join(f'        Require expr "{text}"' for text in conditions)
    return f'<Location "/">\n    <RequireAll>\n{requirements}\n    </RequireAll>\n</Location>'


def _kind(certificates: CertificatePolicy) -> str:
    name = "%{SSL_CLIENT_SAN_OTHER_msUPN_0}"
    purpose = "'TLS Web Client Authentication' in PeerExtList('extendedKeyUsage')"
    if certificates is CertificatePolicy.COMPUTER:
        return f"{purpose} && (-z {name} || {name} =~ /[$]@/)"
    if certificates is CertificatePolicy.USER:
        return f"{purpose} && -n {name} && {name} !~ /[$]@/"
    if certificates is CertificatePolicy.OPTIONAL:
        # Without a certificate there is no serial number. A subject can be empty.
        return f"-z %{{SSL_CLIENT_M_SERIAL}} || {purpose}"
    return purpose
