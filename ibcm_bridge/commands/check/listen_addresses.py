"""Resolves the listen addresses of a policy on this machine."""

from __future__ import annotations

import socket

from ibcm_bridge.policy.addresses import Address


def listen_addresses(address: Address) -> frozenset[str] | str:
    """The IP addresses to bind, resolved as asyncio does, or why there are none."""
    try:
        found = socket.getaddrinfo(*address, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
    except (OSError, UnicodeError) as error:
        # UnicodeError: a label of more than 63 characters.
        return getattr(error, "strerror", None) or "not a host name"
    return frozenset(str(bound[0]) for *_, bound in found)
