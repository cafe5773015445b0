"""The configuration of nginx 1.22 or newer.

Sources: nginx.org/en/docs/http/ngx_http_core_module.html, and the pages of ngx_http_ssl_module,
ngx_http_proxy_module, ngx_http_map_module and ngx_stream_ssl_preread_module.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator

from ibcm_bridge.export.exported import Export, ExportError
from ibcm_bridge.export.model import (
    ExportedListener,
    ExportedPolicy,
    ExportedPublication,
    ExportedRole,
    ExportedTls,
    body_patterns,
    safe_path,
)
from ibcm_bridge.export.nginx_statements import NGINX
from ibcm_bridge.export.writing import (
    Files,
    Place,
    comment,
    header,
    limitations,
    tunnel_comment,
)
from ibcm_bridge.policy.addresses import address_text
from ibcm_bridge.policy.roles import CertificatePolicy
from ibcm_bridge.policy.tls_settings import SUITES, TlsSettings

HOLDS_LEGS = False

MAX_SOCKET = 100
"""Bytes of the path of a Unix socket; Linux allows 107 (unix(7))."""

_NOTES = (
    "Check: nginx -t -c FILE. Start: nginx -c FILE. It needs PCRE, and for tunnels the stream "
    "module with ssl_preread (Debian: libnginx-mod-stream).",
    "Revocation: nginx reads the CRLs at start and reload only. When the list of any authority of "
    "the path expires or is missing, nginx refuses every client. So export again after each new "
    "CRL, with --files, and run: nginx -s reload. A connection that is open keeps its client.",
    "Clients are refused after the handshake, with status 400. nginx always sends the names of the "
    "trust anchors to clients (ca_names).",
    "Where tunnels share a port, connections go through a Unix socket; the addresses of clients "
    "are in the log of the stream.",
)

_HIDDEN = (
    *(
        "X-Powered-By",
        "X-AspNet-Version",
        "X-AspNetMvc-Version",
        "Alt-Svc",
        "Via",
        "Refresh",
        "Link",
    ),
    *("Clear-Site-Data", "Strict-Transport-Security", "BITS-Host-ID"),
    *("BITS-Host-ID-Fallback-Timeout", "BITS-Reply-URL", "Content-Location"),
)
"""Response fields about a site system (`site_system_leg.response_head`)."""


def export_nginx(policy: ExportedPolicy, place: Place) -> Export:
    """Write the configuration. ExportError if a value cannot be written."""
    files = Files(place.folder)
    folder = safe_path(place.folder)
    not_enforced = limitations(NGINX)
    text = header(
        "nginx 1.22 or newer",
        place,
        notes=_NOTES,
        not_enforced=not_enforced,
        left_out=policy.left_out,
    )
    has_tunnels = any(listener.tunnels for listener in policy.listeners)
    parts = [
        text,
        _main(folder, modules=has_tunnels),
        *([_block("stream", _stream(policy, folder))] if has_tunnels else []),
        _block("http", _http(policy, folder, files)),
    ]
    return Export("\n\n".join(parts) + "\n", files.contents, not_enforced, policy.left_out)


def _main(folder: str, *, modules: bool) -> str:
    included = "include /etc/nginx/modules-enabled/*.conf;  # Debian\n" if modules else ""
    return (
        f"{included}worker_processes auto;\npid {folder}/nginx.pid;\n"
        f"error_log {folder}/error.log warn;\n\nevents {{\n    worker_connections 4096;\n}}"
    )


def _block(name: str, lines: Iterable[str]) -> str:
    inner = "\n".join(f"    {line}" if line else "" for text in lines for line in text.split("\n"))
    return f"{name} {{\n{inner}\n}}"


def _quoted(text: str) -> str:
    escaped = text.replace("\\", "\\\\").replace('"', '\\"')
    return f'"{escaped}"'


def _socket(folder: str, listener: ExportedListener) -> str:
    path = f"{folder}/listener-{listener.number}.sock"
    if len(path.encode()) > MAX_SOCKET:
        raise ExportError(f"{path}: too long for a Unix socket; use a shorter folder for --files")
    return f"unix:{path}"


# Tunnels


def _stream(policy: ExportedPolicy, folder: str) -> Iterator[str]:
    yield "log_format tunnel '$remote_addr [$time_iso8601] $ssl_preread_server_name $status '"
    yield "    '$bytes_sent $bytes_received $upstream_addr';"
    yield f"access_log {folder}/stream.log tunnel;"
    seconds = policy.limits.tunnel_idle_seconds
    for listener in policy.listeners:
        if not listener.tunnels:
            continue
        number = listener.number
        yield ""
        for index, tunnel in enumerate(listener.tunnels, 1):
            yield tunnel_comment(tunnel)
            server = f"server {address_text(tunnel.site_system)};"
            yield f"upstream tunnel_{number}_{index} {{ {server} }}"
        yield f"map $ssl_preread_server_name $tunnel_{number} {{"
        yield f"    default {_socket(folder, listener)};"
        for index, tunnel in enumerate(listener.tunnels, 1):
            without = tunnel.name == listener.without_sni
            for name in (tunnel.name, *(('""',) if without else ())):
                yield f"    {name} tunnel_{number}_{index};"
        yield "}"
        yield _block(
            "server",
            (
                *_listen(listener, address_text(listener.address), ""),
                "ssl_preread on;",
                f"preread_timeout {policy.limits.handshake_seconds:g}s;",
                f"proxy_connect_timeout {policy.limits.connect_seconds:g}s;",
                f"proxy_timeout {seconds:g}s;",
                f"proxy_pass $tunnel_{number};",
            ),
        )


def _listen(listener: ExportedListener, address: str, options: str) -> Iterator[str]:
    if not listener.balancers:
        yield f"listen {address}{options};"
        return
    yield comment("The balancers send a PROXY header in every connection; others are refused.")
    yield f"listen {address}{options} proxy_protocol;"
    yield from (f"allow {network};" for network in listener.balancers)
    yield "deny all;"


# Bridged publications


def _http(policy: ExportedPolicy, folder: str, files: Files) -> Iterator[str]:
    limits = policy.limits
    yield f"access_log {folder}/access.log;"
    for kind in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi"):
        yield f"{kind}_temp_path {folder}/{kind};"
    yield "server_tokens off;"
    yield "default_type application/octet-stream;"
    yield "map_hash_bucket_size 256;"
    yield "server_names_hash_bucket_size 256;"
    yield f"client_header_timeout {limits.head_seconds:g}s;"
    yield f"client_body_timeout {limits.idle_seconds:g}s;"
    yield f"keepalive_timeout {limits.idle_seconds:g}s;"
    yield f"keepalive_requests {limits.connection_requests};"
    yield f"keepalive_time {limits.connection_seconds:g}s;"
    yield f"proxy_connect_timeout {limits.connect_seconds:g}s;"
    yield f"proxy_read_timeout {limits.response_seconds:g}s;"
    yield f"proxy_send_timeout {limits.response_seconds:g}s;"
    yield ""
    yield comment("[HTTP-1.1] [HEADER-DP] Requests that are refused everywhere.")
    yield 'map "$server_protocol $http_transfer_encoding$http_content_encoding" $malformed {'
    yield '    default 1;\n    "HTTP/1.1 " 0;\n}'
    yield "map $http_range $range_refused {"
    yield '    default 0;\n    "~[0-9]{16}" 1;\n}'
    for listener in policy.listeners:
        for index, publication in enumerate(listener.publications, 1):
            key = f"{listener.number}_{index}"
            yield from _maps(publication, key)
            yield _block("server", _server(listener, publication, key, folder, files))
        if listener.publications or listener.tunnels:
            yield _block("server", _default(listener, folder))


def _default(listener: ExportedListener, folder: str) -> Iterator[str]:
    yield comment("[DNS-INTERNET-FQDN] Other names are refused.")
    known = {publication.name for publication in listener.publications}
    default = "" if listener.without_sni in known else " default_server"
    yield from _listen_http(listener, folder, default)
    yield "server_name _;" if default else 'server_name "";'
    if listener.is_tls:
        yield "ssl_reject_handshake on;"
    yield "return 421;"


def _listen_http(listener: ExportedListener, folder: str, options: str) -> Iterator[str]:
    tls = " ssl" if listener.is_tls else ""
    if listener.tunnels:
        yield f"listen {_socket(folder, listener)}{tls}{options};"
    else:
        yield from _listen(listener, address_text(listener.address), f"{tls}{options}")


def _maps(publication: ExportedPublication, key: str) -> Iterator[str]:
    yield ""
    yield comment(f"{publication.name}: verb and target, as sent -> role. The first match decides.")
    yield f'map "$request_method $request_uri" $role_{key} {{'
    yield '    default "";'
    for line in publication.lines:
        pattern = _quoted(f"~*{line.pattern}")
        yield f'    # [{line.requirement}] {line.comment}\n    {pattern} "{line.role}";'
    yield "}"
    for index, role in enumerate(publication.roles, 1):
        yield from _role_maps(role, f"{key}_{index}")


def _role_maps(role: ExportedRole, key: str) -> Iterator[str]:
    yield comment(f"{role.name}: [HTTP-MULTIPART] [{role.verbs_requirement}] bodies by verb.")
    yield f'map "$request_method $http_content_length $content_type" $body_{key} {{'
    yield "    default 0;"
    yield from (f"    {_quoted(f'~*{pattern}')} 1;" for pattern in body_patterns(role))
    yield "}"
    names = "|".join(re.escape(name) for name in role.fields)
    yield comment(f"{role.name}: [HTTP-1.1] Connection must not name a field that is forwarded.")
    yield f"map $http_connection $connection_{key} {{"
    yield f"    default 1;\n    {_quoted(f'~*(?:^|[, ])(?:{names})(?:[, ]|$)')} 0;\n}}"
    for field, verbs in role.dropped.items():
        if field in role.fields:
            yield f"map $request_method {_variable(field, key)} {{"
            pattern = _quoted(f"~^(?:{'|'.join(verbs)})$")
            yield f'    default {_http_variable(field)};\n    {pattern} "";\n}}'


def _http_variable(field: str) -> str:
    if not re.fullmatch(r"[a-z0-9-]+", field):
        raise ExportError(f"nginx has no variable for the header field {field}; remove it")
    return f"$http_{field.replace('-', '_')}"


def _variable(field: str, key: str) -> str:
    return f"$field_{key}_{field.replace('-', '_')}"


def _server(
    listener: ExportedListener,
    publication: ExportedPublication,
    key: str,
    folder: str,
    files: Files,
) -> Iterator[str]:
    name = publication.name
    without_sni = listener.without_sni == name or not listener.is_tls
    yield comment(f"{name}, for clients port {publication.public_port}")
    default = " default_server" if listener.without_sni == name else ""
    yield from _listen_http(listener, folder, default)
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
        yield f"if ($ssl_server_name !~* {_quoted(f'^{sni}$')}) {{ return 421; }}"
    yield f"if ($host !~* {_quoted(f'^{pattern}$')}) {{ return 421; }}"
    yield comment("[BRIDGE-INSPECT] Everything else is refused.")
    yield "location / { return 403; }"
    for index, role in enumerate(publication.roles, 1):
        directories = "|".join(re.escape(directory) for directory in role.directories)
        pattern = _quoted(f"^/(?:{directories})(?:/|$)")
        yield _block(
            f"location ~* {pattern}", _location(role, publication, key, f"{key}_{index}", files)
        )


def _client_tls(tls: ExportedTls, files: Files) -> Iterator[str]:
    yield comment("[BRIDGE-TERMINATE] The client leg.")
    yield f"ssl_certificate {safe_path(tls.server.chain)};"
    yield f"ssl_certificate_key {safe_path(tls.server.key)};"
    yield f"ssl_protocols {_versions(tls.settings)};"
    yield f"ssl_ciphers {_ciphers(tls.settings)};"
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


def _location(
    role: ExportedRole, publication: ExportedPublication, key: str, own: str, files: Files
) -> Iterator[str]:
    site_system = role.site_system
    yield comment(f"{role.name}: [{role.verbs_requirement}] only what the map allows.")
    yield f"if ($role_{key} != {_quoted(role.name)}) {{ return 403; }}"
    yield f"if ($body_{own} = 0) {{ return 415; }}"
    yield f"if ($connection_{own} = 0) {{ return 400; }}"
    yield "if ($range_refused) { return 416; }"
    yield f"client_max_body_size {max(role.most_body, 1)};"
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
    yield from (f"proxy_hide_header {field};" for field in _HIDDEN)
    yield "proxy_pass_header Date;"
    scheme = "http" if publication.tls is None else "https"
    for name in sorted(site_system.names):
        yield f"proxy_redirect {scheme}://{name}/ /;"
    yield comment("[BRIDGE-HTTPS-ONLY] The site-system leg. There is no pool of connections.")
    if publication.tls is not None:
        yield from _leg_tls(publication.tls, role, files)
    yield f"proxy_pass {scheme}://{address_text(site_system.address)};"


def _leg_tls(tls: ExportedTls, role: ExportedRole, files: Files) -> Iterator[str]:
    trust = tls.site_system_trust
    yield f"proxy_ssl_certificate {safe_path(tls.client.chain)};"
    yield f"proxy_ssl_certificate_key {safe_path(tls.client.key)};"
    yield f"proxy_ssl_protocols {_versions(role.site_system.tls)};"
    yield f"proxy_ssl_ciphers {_ciphers(role.site_system.tls)};"
    yield "proxy_ssl_verify on;"
    yield "proxy_ssl_verify_depth 8;"
    yield f"proxy_ssl_trusted_certificate {files.authorities(trust)};"
    if (crls := files.crls(trust)) is not None:
        yield f"proxy_ssl_crl {crls};"
    yield "proxy_ssl_server_name on;"
    yield f"proxy_ssl_name {role.site_system.verify_name};"
    yield f"proxy_ssl_session_reuse {'on' if tls.legs_resume else 'off'};"


def _versions(settings: TlsSettings) -> str:
    return " ".join(f"TLSv{version}" for version in settings.versions)


def _ciphers(settings: TlsSettings) -> str:
    return ":".join(suite.openssl for suite in SUITES[settings.suites])
