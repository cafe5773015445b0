"""The bridge's master of mitmproxy: its core and server, without its other addons."""

from __future__ import annotations

import asyncio
import logging
import math
from collections.abc import Iterable
from typing import Any

from mitmproxy import options
from mitmproxy.addons.core import Core
from mitmproxy.addons.proxyserver import Proxyserver
from mitmproxy.master import Master
from mitmproxy.proxy import mode_specs
from mitmproxy.proxy.server_hooks import ServerConnectionHookData

from ibcm_bridge.addons.bridge import Bridge
from ibcm_bridge.addons.server import listener
from ibcm_bridge.policy.addresses import Address, socket_address

logger = logging.getLogger(__name__)

_NOT_ACCEPTED = "socket.accept() out of system resource"
"""asyncio's text if the system has no more files or memory for a connection."""

ACCEPT_SECONDS = 60.0
"""The least interval between two lines about connections that cannot be accepted, in seconds."""


class RefusedAccepts:
    """Logs that connections cannot be accepted. asyncio reports each attempt, and then waits."""

    def __init__(self) -> None:
        self._logged_at = -math.inf

    def report(self, error: OSError, now: float) -> None:
        """Write a line, unless there was one a short time ago."""
        if now - self._logged_at >= ACCEPT_SECONDS:
            self._logged_at = now
            logger.error("cannot accept connections: %s; new ones wait", error.strerror)


class NoOtherDials:
    """Refuses every server connection that `BridgeConnectionHandler` does not open.

    That handler calls its hooks itself. mitmproxy's dispatch is only reached by other connections,
    such as a replayed flow, which would be sent without a decision.
    """

    def server_connect(self, data: ServerConnectionHookData) -> None:
        """Refuse the connection in the way that mitmproxy expects."""
        data.server.error = "refused by the bridge"


class BridgeMaster(Master):
    """A minimal master: mitmproxy's core and server, without its other addons."""

    def __init__(self, bridge: Bridge) -> None:
        super().__init__(options.Options())
        self.runtime = bridge
        self._refused_accepts = RefusedAccepts()
        self.servers = Proxyserver()
        self.addons.add(Core(), self.servers, NoOtherDials())
        self.options.update(
            mode=[_mode(address) for address in bridge.generation.listeners],
            connection_strategy="lazy",
            http2=False,
        )

    async def listen(self, listeners: Iterable[Address]) -> bool:
        """Listen at these addresses and at no others. Return False if one could not be opened."""
        modes = [mode_specs.ProxyMode.parse(_mode(address)) for address in listeners]
        opened: bool = await self.servers.servers.update(modes)
        return opened

    def _asyncio_exception_handler(
        self, loop: asyncio.AbstractEventLoop, context: dict[str, Any]
    ) -> None:
        """Log a failure of accept(2) in one line. mitmproxy would log its traceback each time."""
        error = context.get("exception")
        if isinstance(error, OSError) and str(context.get("message")).startswith(_NOT_ACCEPTED):
            self._refused_accepts.report(error, loop.time())
        else:
            super()._asyncio_exception_handler(loop, context)

    def addresses(self) -> list[Address]:
        """Return the addresses of the open listeners."""
        return [socket_address(name) for name in self.servers.listen_addrs()]


def _mode(address: Address) -> str:
    # mitmproxy splits at the last colon, and expects IPv6 addresses without brackets.
    host, port = address
    return f"{listener.BridgeMode.type_name}:policy@{host}:{port}"
