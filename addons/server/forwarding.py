"""Forwards everything that a socket receives to another socket: a tunnel.

The layer has already got all bytes that were received before. The kernel forwards all later bytes.
If it cannot, the caller reads the socket again, and its bytes are copied.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from ibcm_bridge.addons.server.leg_socket import LegSocket
from ibcm_bridge.addons.server.splice import ReceiverFailed, splice


async def forward(
    source: LegSocket, receiver: LegSocket, forwarded: Callable[[int], Awaitable[None]]
) -> bool:
    """Forward until the end of the source, which must not be read, and report the sizes.

    Return False if the kernel cannot forward, or if the source has failed. Raises ReceiverFailed.
    """
    receiver.transport.set_write_buffer_limits(0)
    try:
        await receiver.drained()
    except OSError as error:
        raise ReceiverFailed(str(error)) from error
    sockets = [each.transport.get_extra_info("socket") for each in (source, receiver)]
    try:
        await splice(sockets[0], sockets[1], forwarded)
    except OSError:
        return False
    return True
