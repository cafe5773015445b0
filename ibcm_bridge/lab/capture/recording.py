"""Records all connections of a lab: a relay before each port of the bridge and each site system."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Self

from ibcm_bridge.lab.capture.key_log import secrets_of
from ibcm_bridge.lab.capture.pcapng import capture
from ibcm_bridge.lab.capture.relay import Leg, Recorded, Relay
from ibcm_bridge.lab.site_systems.published import PLAINTEXT_PORT
from ibcm_bridge.lab.site_systems.site_systems import Address
from ibcm_bridge.lab.site_systems.stand_ins import STAND_INS, ClientAuthentication


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


@dataclass(frozen=True)
class Relays:
    """The addresses of the relays before the site systems."""

    addresses: Mapping[str, Address]


class Recording:
    """The relays of a lab. A context manager.

    The client and the stand-ins write their TLS secrets to `key_log`.
    """

    def __init__(self, directory: Path) -> None:
        self.key_log = directory / "tls-secrets.log"
        self._stack = ExitStack()
        self._relays: list[Relay] = []

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
        return Relays(
            {
                role: Address(*self._relay(to, Leg.SITE_SYSTEM, tls=role not in plaintext))
                for role, to in addresses.items()
            }
        )

    def before_bridge(self, addresses: Mapping[int, tuple[str, int]]) -> dict[int, tuple[str, int]]:
        """Return the addresses that clients must use instead."""
        return {
            port: self._relay(to, Leg.CLIENT, tls=port != PLAINTEXT_PORT)
            for port, to in addresses.items()
        }

    def take(self, *, bridged: bool) -> Wire:
        """Return the connections since the last call. Only a bridge's have their secrets."""
        found = [recorded for relay in self._relays for recorded in relay.take()]
        connections = tuple(sorted(found, key=lambda recorded: recorded.began))
        return Wire(connections, secrets_of(connections, self.key_log) if bridged else "")

    def _relay(self, target: tuple[str, int], leg: Leg, *, tls: bool) -> tuple[str, int]:
        relay = self._stack.enter_context(Relay(target, leg, tls=tls))
        self._relays.append(relay)
        return relay.address
