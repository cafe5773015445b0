"""The site-system legs of HAProxy: a backend for each role.

How it works, with several site systems (configuration manual, 4.2 `balance`, `option redispatch`,
`retry-on`, and 5.2 `observe`):

1. `balance first` selects the first one that is up; with `order: by-client`, a consistent hash of
   the client's certificate does.
2. If it does not accept the connection, the request goes to another one (`retry-on conn-failure`):
   no byte of it was sent. If its TLS handshake fails, the request is lost (503).
3. After 3 such failures, a server is down until a health check, which is a TLS handshake, succeeds.
"""

from __future__ import annotations

from collections.abc import Iterator

from ibcm_bridge.export.haproxy.text import ciphers, milliseconds, versions
from ibcm_bridge.export.model import (
    ExportedPublication,
    ExportedRole,
    ExportedTls,
    ExportedTunnel,
    attempt_seconds,
    one_pattern_for,
)
from ibcm_bridge.export.writing import Files, comment
from ibcm_bridge.policy.addresses import address_text
from ibcm_bridge.policy.policy import Limits
from ibcm_bridge.policy.site_systems import SiteSystem

CLIENT = "txn.client"
"""The variable that selects the site system of a client."""

_CHECK = "check inter 10s fall 3 rise 1 observe layer4 error-limit 3 on-error mark-down"


def client_variable(publication: ExportedPublication, when: str) -> Iterator[str]:
    """Return the rules that set `CLIENT`, if a role needs it."""
    if any(role.is_spread for role in publication.roles):
        yield comment("[BRIDGE-TERMINATE] A client is its certificate, or its address.")
        yield f"http-request set-var({CLIENT}) src if {when}"
        if publication.tls is not None:
            presented = f"{when} {{ ssl_c_used }}"
            yield f"http-request set-var({CLIENT}) ssl_c_der,sha2(256) if {presented}"


def backend(
    limits: Limits, publication: ExportedPublication, role: ExportedRole, files: Files
) -> Iterator[str]:
    """Return the lines of the backend of a role."""
    listed = role.site_systems.listed
    yield "mode http"
    yield comment("[USER-WINDOWS-AUTH] A server connection belongs to one client connection.")
    yield "http-reuse never"
    names = one_pattern_for(sorted(role.site_systems.names))
    yield f"http-response replace-header location '^https?://{names}(:[0-9]+)?/(.*)$' '/\\2'"
    if role.has_several:
        yield from _several(limits, role)
    if publication.tls is not None:
        yield comment("[BRIDGE-TERMINATE] [BRIDGE-HTTPS-ONLY] The site-system leg.")
    yield comment("[BRIDGE-IDENTITY] The body is forwarded unchanged.")
    for number, site_system in enumerate(listed, 1):
        words = [f"server {_server(number, len(listed))} {address_text(site_system.address)}"]
        if publication.tls is not None:
            words += _leg(publication.tls, site_system, files)
        if role.has_several:
            words.append(_CHECK)
            if publication.tls is not None:
                words.append(f"check-sni {site_system.name}")
        yield " ".join(words)


def tunnel_backend(limits: Limits, tunnel: ExportedTunnel) -> Iterator[str]:
    """Return the lines of the backend of a tunnel."""
    listed = tunnel.site_systems
    idle = milliseconds(limits.tunnel_idle_seconds)
    yield "mode tcp"
    yield f"timeout server {idle}"
    yield f"timeout tunnel {idle}"
    if len(listed) > 1:
        yield comment("[TUNNEL-PASS] The first one that accepts the connection.")
        yield "balance first"
        yield from _failover(limits, listed)
    for number, address in enumerate(listed, 1):
        check = f" {_CHECK}" if len(listed) > 1 else ""
        yield f"server {_server(number, len(listed))} {address_text(address)}{check}"


def _several(limits: Limits, role: ExportedRole) -> Iterator[str]:
    yield comment("[BRIDGE-TERMINATE] Several site systems. No request is sent twice.")
    if role.is_spread:
        yield f"balance hash var({CLIENT})"
        yield "hash-type consistent"
    else:
        yield "balance first"
    yield from _failover(limits, role.site_systems.listed)
    if role.users:
        yield comment("[USER-WINDOWS-AUTH] A signed-in client stays.")
        yield "option prefer-last-server"
    if "BITS_POST" in role.verbs:
        yield comment("[BRIDGE-INSPECT] An upload stays with its session.")
        yield "stick-table type string len 64 size 100k expire 1d"
        yield "stick match req.fhdr(bits-session-id)"
        yield "stick store-response res.fhdr(bits-session-id)"


def _failover(limits: Limits, listed: tuple[object, ...]) -> Iterator[str]:
    yield f"timeout connect {milliseconds(attempt_seconds(limits, listed))}"
    yield f"retries {len(listed) - 1}"
    yield "option redispatch 1"


def _leg(tls: ExportedTls, site_system: SiteSystem, files: Files) -> Iterator[str]:
    yield f"ssl verify required ca-file {files.authorities(tls.site_system_trust)}"
    if (crls := files.crls(tls.site_system_trust)) is not None:
        yield f"crl-file {crls}"
    yield f"crt {files.pair(tls.client, tls.client_pem)}"
    yield f"sni str({site_system.name}) verifyhost {site_system.verify_name} alpn http/1.1"
    yield " ".join(versions(site_system.tls))
    yield f"ciphers {ciphers(site_system.tls)}"
    if not tls.legs_resume:
        yield "no-ssl-reuse"


def _server(number: int, of: int) -> str:
    return "site-system" if of == 1 else f"site-system-{number}"
