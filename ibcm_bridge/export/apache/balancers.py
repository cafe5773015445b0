"""Load balancers in front of Apache, which name the client in a PROXY header (mod_remoteip).

How it works: Apache reads a header from every connection to an address with RemoteIPProxyProtocol,
and closes one without it. `Require ip` would compare the address in that header, so requests of
others are refused by the address of the connection, CONN_REMOTE_ADDR: after the handshake.
RemoteIPProxyProtocolExceptions is for all addresses that Apache listens on, so others cannot
connect without a header. Sources: mod/mod_remoteip.html and expr.html of httpd.apache.org/docs/2.4.
"""

from __future__ import annotations

from collections.abc import Iterator

from ibcm_bridge.export.model import ExportedListener, ExportedPolicy
from ibcm_bridge.export.writing import comment


def balancer_modules(policy: ExportedPolicy) -> tuple[str, ...]:
    """Return the module that reads PROXY headers; nothing without load balancers."""
    return ("remoteip",) if any(each.balancers for each in policy.listeners) else ()


def proxy_headers(listener: ExportedListener) -> Iterator[str]:
    """Return the directive that reads PROXY headers, for each virtual host of an address."""
    if listener.balancers:
        yield comment("The balancers send a PROXY header in every connection.")
        yield "RemoteIPProxyProtocol On"


def from_balancers(listener: ExportedListener) -> Iterator[str]:
    """Return the condition of a request that comes from a balancer, as an expression."""
    if listener.balancers:
        address = "%{CONN_REMOTE_ADDR}"
        yield " || ".join(f"{address} -ipmatch '{network}'" for network in listener.balancers)
