"""The configuration of Envoy, as YAML.

Source: envoyproxy.io/docs/envoy/v1.40.0/api-v3: HttpConnectionManager, DownstreamTlsContext,
UpstreamTlsContext, CertificateValidationContext, RouteMatch, Cluster and TcpProxy.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from ibcm_bridge.export.envoy_lua import lua_code
from ibcm_bridge.export.envoy_statements import ENVOY
from ibcm_bridge.export.exported import Export
from ibcm_bridge.export.model import (
    ExportedListener,
    ExportedPolicy,
    ExportedPublication,
    ExportedRole,
    ExportedTls,
    safe_path,
)
from ibcm_bridge.export.targets import Line
from ibcm_bridge.export.writing import Files, Place, header, limitations, tunnel_text
from ibcm_bridge.export.yaml_text import Commented, Value, yaml_text
from ibcm_bridge.policy.addresses import Address, is_ip_address
from ibcm_bridge.policy.policy import Limits
from ibcm_bridge.policy.roles import CertificatePolicy
from ibcm_bridge.policy.tls_settings import SUITES, TlsSettings
from ibcm_bridge.policy.trust import Trust

HOLDS_LEGS = True

_NOTES = (
    "Check: envoy --mode validate -c FILE. Start: envoy -c FILE. It needs the Lua filter, and is "
    "tested with Envoy 1.40. Envoy needs allow_custom_methods for CCM_POST and BITS_POST, "
    "and calls this setting work in progress, outside of its threat model.",
    "Revocation: Envoy reads the CRLs at start only. When the list of any authority of the path "
    "expires or is missing, Envoy refuses every client. So export again after each new CRL, with "
    "--files, and restart Envoy. A connection that is open keeps its client.",
)

_RESPONSE_FIELDS = (
    *("x-powered-by", "x-aspnet-version", "x-aspnetmvc-version", "alt-svc", "via", "refresh"),
    *("link", "clear-site-data", "strict-transport-security", "bits-host-id"),
    *("bits-host-id-fallback-timeout", "bits-reply-url", "content-location"),
    "x-envoy-upstream-service-time",
)
"""Fields about a site system (`site_system_leg.response_head`)."""

_FILTERS = "type.googleapis.com/envoy.extensions.filters"
_TLS = "type.googleapis.com/envoy.extensions.transport_sockets.tls.v3"
_PRINCIPAL_NAME = "1.3.6.1.4.1.311.20.2.3"
"""The OID of a user principal name ([MS-WCCE] 2.2.2.7.7.4)."""

_BORINGSSL_LACKS = frozenset(
    (
        *("ECDHE-ECDSA-AES256-SHA384", "ECDHE-RSA-AES256-SHA384", "ECDHE-ECDSA-AES128-SHA256"),
        *("AES256-SHA256", "AES128-SHA256"),
    )
)


def export_envoy(policy: ExportedPolicy, place: Place) -> Export:
    """Write the configuration. ExportError if a value cannot be written."""
    files = Files(place.folder)
    not_enforced = limitations(ENVOY)
    head = header(
        "Envoy",
        place,
        notes=_NOTES,
        not_enforced=not_enforced,
        left_out=policy.left_out,
    )
    listeners = [_listener(policy, each, files) for each in policy.listeners]
    clusters = [cluster for each in policy.listeners for cluster in _clusters(policy, each, files)]
    layer: Value = {"re2": {"max_program_size": {"error_level": 100_000, "warn_level": 100_000}}}
    runtime = Commented(
        "Envoy's own limit for the size of a pattern is 100.",
        {"layers": [{"name": "export", "static_layer": layer}]},
    )
    text = yaml_text(
        {
            "layered_runtime": runtime,
            "static_resources": {"listeners": listeners, "clusters": clusters},
        }
    )
    return Export(f"{head}\n\n{text}", files.contents, not_enforced, policy.left_out)


def _address(address: Address) -> Value:
    return {"socket_address": {"address": address[0], "port_value": address[1]}}


def _seconds(seconds: float) -> str:
    return f"{seconds:g}s"


def _listener(policy: ExportedPolicy, listener: ExportedListener, files: Files) -> Value:
    chains: list[Value] = [*_tunnels(policy, listener)]
    for index, publication in enumerate(listener.publications, 1):
        chains.append(_bridged(policy, listener, publication, index, files))
    filters: list[Value] = []
    if listener.balancers:
        filters.append(
            Commented(
                "Every connection begins with a PROXY header: let only the balancers connect.",
                {
                    "name": "envoy.filters.listener.proxy_protocol",
                    "typed_config": {
                        "@type": f"{_FILTERS}.listener.proxy_protocol.v3.ProxyProtocol"
                    },
                },
            )
        )
    if listener.is_tls:
        filters.append(
            {
                "name": "envoy.filters.listener.tls_inspector",
                "typed_config": {"@type": f"{_FILTERS}.listener.tls_inspector.v3.TlsInspector"},
            }
        )
    return {
        "name": f"listener_{listener.number}",
        "address": _address(listener.address),
        "listener_filters_timeout": _seconds(policy.limits.handshake_seconds),
        **({"listener_filters": filters} if filters else {}),
        "filter_chains": chains,
    }


def _tunnels(policy: ExportedPolicy, listener: ExportedListener) -> Iterator[Value]:
    for index, tunnel in enumerate(listener.tunnels, 1):
        name = f"tunnel_{listener.number}_{index}"
        match: Mapping[str, Value] = {}
        if tunnel.name != listener.without_sni:
            match = {"filter_chain_match": {"server_names": [tunnel.name]}}
        proxy = {
            "@type": f"{_FILTERS}.network.tcp_proxy.v3.TcpProxy",
            "stat_prefix": name,
            "cluster": name,
            "idle_timeout": _seconds(policy.limits.tunnel_idle_seconds),
            "access_log": _log(),
        }
        filters: Value = [{"name": "envoy.filters.network.tcp_proxy", "typed_config": proxy}]
        yield Commented(tunnel_text(tunnel), {**match, "filters": filters})


def _log() -> Value:
    stream = "type.googleapis.com/envoy.extensions.access_loggers.stream.v3.StdoutAccessLog"
    return [{"name": "envoy.access_loggers.stdout", "typed_config": {"@type": stream}}]


def _bridged(
    policy: ExportedPolicy,
    listener: ExportedListener,
    publication: ExportedPublication,
    index: int,
    files: Files,
) -> Value:
    chain: dict[str, Value] = {}
    if publication.tls is not None:
        if publication.name != listener.without_sni:
            chain["filter_chain_match"] = Commented(
                "[DNS-INTERNET-FQDN] A connection for another name has no filter chain.",
                {"server_names": [publication.name]},
            )
        chain["transport_socket"] = _client_leg(publication.tls, files)
        chain["transport_socket_connect_timeout"] = _seconds(policy.limits.handshake_seconds)
    manager = _manager(policy.limits, listener, publication, index)
    chain["filters"] = [
        {"name": "envoy.filters.network.http_connection_manager", "typed_config": manager}
    ]
    return Commented(f"{publication.name}, for clients port {publication.public_port}", chain)


def _client_leg(tls: ExportedTls, files: Files) -> Value:
    common: dict[str, Value] = {
        "alpn_protocols": ["http/1.1"],
        "tls_params": _parameters(tls.settings),
        "tls_certificates": [
            {
                "certificate_chain": {"filename": safe_path(tls.server.chain)},
                "private_key": {"filename": safe_path(tls.server.key)},
            }
        ],
    }
    if tls.client_trust is not None:
        validation = _validation(tls.client_trust, files)
        if tls.certificates is CertificatePolicy.USER:
            matcher: Value = {
                "san_type": "OTHER_NAME",
                "oid": _PRINCIPAL_NAME,
                "matcher": {"safe_regex": {"regex": "[^$@]+@.+"}},
            }
            validation["match_typed_subject_alt_names"] = [matcher]
        common["validation_context"] = Commented(
            "[BRIDGE-AUTH-COMPUTER] [BRIDGE-AUTH-USER] [PKI-BOTH-ENDS] Client certificates.",
            validation,
        )
    required = tls.client_trust is not None and tls.certificates is not CertificatePolicy.OPTIONAL
    context: Value = {
        "@type": f"{_TLS}.DownstreamTlsContext",
        "require_client_certificate": required,
        "disable_stateless_session_resumption": not tls.clients_resume,
        "disable_stateful_session_resumption": not tls.clients_resume,
        "common_tls_context": common,
    }
    text = "[BRIDGE-TERMINATE] [BRIDGE-HTTPS-ONLY] The client leg."
    return Commented(text, {"name": "envoy.transport_sockets.tls", "typed_config": context})


def _parameters(settings: TlsSettings) -> Value:
    names = {"1.2": "TLSv1_2", "1.3": "TLSv1_3"}
    suites = [suite.openssl for suite in SUITES[settings.suites]]
    return {
        "tls_minimum_protocol_version": names[settings.versions[0]],
        "tls_maximum_protocol_version": names[settings.versions[-1]],
        "cipher_suites": [suite for suite in suites if suite not in _BORINGSSL_LACKS],
    }


def _validation(trust: Trust, files: Files) -> dict[str, Value]:
    crls = files.crls(trust)
    return {
        "trusted_ca": {"filename": files.authorities(trust)},
        **({"crl": {"filename": crls}} if crls else {}),
    }


def _manager(
    limits: Limits, listener: ExportedListener, publication: ExportedPublication, index: int
) -> Value:
    code = lua_code(publication.roles, refuses_unlisted=publication.refuses_unlisted)
    lua: Value = {
        "name": "envoy.filters.http.lua",
        "typed_config": {
            "@type": f"{_FILTERS}.http.lua.v3.Lua",
            "default_source_code": {"inline_string": code},
        },
    }
    router: Value = {
        "name": "envoy.filters.http.router",
        "typed_config": {
            "@type": f"{_FILTERS}.http.router.v3.Router",
            "suppress_envoy_headers": True,
        },
    }
    return {
        "@type": f"{_FILTERS}.network.http_connection_manager.v3.HttpConnectionManager",
        "stat_prefix": f"http_{listener.number}_{index}",
        "codec_type": "HTTP1",
        "http_protocol_options": Commented(
            "[HTTP-1.1]",
            {"allow_custom_methods": True, "allow_absolute_url": False, "accept_http_10": False},
        ),
        "common_http_protocol_options": {
            "headers_with_underscores_action": "REJECT_REQUEST",
            "max_headers_count": limits.header_fields,
            "idle_timeout": _seconds(limits.idle_seconds),
            "max_connection_duration": _seconds(limits.connection_seconds),
            "max_requests_per_connection": limits.connection_requests,
        },
        "max_request_headers_kb": min(8192, -(-publication.request_head // 1024)),
        "request_headers_timeout": _seconds(limits.head_seconds),
        "stream_idle_timeout": _seconds(limits.response_seconds),
        "use_remote_address": True,
        "skip_xff_append": True,
        "generate_request_id": False,
        "server_name": "proxy",
        "normalize_path": False,
        "merge_slashes": False,
        "path_with_escaped_slashes_action": "KEEP_UNCHANGED",
        "access_log": _log(),
        "http_filters": [lua, router],
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
                "cluster": f"site_{key}_{role.name}",
                "timeout": "0s",
                "idle_timeout": _seconds(limits.response_seconds),
            },
        }
    return Commented(f"[{line.requirement}] {line.comment}", found)


def _whole(pattern: str) -> str:
    """Return a pattern for the whole path."""
    inner = pattern.removeprefix("^")
    return f"(?i){inner.removesuffix('$')}" if inner.endswith("$") else f"(?i){inner}.*"


def _clusters(policy: ExportedPolicy, listener: ExportedListener, files: Files) -> Iterator[Value]:
    limits = policy.limits
    for index, tunnel in enumerate(listener.tunnels, 1):
        yield _cluster(limits, f"tunnel_{listener.number}_{index}", tunnel.site_system)
    for index, publication in enumerate(listener.publications, 1):
        for role in publication.roles:
            name = f"site_{listener.number}_{index}_{role.name}"
            cluster = _cluster(limits, name, role.site_system.address)
            cluster["connection_pool_per_downstream_connection"] = Commented(
                "[USER-WINDOWS-AUTH] A connection belongs to one client connection.", True
            )
            options = "envoy.extensions.upstreams.http.v3.HttpProtocolOptions"
            http: Mapping[str, Value] = {"explicit_http_config": {"http_protocol_options": {}}}
            cluster["typed_extension_protocol_options"] = Commented(
                "[BRIDGE-IDENTITY] The body is forwarded unchanged.",
                {options: {"@type": f"type.googleapis.com/{options}", **http}},
            )
            if publication.tls is not None:
                cluster["transport_socket"] = _leg(publication.tls, role, files)
            yield cluster


def _cluster(limits: Limits, name: str, address: Address) -> dict[str, Value]:
    endpoint = {"endpoint": {"address": _address(address)}}
    return {
        "name": name,
        "type": "STATIC" if is_ip_address(address[0]) else "STRICT_DNS",
        "connect_timeout": _seconds(limits.connect_seconds),
        "load_assignment": {
            "cluster_name": name,
            "endpoints": [{"lb_endpoints": [endpoint]}],
        },
    }


def _leg(tls: ExportedTls, role: ExportedRole, files: Files) -> Value:
    validation = _validation(tls.site_system_trust, files)
    validation["match_typed_subject_alt_names"] = [
        {"san_type": "DNS", "matcher": {"exact": role.site_system.verify_name}}
    ]
    context = {
        "@type": f"{_TLS}.UpstreamTlsContext",
        "sni": role.site_system.name,
        "max_session_keys": 1 if tls.legs_resume else 0,
        "common_tls_context": {
            "tls_params": _parameters(role.site_system.tls),
            "tls_certificates": [
                {
                    "certificate_chain": {"filename": safe_path(tls.client.chain)},
                    "private_key": {"filename": safe_path(tls.client.key)},
                }
            ],
            "validation_context": validation,
        },
    }
    text = "[BRIDGE-TERMINATE] [BRIDGE-HTTPS-ONLY] The site-system leg."
    return Commented(text, {"name": "envoy.transport_sockets.tls", "typed_config": context})
