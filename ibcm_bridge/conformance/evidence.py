"""What arrived at the site systems: from their records, in this process or from another one.

`RecordsServer` is part of `serve`. Its only client presents the kit's suite certificate, because
the records have everything that arrived.
"""

from __future__ import annotations

import base64
import json
import re
import ssl
from dataclasses import asdict
from datetime import datetime
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Protocol, cast

from cryptography.hazmat.primitives.serialization import Encoding

from ibcm_bridge.conformance.kit import SUITE, Kit, serve_line
from ibcm_bridge.lab.errors import LabError
from ibcm_bridge.lab.protocol.client import (
    ConnectionEnded,
    HandshakeRefused,
    LabClient,
    load_credential,
)
from ibcm_bridge.lab.site_systems.records import MAX_BYTES, ReceivedRequest
from ibcm_bridge.policy.addresses import address_text

_TARGET = "/received"


class Evidence(Protocol):
    """The records of the site systems."""

    def since(self, position: int) -> tuple[tuple[ReceivedRequest, ...], int]:
        """Return the requests from a position on, and the position after them. LabError."""


class RecordsServer(ThreadingHTTPServer):
    """Serves records over TLS to the client with the suite's certificate."""

    daemon_threads = True

    def __init__(self, address: tuple[str, int], kit: Kit, records: Evidence) -> None:
        super().__init__(address, _Handler)
        self.records = records
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        load_credential(context, kit.suite)
        context.load_verify_locations(cadata=kit.suite.certificate.public_bytes(Encoding.DER))
        context.verify_mode = ssl.CERT_REQUIRED
        # The handshake runs in the thread of the connection, at its first read.
        self.socket = context.wrap_socket(
            self.socket, server_side=True, do_handshake_on_connect=False
        )

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A connection without the certificate ends; it is not an error of the server."""


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    timeout = 30
    disable_nagle_algorithm = True
    """Head and body are two writes: otherwise, each response waits 40 ms for the client's ACK."""

    def do_GET(self) -> None:
        found = re.fullmatch(rf"{_TARGET}\?since=([0-9]{{1,20}})", self.path)
        if found is None:
            self.send_error(HTTPStatus.NOT_FOUND)
            return
        requests, position = cast(RecordsServer, self.server).records.since(int(found[1]))
        values = {"requests": [_as_json(request) for request in requests], "position": position}
        self._send(json.dumps(values).encode())

    def log_message(self, *_: Any) -> None:
        """Log nothing."""

    def _send(self, body: bytes) -> None:
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)


class RemoteEvidence:
    """The records of site systems in another process."""

    def __init__(self, address: tuple[str, int], kit: Kit) -> None:
        self._address = address
        self._kit = kit
        self._client: LabClient | None = None

    def since(self, position: int) -> tuple[tuple[ReceivedRequest, ...], int]:
        """Return the requests from a position on, and the position after them. LabError."""
        found = self._request(position)
        return tuple(_from_json(item) for item in found["requests"]), int(found["position"])

    def close(self) -> None:
        """Close the connection."""
        if self._client is not None:
            self._client.close()

    def _request(self, position: int) -> dict[str, Any]:
        if self._client is None or self._client.ended:
            self._client = LabClient(
                self._address,
                SUITE,
                trust=self._kit.suite.certificate,
                credential=self._kit.suite,
                max_body=4 * MAX_BYTES,
            )
        try:
            found = json.loads(self._client.request("GET", f"{_TARGET}?since={position}").body)
        except (OSError, HandshakeRefused, ConnectionEnded, ValueError) as error:
            self._client.close()
            raise LabError(
                f"cannot read the records of the site systems at {address_text(self._address)}: "
                f"{error}; start: {serve_line(self._kit.folder)}"
            ) from error
        assert isinstance(found, dict)
        return found


def _as_json(request: ReceivedRequest) -> dict[str, Any]:
    body = base64.b64encode(request.body).decode()
    return {**asdict(request), "time": request.time.isoformat(), "body": body}


def _from_json(found: dict[str, Any]) -> ReceivedRequest:
    more = {
        "time": datetime.fromisoformat(found["time"]),
        "body": base64.b64decode(found["body"]),
        "headers": tuple((name, value) for name, value in found["headers"]),
    }
    return ReceivedRequest(**{**found, **more})
