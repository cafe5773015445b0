"""Parts of Envoy's configuration."""

from __future__ import annotations

from ibcm_bridge.export.envoy.yaml_text import Value
from ibcm_bridge.policy.addresses import Address

FILTERS = "type.googleapis.com/envoy.extensions.filters"


def socket_address(address: Address) -> Value:
    """Return an address."""
    return {"socket_address": {"address": address[0], "port_value": address[1]}}


def duration(seconds: float) -> str:
    """Return a time."""
    return f"{seconds:g}s"


def access_log() -> Value:
    """Return the log of requests or connections, on standard output."""
    stream = "type.googleapis.com/envoy.extensions.access_loggers.stream.v3.StdoutAccessLog"
    return [{"name": "envoy.access_loggers.stdout", "typed_config": {"@type": stream}}]
