"""A client's connections in one network, one for each name; what it does by HTTP has none."""

from __future__ import annotations

import http.client
import ssl
from contextlib import suppress

from ibcm_bridge.lab.pki.certificates import LabCredential
from ibcm_bridge.lab.protocol.client import (
    ConnectionEnded,
    HandshakeRefused,
    LabClient,
    Request,
    Response,
)
from ibcm_bridge.lab.simulated.network import Host, Network, Unreachable

NO_ANSWER = (
    ConnectionEnded,
    HandshakeRefused,
    Unreachable,
    ssl.SSLError,
    http.client.HTTPException,
    OSError,
)
"""What can become of a request that is not answered."""


class Connections:
    """To be closed in the end."""

    def __init__(self, network: Network, credential: LabCredential | None) -> None:
        self.network = network
        self._credential = credential
        self._open: dict[Host, LabClient] = {}

    def reached(self, host: Host) -> bool:
        """Whether somebody answers there, who is who that name says."""
        with suppress(*NO_ANSWER):
            self.to(host).connect()
            return True
        self._open.pop(host, None)
        return False

    def to(self, host: Host) -> LabClient:
        """The connection to a name, a new one where there is none (any more)."""
        known = self._open.get(host)
        if known is None or known.ended:
            known = self._open[host] = self.network.client(host, self._credential)
        return known

    def send(self, host: Host, request: Request) -> Response:
        """One request. One of NO_ANSWER where it has no answer."""
        if request.plaintext:
            return self._plain(host, request)
        used = host in self._open
        try:
            return self.to(host).send(request)
        except ConnectionEnded:
            # A server may end a connection that has been idle (RFC 9112 section 9.3.1).
            if not used:
                raise
            return self.to(host).send(request)

    def close(self) -> None:
        """End them all."""
        for connection in self._open.values():
            connection.close()
        self._open.clear()

    def _plain(self, host: Host, request: Request) -> Response:
        connection = self.network.plain(host)
        try:
            # As the client knows it: the lab's own port is nobody's business.
            fields = {"Host": host[0], **dict(request.headers)}
            connection.request(request.method, request.target, request.body, fields)
            with connection.getresponse() as response:
                got = tuple(response.getheaders())
                return Response(response.status, response.reason, got, response.read())
        finally:
            connection.close()
