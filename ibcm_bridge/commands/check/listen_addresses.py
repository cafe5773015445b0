"""What the hosts that a policy listens on are on this machine."""

from __future__ import annotations

import socket

from ibcm_bridge.policy.addresses import Address


def listen_addresses(address: Address) -> frozenset[str] | str:
    """The IP addresses that would be bound, asked for as asyncio does; else why there are none."""
    try:
        found = socket.getaddrinfo(*address, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
    except (OSError, UnicodeError) as error:
        # A label of more than 63 characters is not even asked about.
        return getattr(error, "strerror", None) or "not a name"
    return frozenset(str(bound[0]) for *_, bound in found)
