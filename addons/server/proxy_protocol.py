"""Reads the PROXY header of a load balancer, before any other byte of its connection."""

from __future__ import annotations

import asyncio

from ibcm_bridge.addons.server.leg_socket import LegSocket
from ibcm_bridge.decisions import rules
from ibcm_bridge.decisions.denial import Deny, Reason
from ibcm_bridge.routing.proxy_header import ProxyHeader, read_proxy_header

HEADER_SECONDS = 1.0
"""How long a header may take. A balancer sends it at once."""


async def receive_proxy_header(socket: LegSocket) -> ProxyHeader | Deny | None:
    """Read the header. The bytes after it are left to the next reader of the socket.

    Return None if the connection ended without a byte, as that of a health check.
    """
    received = bytearray()
    read: asyncio.Future[ProxyHeader | Deny] = asyncio.get_running_loop().create_future()

    def take(data: memoryview) -> None:
        received.extend(data)
        header = read_proxy_header(bytes(received))
        if header is not None:
            length = header.length if isinstance(header, ProxyHeader) else 0
            socket.stop_reading(bytes(received[length:]))
            read.set_result(header)

    socket.read(take)
    futures: list[asyncio.Future[object]] = [read, socket.ended]  # type: ignore[list-item]
    await asyncio.wait(futures, timeout=HEADER_SECONDS, return_when=asyncio.FIRST_COMPLETED)
    if socket.defect is not None:
        raise socket.defect
    if read.done():
        return read.result()
    if not socket.ended.done():
        late = f"no PROXY header within {HEADER_SECONDS:g} s"
        return Deny(Reason.TOO_SLOW, rules.LISTENER_PROXY_PROTOCOL, late)
    if not received:
        return None
    return Deny(Reason.PROXY_HEADER, rules.LISTENER_PROXY_PROTOCOL, "an incomplete PROXY header")
