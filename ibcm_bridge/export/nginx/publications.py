"""The bridged publications of nginx: variables, a server block, and locations by role."""

from __future__ import annotations

import re
from collections.abc import Iterator

from ibcm_bridge.export.exported import ExportError
from ibcm_bridge.export.model import (
    ExportedListener,
    ExportedPublication,
    ExportedRole,
    ExportedTls,
    body_patterns,
)
from ibcm_bridge.export.nginx.site_systems import (
    next_location,
    site_system_leg,
    spread_maps,
    unsent,
)
from ibcm_bridge.export.nginx.text import block, ciphers, quoted, versions
from ibcm_bridge.export.writing import SITE_SYSTEM_FIELDS, Files, comment, safe_path
from ibcm_bridge.policy.policy import Limits
from ibcm_bridge.policy.roles import CertificatePolicy


def publication_maps(publication: ExportedPublication, key: str) -> Iterator[str]:
    """Return the variables of a publication and its roles."""
    yield ""
    yield comment(f"{publication.name}: verb and target, as sent -> role. The first match decides.")
    yield f'map "$request_method $request_uri" $role_{key} {{'
    yield '    default "";'
    for line in publication.lines:
        pattern = quoted(f"~*{line.pattern}")
        yield f'    # [{line.requirement}] {line.comment}\n    {pattern} "{line.role}";'
    yield "}"
    for index, role in enumerate(publication.roles, 1):
        yield from _role_maps(role, f"{key}_{index}")
        yield from spread_maps(role, f"{key}_{index}")


def _role_maps(role: ExportedRole, key: str) -> Iterator[str]:
    yield comment(f"{role.name}: [HTTP-MULTIPART] [{role.verbs_requirement}] bodies by verb.")
    yield f'map "$request_method $http_content_length $content_type" $body_{key} {{'
    yield "    default 0;"
    yield from (f"    {quoted(f'~*{pattern}')} 1;" for pattern in body_patterns(role))
    yield "}"
    names = "|".join(re.escape(name) for name in role.fields)
    yield comment(f"{role.name}: [HTTP-1.1] Connection must not name a field that is forwarded.")
    yield f"map $http_connection $connection_{key} {{"
    yield f"    default 1;\n    {quoted(f'~*(?:^|[, ])(?:{names})(?:[, ]|$)')} 0;\n}}"
    for field, verbs in role.dropped.items():
        if field in role.fields:
            yield f"map $request_method {_variable(field, key)} {{"
            pattern = quoted(f"~^(?:{'|'.join(verbs)})$")
            yield f'    default {_http_variable(field)};\n    {pattern} "";\n}}'


def _http_variable(field: str) -> str:
    if not re.fullmatch(r"[a-z0-9-]+", field):
        raise ExportError(f"nginx has no variable for the header field {field}; remove it")
    return f"$http_{field.replace('-', '_')}"


def _variable(field: str, key: str) -> str:
    return f"$field_{key}_{field.replace('-', '_')}"


