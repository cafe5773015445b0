"""The site-system legs of Envoy: a cluster for each role.

How it works, with several site systems:

1. Each is an endpoint with its own transport socket, so with its own name and TLS settings
   (Cluster.transport_socket_matches).
2. `order: as-listed`: each has a priority of its own, and those with a higher number are for the
   failure of the lower ones. `order: by-client`: a ring of hashes selects one (RING_HASH).
3. If it cannot be connected, the request goes to another one (RetryPolicy, `connect-failure`).
4. After 3 such failures in a row, an endpoint is left out for 30 s (OutlierDetection). Only
   failures to connect count, not responses.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from ibcm_bridge.export.envoy.text import FILTERS, duration, socket_address
from ibcm_bridge.export.envoy.tls import site_system_leg
from ibcm_bridge.export.envoy.yaml_text import Commented, Value
from ibcm_bridge.export.model import (
    ExportedListener,
    ExportedPolicy,
    ExportedPublication,
    ExportedRole,
    ExportedTunnel,
    attempt_seconds,
)
from ibcm_bridge.export.writing import Files
from ibcm_bridge.policy.addresses import Address, is_ip_address
from ibcm_bridge.policy.policy import Limits

_RETRY = "type.googleapis.com/envoy.extensions.retry"
_CLIENT = "ibcm-bridge.client"
"""The filter state that selects the site system of a client."""
_SELECTIONS = 64
"""How often the ring is asked for a site system that was not tried."""
_ATTEMPTS_OF_TUNNEL = 6
"""For each site system. A TCP proxy tries the same one until it is left out, after 3 failures."""


def cluster_name(key: str, role: ExportedRole) -> str:
    """Return the name of the cluster of a role; `key` is that of its publication."""
    return f"site_{key}_{role.name}"


def attempts(role: ExportedRole) -> Mapping[str, Value]:
    """Return the parts of a route for several site systems; nothing for one."""
    if not role.has_several:
        return {}
    retry: dict[str, Value] = {
        "retry_on": "connect-failure",
        "num_retries": len(role.site_systems.listed) - 1,
        "retry_host_predicate": [
            _extension("retry_host_predicates.previous_hosts", "host.previous_hosts.v3", {})
        ],
        "host_selection_retry_max_attempts": _SELECTIONS,
        "retry_back_off": {"base_interval": "0.001s", "max_interval": "0.001s"},
    }
    found: dict[str, Value] = {
        "retry_policy": Commented("[BRIDGE-TERMINATE] No request is sent twice.", retry)
    }
    if role.is_spread:
        found["hash_policy"] = [
            {"filter_state": {"key": _CLIENT}, "terminal": True},
            {"connection_properties": {"source_ip": True}},
        ]
    else:
        retry["retry_priority"] = _extension(
            "retry_priorities.previous_priorities",
            "priority.previous_priorities.v3",
            {"update_frequency": 1},
        )
    return found


def client_filter(publication: ExportedPublication) -> Iterator[Value]:
    """Yield the filter that sets `_CLIENT`, if a role needs it."""
    if any(role.is_spread for role in publication.roles) and publication.tls is not None:
        value: Value = {
            "object_key": _CLIENT,
            "factory_key": "envoy.hashable_string",
            "format_string": {
                "text_format_source": {"inline_string": "%DOWNSTREAM_PEER_FINGERPRINT_256%"},
                "omit_empty_values": True,
            },
            "skip_if_empty": True,
        }
        yield Commented(
            "[BRIDGE-TERMINATE] A client is its certificate, or its address.",
            {
                "name": "envoy.filters.http.set_filter_state",
                "typed_config": {
                    "@type": f"{FILTERS}.http.set_filter_state.v3.Config",
                    "on_request_headers": [value],
                },
            },
        )


def tunnel_attempts(tunnel: ExportedTunnel) -> Mapping[str, Value]:
    """Return the parts of a TCP proxy for several site systems; nothing for one."""
    number = len(tunnel.site_systems)
    if number == 1:
        return {}
    return {
        "max_connect_attempts": _ATTEMPTS_OF_TUNNEL * number,
        "backoff_options": {"base_interval": "0.05s", "max_interval": "0.1s"},
    }


def clusters(policy: ExportedPolicy, listener: ExportedListener, files: Files) -> Iterator[Value]:
    """Yield the clusters of a listener."""
    limits = policy.limits
    for index, tunnel in enumerate(listener.tunnels, 1):
        name = f"tunnel_{listener.number}_{index}"
        yield _cluster(limits, name, tunnel.site_systems, in_order=True)
    for index, publication in enumerate(listener.publications, 1):
        for role in publication.roles:
            name = cluster_name(f"{listener.number}_{index}", role)
            addresses = [site_system.address for site_system in role.site_systems.listed]
            cluster = _cluster(limits, name, addresses, in_order=not role.is_spread)
            cluster["connection_pool_per_downstream_connection"] = Commented(
                "[USER-WINDOWS-AUTH] A connection belongs to one client connection.", True
            )
            options = "envoy.extensions.upstreams.http.v3.HttpProtocolOptions"
            http: Mapping[str, Value] = {"explicit_http_config": {"http_protocol_options": {}}}
            cluster["typed_extension_protocol_options"] = Commented(
                "[BRIDGE-IDENTITY] The body is forwarded unchanged.",
                {options: {"@type": f"type.googleapis.com/{options}", **http}},
            )
            cluster.update(_legs(publication, role, files))
            yield cluster


def _legs(
    publication: ExportedPublication, role: ExportedRole, files: Files
) -> Mapping[str, Value]:
    if publication.tls is None:
        return {}
    legs = [
        site_system_leg(publication.tls, site_system, files)
        for site_system in role.site_systems.listed
    ]
    if len(legs) == 1:
        return {"transport_socket": legs[0]}
    return {
        "transport_socket_matches": [
            {"name": _number(number), "match": _number_of(number), "transport_socket": leg}
            for number, leg in enumerate(legs, 1)
        ]
    }


def _cluster(
    limits: Limits, name: str, addresses: Sequence[Address], *, in_order: bool
) -> dict[str, Value]:
    several = len(addresses) > 1
    endpoints = [
        _endpoint(address, number if several else None)
        for number, address in enumerate(addresses, 1)
    ]
    groups: Value = [{"lb_endpoints": endpoints}]
    if several and in_order:
        groups = [
            {"priority": priority, "lb_endpoints": [endpoint]}
            for priority, endpoint in enumerate(endpoints)
        ]
    are_addresses = all(is_ip_address(address[0]) for address in addresses)
    return {
        "name": name,
        "type": "STATIC" if are_addresses else "STRICT_DNS",
        **({} if in_order else {"lb_policy": "RING_HASH"}),
        "connect_timeout": duration(attempt_seconds(limits, addresses)),
        "load_assignment": {"cluster_name": name, "endpoints": groups},
        **({"outlier_detection": _OUTLIERS} if several else {}),
    }


def _endpoint(address: Address, number: int | None) -> Value:
    endpoint: Value = {"address": socket_address(address)}
    if number is None:
        return {"endpoint": endpoint}
    metadata: Value = {"envoy.transport_socket_match": _number_of(number)}
    return {"endpoint": endpoint, "metadata": {"filter_metadata": metadata}}


_OUTLIERS: Value = Commented(
    "[BRIDGE-TERMINATE] After 3 failures to connect, a site system is left out for 30 s.",
    {
        "split_external_local_origin_errors": True,
        "consecutive_local_origin_failure": 3,
        "enforcing_consecutive_local_origin_failure": 100,
        "enforcing_local_origin_success_rate": 0,
        "enforcing_consecutive_5xx": 0,
        "enforcing_consecutive_gateway_failure": 0,
        "enforcing_success_rate": 0,
        "interval": "5s",
        "base_ejection_time": "30s",
        "max_ejection_time": "30s",
        "max_ejection_percent": 100,
    },
)


def _number(number: int) -> str:
    return f"site-system-{number}"


def _number_of(number: int) -> Value:
    return {"site_system": _number(number)}


def _extension(name: str, kind: str, settings: Mapping[str, Value]) -> Value:
    config: Value = {"@type": f"{_RETRY}.{kind}.{_TYPES[kind]}", **settings}
    return {"name": f"envoy.{name}", "typed_config": config}


_TYPES = {
    "host.previous_hosts.v3": "PreviousHostsPredicate",
    "priority.previous_priorities.v3": "PreviousPrioritiesConfig",
}
