"""The TLS connections of a client in one network, one for each name."""

from __future__ import annotations

import http.client
import ssl

from ibcm_bridge.lab.pki.certificates import LabCredential
from ibcm_bridge.lab.protocol.client import (
    ConnectionEnded,
    HandshakeRefused,
    LabClient,
    Request,
    Response,
)
from ibcm_bridge.lab.simulated.failure import Failure, Unreachable, failure_of
from ibcm_bridge.lab.simulated.network import Host, Network

CONNECTION_ERRORS = (
    ConnectionEnded,
    HandshakeRefused,
    Unreachable,
    ssl.SSLError,
    http.client.HTTPException,
    OSError,
)
"""The errors of a request without a response."""


class Connections:
    """The caller must close it."""

    def __init__(self, network: Network, credential: LabCredential | None) -> None:
        self.network = network
        self._credential = credential
        self._open: dict[Host, LabClient] = {}

    def why_not(self, host: Host) -> Failure | None:
        """Return why no server with a valid certificate responds there; None if one does."""
        try:
            self.to(host).connect()
        except CONNECTION_ERRORS as why:
            self._open.pop(host, None)
            return failure_of(why)
        return None

    def to(self, host: Host) -> LabClient:
        """Return the connection to a name; a new one if there is none or if it has ended."""
        known = self._open.get(host)
        if known is None or known.ended:
            known = self._open[host] = self.network.client(host, self._credential)
        return known

    def send(self, host: Host, request: Request) -> Response:
        """Send a request. Raises one of CONNECTION_ERRORS."""
        if request.plaintext:
            return self._plain(host, request)
        used = host in self._open
        try:
            return self.to(host).send(request)
        except ConnectionEnded:
            # A server can close an idle connection (RFC 9112 section 9.3.1).
            if not used:
                raise
            return self.to(host).send(request)

    def close(self) -> None:
        """Close all connections."""
        for connection in self._open.values():
            connection.close()
        self._open.clear()

    def _plain(self, host: Host, request: Request) -> Response:
        connection = self.network.plain(host)
        try:
            # The name without the port of the lab, as a real client sends it.
            fields = {"Host": host[0], **dict(request.headers)}
            connection.request(request.method, request.target, request.body, fields)
            with connection.getresponse() as response:
                got = tuple(response.getheaders())
                return Response(response.status, response.reason, got, response.read())
        finally:
            connection.close()
