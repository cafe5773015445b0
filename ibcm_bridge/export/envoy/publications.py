"""The bridged publications of Envoy: an HTTP connection manager for each, with its routes."""

from __future__ import annotations

from ibcm_bridge.export.envoy.lua import lua_code
from ibcm_bridge.export.envoy.site_systems import attempts, client_filter, cluster_name
from ibcm_bridge.export.envoy.text import FILTERS, access_log, duration
from ibcm_bridge.export.envoy.yaml_text import Commented, Value
from ibcm_bridge.export.model import ExportedListener, ExportedPublication, ExportedRole
from ibcm_bridge.export.targets import Line
from ibcm_bridge.export.writing import SITE_SYSTEM_FIELDS
from ibcm_bridge.policy.policy import Limits

_RESPONSE_FIELDS = (*map(str.lower, SITE_SYSTEM_FIELDS), "x-envoy-upstream-service-time")


def connection_manager(
    limits: Limits, listener: ExportedListener, publication: ExportedPublication, index: int
) -> Value:
    """Return the HTTP connection manager of a publication; `index` is its number (1, 2 ...)."""
    code = lua_code(publication.roles, refuses_unlisted=publication.refuses_unlisted)
    lua: Value = {
        "name": "envoy.filters.http.lua",
        "typed_config": {
            "@type": f"{FILTERS}.http.lua.v3.Lua",
            "default_source_code": {"inline_string": code},
        },
    }
    router: Value = {
        "name": "envoy.filters.http.router",
        "typed_config": {
            "@type": f"{FILTERS}.http.router.v3.Router",
            "suppress_envoy_headers": True,
        },
    }
    return {
        "@type": f"{FILTERS}.network.http_connection_manager.v3.HttpConnectionManager",
        "stat_prefix": f"http_{listener.number}_{index}",
        "codec_type": "HTTP1",
        "http_protocol_options": Commented(
            "[HTTP-1.1]",
            {"allow_custom_methods": True, "allow_absolute_url": False, "accept_http_10": False},
        ),
        "common_http_protocol_options": {
            "headers_with_underscores_action": "REJECT_REQUEST",
            "max_headers_count": limits.header_fields,
            "idle_timeout": duration(limits.idle_seconds),
            "max_connection_duration": duration(limits.connection_seconds),
            "max_requests_per_connection": limits.connection_requests,
        },
        "max_request_headers_kb": min(8192, -(-publication.request_head // 1024)),
        "request_headers_timeout": duration(limits.head_seconds),
        "stream_idle_timeout": duration(limits.response_seconds),
        "use_remote_address": True,
        "skip_xff_append": True,
        "generate_request_id": False,
        "server_name": "proxy",
        "normalize_path": False,
        "merge_slashes": False,
        "path_with_escaped_slashes_action": "KEEP_UNCHANGED",
        "access_log": access_log(),
        "http_filters": [*client_filter(publication), lua, router],
        "route_config": {
            "virtual_hosts": [_host(limits, listener, publication, index)],
        },
    }


def _host(
    limits: Limits, listener: ExportedListener, publication: ExportedPublication, index: int
) -> Value:
    roles = {role.name: role for role in publication.roles}
    routes = [
        _route(limits, line, roles.get(line.role), f"{listener.number}_{index}")
        for line in publication.lines
        if not line.role or line.role in roles
    ]
    name = publication.name
    return {
        "name": name,
        "domains": Commented(
            "[DNS-INTERNET-FQDN] Host is the name of the connection.", [name, f"{name}:*"]
        ),
        "request_headers_to_remove": ["x-forwarded-proto"],
        "response_headers_to_remove": Commented(
            "[BRIDGE-INSPECT] Fields about the site system.", _RESPONSE_FIELDS
        ),
        "routes": Commented("The target as sent. The first match decides.", routes),
    }


def _route(limits: Limits, line: Line, role: ExportedRole | None, key: str) -> Value:
    headers: list[Value] = [
        {
            "name": ":path",
            # RE2 compares the whole path.
            "string_match": {"safe_regex": {"regex": _whole(line.target)}},
        }
    ]
    if line.methods:
        regex = {"safe_regex": {"regex": line.methods}}
        headers.append({"name": ":method", "string_match": regex})
    match: Value = {"prefix": "/", "headers": headers}
    if role is None:
        found: Value = {"match": match, "direct_response": {"status": 403}}
    else:
        names: dict[str, Value] = {"role": role.name}
        if line.users:
            names["users"] = True
        found = {
            "match": match,
            "metadata": {"filter_metadata": {"envoy.filters.http.lua": names}},
            "route": {
                "cluster": cluster_name(key, role),
                "timeout": "0s",
                "idle_timeout": duration(limits.response_seconds),
                **attempts(role),
            },
        }
    return Commented(f"[{line.requirement}] {line.comment}", found)


def _whole(pattern: str) -> str:
    """Return a pattern for the whole path."""
    inner = pattern.removeprefix("^")
    return f"(?i){inner.removesuffix('$')}" if inner.endswith("$") else f"(?i){inner}.*"
