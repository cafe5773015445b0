"""A request through the subject, with its results at the client and at the site systems."""

from __future__ import annotations

from dataclasses import dataclass

from ibcm_bridge.conformance.kit import Client
from ibcm_bridge.conformance.results import ClientResult
from ibcm_bridge.lab.protocol.client import Request
from ibcm_bridge.lab.site_systems.records import ReceivedRequest


@dataclass(frozen=True)
class Place:
    """How clients reach a role through the subject."""

    name: str
    address: tuple[str, int]


@dataclass(frozen=True)
class Pieces:
    """How bytes were sent slowly: the size of each piece, and the seconds after each one."""

    sizes: tuple[int, ...]
    pause: float


@dataclass(frozen=True)
class Exchange:
    """A request, and its results at the client and at the site systems."""

    sent: Request | bytes
    """Bytes: several requests, or a malformed one."""
    to: str
    place: Place
    client: Client
    result: ClientResult
    received: tuple[ReceivedRequest, ...] = ()
    tls_version: str = ""
    tls: bool = True
    """False for bytes without TLS, also if they are part of a handshake."""
    other_name: str = ""
    """The server name, if it is not that of the place."""
    maximum_version: str = ""
    """The latest TLS version that the client offered, if not all: `1.2`."""
    slowly: Pieces | None = None
    follows: tuple[Exchange, ...] = ()
    """Those before it on the same connection."""
    resumes: Exchange | None = None
    """The one whose TLS session it offered on a new connection."""

    @property
    def server_name(self) -> str:
        """The server name (SNI) of the connection, and Host."""
        return self.other_name or self.place.name
