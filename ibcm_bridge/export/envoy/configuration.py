"""The configuration of Envoy, as YAML.

Source: envoyproxy.io/docs/envoy/v1.40.0/api-v3: HttpConnectionManager, DownstreamTlsContext,
UpstreamTlsContext, CertificateValidationContext, RouteMatch, Cluster and TcpProxy.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from ibcm_bridge.export.envoy.publications import connection_manager
from ibcm_bridge.export.envoy.site_systems import clusters, tunnel_attempts
from ibcm_bridge.export.envoy.statements import ENVOY
from ibcm_bridge.export.envoy.text import FILTERS, access_log, duration, socket_address
from ibcm_bridge.export.envoy.tls import client_leg
from ibcm_bridge.export.envoy.yaml_text import Commented, Value, yaml_text
from ibcm_bridge.export.exported import Export
from ibcm_bridge.export.model import ExportedListener, ExportedPolicy, ExportedPublication
from ibcm_bridge.export.writing import Files, Place, header, limitations, tunnel_text

HOLDS_LEGS = True

_NOTES = (
    "Check: envoy --mode validate -c FILE. Start: envoy -c FILE. It needs the Lua filter, and is "
    "tested with Envoy 1.40. Envoy needs allow_custom_methods for CCM_POST and BITS_POST, "
    "and calls this setting work in progress, outside of its threat model.",
    "Revocation: Envoy reads the CRLs at start only. When the list of any authority of the path "
    "expires or is missing, Envoy refuses every client. So export again after each new CRL, with "
    "--files, and restart Envoy. A connection that is open keeps its client.",
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
    found = [cluster for each in policy.listeners for cluster in clusters(policy, each, files)]
    layer: Value = {"re2": {"max_program_size": {"error_level": 100_000, "warn_level": 100_000}}}
    runtime = Commented(
        "Envoy's own limit for the size of a pattern is 100.",
        {"layers": [{"name": "export", "static_layer": layer}]},
    )
    text = yaml_text(
        {
            "layered_runtime": runtime,
            "static_resources": {"listeners": listeners, "clusters": found},
        }
    )
    return Export(f"{head}\n\n{text}", files.contents, not_enforced, policy.left_out)


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
                        "@type": f"{FILTERS}.listener.proxy_protocol.v3.ProxyProtocol"
                    },
                },
            )
        )
    if listener.is_tls:
        filters.append(
            {
                "name": "envoy.filters.listener.tls_inspector",
                "typed_config": {"@type": f"{FILTERS}.listener.tls_inspector.v3.TlsInspector"},
            }
        )
    return {
        "name": f"listener_{listener.number}",
        "address": socket_address(listener.address),
        "listener_filters_timeout": duration(policy.limits.handshake_seconds),
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
            "@type": f"{FILTERS}.network.tcp_proxy.v3.TcpProxy",
            "stat_prefix": name,
            "cluster": name,
            **tunnel_attempts(tunnel),
            "idle_timeout": duration(policy.limits.tunnel_idle_seconds),
            "access_log": access_log(),
        }
        filters: Value = [{"name": "envoy.filters.network.tcp_proxy", "typed_config": proxy}]
        yield Commented(tunnel_text(tunnel), {**match, "filters": filters})


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
        chain["transport_socket"] = client_leg(publication.tls, files)
        chain["transport_socket_connect_timeout"] = duration(policy.limits.handshake_seconds)
    manager = connection_manager(policy.limits, listener, publication, index)
    chain["filters"] = [
        {"name": "envoy.filters.network.http_connection_manager", "typed_config": manager}
    ]
    return Commented(f"{publication.name}, for clients port {publication.public_port}", chain)
