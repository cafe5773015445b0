"""The site-system legs of nginx.

How it works: `proxy_next_upstream` repeats a request that was sent, unless its method is POST, LOCK
or PATCH (ngx_http_proxy_module), so it would repeat CCM_POST and BITS_POST. It is off. Instead:

1. Each site system of a role has a location, with its own name and TLS settings.
2. If the site system cannot be connected, nginx goes to the location of the next one (error_page).
3. That location first tests the variables of the attempts before it (ngx_http_upstream_module). If
   one of them completed its TLS handshake, or sent a byte without TLS, it refuses the request.

With `order: by-client`, the location of each attempt takes the site system from variables.
"""

from __future__ import annotations

from collections.abc import Iterator

from ibcm_bridge.export.exported import ExportError
from ibcm_bridge.export.model import (
    ExportedPolicy,
    ExportedPublication,
    ExportedRole,
    ExportedTls,
    attempt_seconds,
)
from ibcm_bridge.export.nginx.text import ciphers, versions
from ibcm_bridge.export.writing import Files, comment, safe_path
from ibcm_bridge.policy.addresses import address_text
from ibcm_bridge.policy.policy import Limits
from ibcm_bridge.policy.tls_settings import TlsSettings

_CLIENT = "$client_key"
"""What selects the site system of a client."""


def client_map(policy: ExportedPolicy) -> Iterator[str]:
    """Return the variable for all roles whose clients are spread; nothing if there is none."""
    if any(role.is_spread for role in policy.roles):
        yield comment("A client is its certificate, or its address.")
        yield f"map $ssl_client_fingerprint {_CLIENT} {{"
        yield '    default $ssl_client_fingerprint;\n    "" $remote_addr;\n}'


def spread_maps(role: ExportedRole, key: str) -> Iterator[str]:
    """Return the variables of a role whose clients are spread: upstream and name of an attempt."""
    listed = role.site_systems.listed
    if not role.is_spread:
        return
    if len({site_system.tls for site_system in listed}) > 1:
        raise ExportError(
            f"{role.name}: with order: by-client, nginx has one TLS setting for all site systems; "
            "write the same tls and highest_tls for each, or order: as-listed"
        )
    yield comment(f"{role.name}: [BRIDGE-TERMINATE] the site system that a client tries first.")
    for number, site_system in enumerate(listed, 1):
        server = f"server {address_text(site_system.address)};"
        yield f"upstream {_upstream(key, number)} {{ {server} }}"
    yield f"split_clients {_CLIENT} $first_{key} {{"
    numbers = range(1, len(listed) + 1)
    yield from (f"    {100 / len(listed):.2f}% {number};" for number in numbers[:-1])
    yield f"    * {numbers[-1]};\n}}"
    for attempt in numbers:
        order = [(first, (first + attempt - 2) % len(listed)) for first in numbers]
        yield f"map $first_{key} $upstream_{key}_{attempt} {{"
        yield from (f"    {first} {_upstream(key, index + 1)};" for first, index in order)
        yield f"}}\nmap $first_{key} $name_{key}_{attempt} {{"
        yield from (f"    {first} {listed[index].verify_name};" for first, index in order)
        yield "}"


def next_location(key: str, attempt: int) -> str:
    """Return the name of the location for an attempt (2, 3 ...)."""
    return f"@site_{key}_{attempt}"


def unsent(publication: ExportedPublication) -> Iterator[str]:
    """Return the test at the beginning of `next_location`."""
    yield comment("[BRIDGE-TERMINATE] Only if the site systems before received no request.")
    sent = '$upstream_bytes_sent ~ "[1-9]"'
    # Without TLS, nginx sets this variable also if it cannot connect.
    connected = '$upstream_connect_time ~ "[0-9]"'
    yield f"if ({sent if publication.tls is None else connected}) {{ return 502; }}"


def site_system_leg(
    limits: Limits,
    publication: ExportedPublication,
    role: ExportedRole,
    key: str,
    files: Files,
    *,
    attempt: int,
) -> Iterator[str]:
    """Return the directives that forward a request to the site system of an attempt (1, 2 ...)."""
    yield comment("[BRIDGE-HTTPS-ONLY] The site-system leg. There is no pool of connections.")
    listed = role.site_systems.listed
    if role.has_several:
        yield f"proxy_connect_timeout {attempt_seconds(limits, listed):g}s;"
    if attempt < len(listed):
        yield "recursive_error_pages on;"
        yield f"error_page 502 504 = {next_location(key, attempt + 1)};"
    site_system = listed[attempt - 1]
    place, name = address_text(site_system.address), site_system.verify_name
    if role.is_spread:
        place, name = f"$upstream_{key}_{attempt}", f"$name_{key}_{attempt}"
    if publication.tls is None:
        yield f"proxy_pass http://{place};"
        return
    yield from _tls(publication.tls, site_system.tls, name, files)
    yield f"proxy_pass https://{place};"


def _tls(tls: ExportedTls, settings: TlsSettings, name: str, files: Files) -> Iterator[str]:
    trust = tls.site_system_trust
    yield f"proxy_ssl_certificate {safe_path(tls.client.chain)};"
    yield f"proxy_ssl_certificate_key {safe_path(tls.client.key)};"
    yield f"proxy_ssl_protocols {versions(settings)};"
    yield f"proxy_ssl_ciphers {ciphers(settings)};"
    yield "proxy_ssl_verify on;"
    yield "proxy_ssl_verify_depth 8;"
    yield f"proxy_ssl_trusted_certificate {files.authorities(trust)};"
    if (crls := files.crls(trust)) is not None:
        yield f"proxy_ssl_crl {crls};"
    yield "proxy_ssl_server_name on;"
    yield f"proxy_ssl_name {name};"
    yield f"proxy_ssl_session_reuse {'on' if tls.legs_resume else 'off'};"


def _upstream(key: str, number: int) -> str:
    return f"site_{key}_{number}"
