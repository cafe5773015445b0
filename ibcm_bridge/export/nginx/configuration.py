"""The configuration of nginx 1.22 or newer.

Sources: nginx.org/en/docs/http/ngx_http_core_module.html, and the pages of ngx_http_ssl_module,
ngx_http_proxy_module, ngx_http_map_module and ngx_stream_ssl_preread_module.
"""

from __future__ import annotations

from collections.abc import Iterator

from ibcm_bridge.export.exported import Export, ExportError
from ibcm_bridge.export.model import (
    ExportedListener,
    ExportedPolicy,
    ExportedTunnel,
    attempt_seconds,
)
from ibcm_bridge.export.nginx.publications import publication_maps, server
from ibcm_bridge.export.nginx.site_systems import client_map
from ibcm_bridge.export.nginx.statements import NGINX
from ibcm_bridge.export.nginx.text import block
from ibcm_bridge.export.writing import (
    Files,
    Place,
    comment,
    header,
    limitations,
    safe_path,
    tunnel_comment,
)
from ibcm_bridge.policy.addresses import address_text

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
        *([block("stream", _stream(policy, folder))] if has_tunnels else []),
        block("http", _http(policy, folder, files)),
    ]
    return Export("\n\n".join(parts) + "\n", files.contents, not_enforced, policy.left_out)


def _main(folder: str, *, modules: bool) -> str:
    included = "include /etc/nginx/modules-enabled/*.conf;  # Debian\n" if modules else ""
    return (
        f"{included}worker_processes auto;\npid {folder}/nginx.pid;\n"
        f"error_log {folder}/error.log warn;\n\nevents {{\n    worker_connections 4096;\n}}"
    )


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
            yield block(f"upstream tunnel_{number}_{index}", _tunnel_servers(tunnel))
        seconds_of_attempt = min(
            attempt_seconds(policy.limits, tunnel.site_systems) for tunnel in listener.tunnels
        )
        yield f"map $ssl_preread_server_name $tunnel_{number} {{"
        yield f"    default {_socket(folder, listener)};"
        for index, tunnel in enumerate(listener.tunnels, 1):
            without = tunnel.name == listener.without_sni
            for name in (tunnel.name, *(('""',) if without else ())):
                yield f"    {name} tunnel_{number}_{index};"
        yield "}"
        yield block(
            "server",
            (
                *_listen(listener, address_text(listener.address), ""),
                "ssl_preread on;",
                f"preread_timeout {policy.limits.handshake_seconds:g}s;",
                f"proxy_connect_timeout {seconds_of_attempt:g}s;",
                f"proxy_timeout {seconds:g}s;",
                f"proxy_pass $tunnel_{number};",
            ),
        )


def _tunnel_servers(tunnel: ExportedTunnel) -> Iterator[str]:
    if len(tunnel.site_systems) == 1:
        yield f"server {address_text(tunnel.site_systems[0])};"
        return
    yield comment("[TUNNEL-PASS] In this order, and not for 30 s after 3 failures.")
    for index, address in enumerate(tunnel.site_systems):
        backup = " backup" if index else ""
        yield f"server {address_text(address)} max_fails=3 fail_timeout=30s{backup};"


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
    yield from client_map(policy)
    for listener in policy.listeners:
        for index, publication in enumerate(listener.publications, 1):
            key = f"{listener.number}_{index}"
            yield from publication_maps(publication, key)
            default = " default_server" if listener.without_sni == publication.name else ""
            lines = (
                comment(f"{publication.name}, for clients port {publication.public_port}"),
                *_listen_http(listener, folder, default),
                *server(policy.limits, listener, publication, key, files),
            )
            yield block("server", lines)
        if listener.publications or listener.tunnels:
            yield block("server", _default(listener, folder))


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
