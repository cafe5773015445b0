"""Records the connections of a case, with a relay before each port of bridge and site systems."""

from __future__ import annotations

import os
from collections.abc import Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Self

from ibcm_bridge.lab.capture.key_log import secrets_of
from ibcm_bridge.lab.capture.pcapng import capture
from ibcm_bridge.lab.capture.relay import Allowance, Leg, Recorded, Relay
from ibcm_bridge.lab.site_systems.published import PLAINTEXT_PORT
from ibcm_bridge.lab.site_systems.site_systems import Address
from ibcm_bridge.lab.site_systems.stand_ins import STAND_INS, ClientAuthentication

MAX_KEY_LOG = 1_048_576
"""Bytes after which the next case begins a new key log. A connection needs about 900."""


@dataclass(frozen=True)
class Wire:
    """What passed the wire on one path of a case."""

    connections: tuple[Recorded, ...]
    secrets: str = ""
    """A key log; empty for a tunnel, which has no secrets."""

    @property
    def pcapng(self) -> bytes:
        """The capture file."""
        return capture(self.connections, self.secrets)

    @property
    def size(self) -> int:
        """The number of recorded bytes."""
        pieces = (piece for connection in self.connections for piece in connection.pieces)
        return sum(len(piece.data) for piece in pieces) + len(self.secrets)


@dataclass(frozen=True)
class Relays:
    """The addresses of the relays before the site systems."""

    addresses: Mapping[str, Address]


class Recording:
    """The relays of a lab. A context manager.

    The client and the stand-ins write their TLS secrets to `key_log`.
    """

    def __init__(self, directory: Path, max_bytes: int | None = None) -> None:
        """`max_bytes`: the bytes to record of a path of a case; None for no limit."""
        self.key_log = directory / "tls-secrets.log"
        self._max_bytes = max_bytes
        self._stack = ExitStack()
        self._relays: list[Relay] = []
        self._site_systems: dict[str, Relay] = {}

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    def before_site_systems(self, addresses: Mapping[str, Address]) -> Relays:
        """Return the addresses that a bridge must use instead."""
        plaintext = {
            role
            for role, stand_in in STAND_INS.items()
            if stand_in.client_authentication is ClientAuthentication.PLAINTEXT
        }
        self._site_systems = {
            role: self._relay(to, Leg.SITE_SYSTEM, tls=role not in plaintext)
            for role, to in addresses.items()
        }
        return Relays({role: Address(*found.address) for role, found in self._site_systems.items()})

    def before_bridge(self, addresses: Mapping[int, tuple[str, int]]) -> dict[int, tuple[str, int]]:
        """Return the addresses that clients must use instead."""
        return {
            port: self._relay(to, Leg.CLIENT, tls=port != PLAINTEXT_PORT).address
            for port, to in addresses.items()
        }

    def take_down(self, role: str) -> None:
        """Refuse connections to a site system that is down."""
        self._site_systems[role].take_down()

    def bring_up(self, role: str) -> None:
        """Accept connections to a site system again. OSError if the port is in use."""
        self._site_systems[role].bring_up()

    def begin(self) -> None:
        """Record the connections that begin from now on."""
        # The files of a lab can be in memory, and other clients do not call this.
        if self.key_log.exists() and self.key_log.stat().st_size > MAX_KEY_LOG:
            os.truncate(self.key_log, 0)
        allowance = Allowance(self._max_bytes)
        for relay in self._relays:
            relay.record(allowance)

    def take(self, *, bridged: bool) -> Wire:
        """Return the connections since `begin`, and record no more.

        Only a bridge's have their secrets.
        """
        found = [recorded for relay in self._relays for recorded in relay.take()]
        connections = tuple(sorted(found, key=lambda recorded: recorded.began))
        return Wire(connections, secrets_of(connections, self.key_log) if bridged else "")

    def _relay(self, target: tuple[str, int], leg: Leg, *, tls: bool) -> Relay:
        relay = self._stack.enter_context(Relay(target, leg, tls=tls))
        self._relays.append(relay)
        return relay
