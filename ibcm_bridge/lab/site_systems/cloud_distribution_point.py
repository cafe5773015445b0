"""A simulated cloud distribution point: on the Internet, over HTTPS, not through the bridge.

The management point of the site returns an access token for the content with its location; the
client presents the token. Both are as Microsoft describes them, but their format on the wire is not
known (protocol.md 12): the lab has its own, and the paths of an ordinary distribution point.
"""

from __future__ import annotations

import hmac
import secrets
import ssl
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from time import time
from xml.etree import ElementTree as ET

from ibcm_bridge.lab.namespaces import HERE, Namespace
from ibcm_bridge.lab.pki.certificates import LabCredential
from ibcm_bridge.lab.protocol.client import load_credential
from ibcm_bridge.lab.protocol.content import content
from ibcm_bridge.lab.site_systems.server_thread import ServerThread
from ibcm_bridge.os_errors import listening_at

SIZE = 262_144
"""Bytes of each file."""

VALID_SECONDS = 24 * 3600
"""A token is valid for 24 hours."""


class AccessTokens:
    """Issues and checks tokens for content, with a key that the site and its cloud share."""

    def __init__(self) -> None:
        self._key = secrets.token_bytes(32)

    def issue(self, package: str, now: float | None = None) -> str:
        """Return a token for the content of a package."""
        expires = int(time() if now is None else now) + VALID_SECONDS
        return f"{expires}.{self._signature(package, expires)}"

    def accepts(self, token: str, package: str, now: float | None = None) -> bool:
        """Return whether the token is valid for this content."""
        expires, _, signature = token.partition(".")
        if not expires.isdecimal() or int(expires) <= (time() if now is None else now):
            return False
        own = self._signature(package, int(expires))
        return hmac.compare_digest(signature.encode(), own.encode())

    def _signature(self, package: str, expires: int) -> str:
        return hmac.digest(self._key, f"{package.lower()} {expires}".encode(), "sha256").hex()


@dataclass(frozen=True)
class CloudContent:
    """The content of one package, which only the cloud distribution point has."""

    name: str
    """The name of the cloud distribution point."""
    package: str
    tokens: AccessTokens

    def is_requested(self, request: ET.Element) -> bool:
        """Return whether a message requests the location of this content."""
        package = request.find("Package")
        return (
            request.tag == "ContentLocationRequest"
            and package is not None
            and package.get("ID") == self.package
        )


class CloudDistributionPoint(ServerThread):
    """A context manager. `address` is its listen address."""

    def __init__(
        self, credential: LabCredential, tokens: AccessTokens, namespace: Namespace = HERE
    ) -> None:
        with namespace.inside(), listening_at((namespace.address, 0)):
            server = _Server((namespace.address, 0), _Connection)
        server.tokens = tokens
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        load_credential(context, credential)
        # The thread of a connection does its handshake, with the first read.
        server.socket = context.wrap_socket(
            server.socket, server_side=True, do_handshake_on_connect=False
        )
        self.address: tuple[str, int] = (namespace.address, server.server_address[1])
        super().__init__(server)


class _Server(ThreadingHTTPServer):
    tokens: AccessTokens

    def handle_error(self, *_: object) -> None:
        """Print nothing: the refusal of a client without TLS needs no traceback."""


class _Connection(BaseHTTPRequestHandler):
    timeout = 10.0
    protocol_version = "HTTP/1.1"
    server: _Server

    def do_GET(self) -> None:
        status, body = self._content()
        self.send_response(status)
        self.send_header(
            "Content-Type", "application/octet-stream" if status == 200 else "text/plain"
        )
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def _content(self) -> tuple[int, bytes]:
        directory, _, rest = self.path.removeprefix("/").partition("/")
        package, _, file = rest.partition("/")
        scheme, _, token = self.headers.get("Authorization", "").partition(" ")
        if scheme.lower() != "bearer":
            return 401, b"The cloud distribution point requires a token."
        if not self.server.tokens.accepts(token, package):
            return 403, b"The token is not valid for this content."
        if directory.lower() != "sms_dp_smspkg$" or not file.startswith("sccm?/"):
            return 404, b"Not found"
        return 200, content(0, SIZE)

    def log_message(self, *_: object) -> None:
        """Log nothing."""