def server(
    limits: Limits,
    listener: ExportedListener,
    publication: ExportedPublication,
    key: str,
    files: Files,
) -> Iterator[str]:
    """Return the server block of a publication, without its listen directives."""
    name = publication.name
    without_sni = listener.without_sni == name or not listener.is_tls
    yield f"server_name {name};"
    yield f"large_client_header_buffers 4 {publication.request_head};"
    yield f"client_header_buffer_size {min(publication.request_head, 8192)};"
    if publication.tls is not None:
        yield from _client_tls(publication.tls, files)
    yield comment("[HTTP-1.1] Only HTTP/1.1, without transfer coding or content coding.")
    yield "if ($server_protocol != HTTP/1.1) { return 505; }"
    yield "if ($malformed) { return 400; }"
    yield comment("[DNS-INTERNET-FQDN] Host has the server name of the connection.")
    pattern = re.escape(name)
    if publication.tls is not None:
        sni = f"(?:{pattern})?" if without_sni else pattern
        yield f"if ($ssl_server_name !~* {quoted(f'^{sni}$')}) {{ return 421; }}"
    yield f"if ($host !~* {quoted(f'^{pattern}$')}) {{ return 421; }}"
    yield comment("[BRIDGE-INSPECT] Everything else is refused.")
    yield "location / { return 403; }"
    for index, role in enumerate(publication.roles, 1):
        directories = "|".join(re.escape(directory) for directory in role.directories)
        pattern = quoted(f"^/(?:{directories})(?:/|$)")
        own = f"{key}_{index}"
        forwarded = (*_forwarded(publication, role, own),)
        leg = site_system_leg(limits, publication, role, own, files, attempt=1)
        lines = (*_conditions(role, key, own), *forwarded, *leg)
        yield block(f"location ~* {pattern}", lines)
        for attempt in range(2, len(role.site_systems.listed) + 1):
            leg = site_system_leg(limits, publication, role, own, files, attempt=attempt)
            lines = (*unsent(publication), *forwarded, *leg)
            yield block(f"location {next_location(own, attempt)}", lines)


def _client_tls(tls: ExportedTls, files: Files) -> Iterator[str]:
    yield comment("[BRIDGE-TERMINATE] The client leg.")
    yield f"ssl_certificate {safe_path(tls.server.chain)};"
    yield f"ssl_certificate_key {safe_path(tls.server.key)};"
    yield f"ssl_protocols {versions(tls.settings)};"
    yield f"ssl_ciphers {ciphers(tls.settings)};"
    yield "ssl_prefer_server_ciphers on;"
    if not tls.clients_resume:
        yield "ssl_session_cache off;"
        yield "ssl_session_tickets off;"
    trust = tls.client_trust
    if trust is None:
        yield comment("No client certificate is requested.")
        return
    required = tls.certificates is not CertificatePolicy.OPTIONAL
    yield comment("[BRIDGE-AUTH-COMPUTER] [BRIDGE-AUTH-USER] [PKI-BOTH-ENDS] Client certificates.")
    yield f"ssl_verify_client {'on' if required else 'optional'};"
    yield "ssl_verify_depth 8;"
    yield f"ssl_client_certificate {files.anchors(trust)};"
    yield f"ssl_trusted_certificate {files.authorities(trust)};"
    if (crls := files.crls(trust)) is not None:
        yield f"ssl_crl {crls};"


def _conditions(role: ExportedRole, key: str, own: str) -> Iterator[str]:
    yield comment(f"{role.name}: [{role.verbs_requirement}] only what the map allows.")
    yield f"if ($role_{key} != {quoted(role.name)}) {{ return 403; }}"
    yield f"if ($body_{own} = 0) {{ return 415; }}"
    yield f"if ($connection_{own} = 0) {{ return 400; }}"
    yield "if ($range_refused) { return 416; }"
    yield f"client_max_body_size {max(role.most_body, 1)};"


def _forwarded(publication: ExportedPublication, role: ExportedRole, own: str) -> Iterator[str]:
    yield comment(f"[{role.fields_requirement}] Only these fields are forwarded.")
    yield "proxy_pass_request_headers off;"
    yield "proxy_set_header Host $host;"
    for field in role.fields:
        value = _http_variable(field)
        if field in role.dropped:
            value = _variable(field, own)
        yield f"proxy_set_header {field} {value};"
    yield comment("[BRIDGE-IDENTITY] The body is sent unchanged, once, after it is complete.")
    yield "proxy_http_version 1.1;"
    yield "proxy_request_buffering on;"
    yield "proxy_max_temp_file_size 0;"
    yield "proxy_next_upstream off;"
    yield comment("[BRIDGE-INSPECT] Fields about the site system.")
    yield from (f"proxy_hide_header {field};" for field in SITE_SYSTEM_FIELDS)
    yield "proxy_pass_header Date;"
    scheme = "http" if publication.tls is None else "https"
    for name in sorted(role.site_systems.names):
        yield f"proxy_redirect {scheme}://{name}/ /;"
