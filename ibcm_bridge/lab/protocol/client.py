"""The lab's HTTP client: one TLS connection that sends requests without changes.

How it works:

1. The TCP connection goes to an address; SNI, host name verification and `Host` use a name, as if
   the name resolved to this address.
2. The client writes the request itself, so any method, target, version and field is sent byte for
   byte. It adds only missing Host and, with a body, Content-Length fields.
3. http.client reads the responses, on a persistent connection.
4. Errors are `HandshakeRefused` (the server ended the TLS handshake) and `ConnectionEnded` (it
   closed the connection before the end of the response). In TLS 1.3 the server checks a client
   certificate after the client has completed its handshake, so the refusal arrives with the first
   read (RFC 8446, 4.4.2.4).

ssl.SSLCertVerificationError: this client does not trust the server's certificate.
"""

from __future__ import annotations

import contextlib
import copy
import hashlib
import http.client
import os
import re
import socket
import ssl
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from http import HTTPStatus
from pathlib import Path
from types import TracebackType
from typing import Self

from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding

from ibcm_bridge.lab.namespaces import HERE, Namespace
from ibcm_bridge.lab.pki.certificates import LabCredential

type Fields = Mapping[str, str] | Sequence[tuple[str, str]]

CHUNK = 256 * 1024
MAX_TEXT = 2_000
"""Bytes of a body that `Response.text` returns."""


@dataclass(frozen=True)
class Request:
    """An HTTP request; with `plaintext`, without TLS."""

    method: str
    target: str
    headers: tuple[tuple[str, str], ...] = ()
    body: bytes | None = None
    plaintext: bool = False
    version: str = "HTTP/1.1"


@dataclass(frozen=True)
class Response:
    """An HTTP response; `headers` in the order and spelling of the wire."""

    status: int
    reason: str
    headers: tuple[tuple[str, str], ...]
    body: bytes

    def header(self, name: str) -> str | None:
        """Return the first value of a field; its name is case-insensitive."""
        found = (value for field, value in self.headers if field.lower() == name.lower())
        return next(found, None)

    @property
    def text(self) -> str:
        """The body of a short text/plain response, such as a refusal; else empty."""
        media = (self.header("Content-Type") or "").partition(";")[0].strip().lower()
        if media != "text/plain" or len(self.body) > MAX_TEXT:
            return ""
        return self.body.decode("utf-8", "replace").replace("\r\n", "\n").strip()


class HandshakeRefused(Exception):
    """The server ended the TLS handshake; `alert` is None if it sent none."""

    def __init__(self, alert: str | None) -> None:
        super().__init__(alert or "the connection was closed during the handshake")
        self.alert = alert


class ConnectionEnded(Exception):
    """The server closed the connection before the end of the response."""


@dataclass(frozen=True)
class Handshake:
    """A completed TLS handshake, as the client sees it."""

    version: str
    """`TLS 1.3`."""
    resumed: bool
    seconds: float


class LabClient:
    """One persistent connection; the first request (or `connect`) opens it."""

    def __init__(
        self,
        address: tuple[str, int],
        server_name: str,
        *,
        trust: x509.Certificate,
        credential: LabCredential | None,
        timeout: float = 10,
        maximum_version: ssl.TLSVersion = ssl.TLSVersion.MAXIMUM_SUPPORTED,
        namespace: Namespace = HERE,
        key_log: Path | None = None,
        max_body: int | None = None,
        connect_to: tuple[str, int] | None = None,
    ) -> None:
        """`key_log`: the file for the TLS secrets of this client.

        `connect_to`: `address` is a web proxy; request a tunnel to this name and port from it.
        `max_body`: the most bytes of a response body that `request` reads; None for no limit.
        """
        self._address = address
        self._max_body = max_body
        self._namespace = namespace
        self._connect_to = connect_to
        self._server_name = server_name
        self._timeout = timeout
        self._context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        self._context.maximum_version = maximum_version
        self._context.set_alpn_protocols(["http/1.1"])
        self._context.load_verify_locations(cadata=trust.public_bytes(Encoding.DER))
        if credential:
            load_credential(self._context, credential)
        if key_log is not None:
            self._context.keylog_filename = str(key_log)
        self._session: ssl.SSLSession | None = None
        """The session to resume."""
        self._socket: ssl.SSLSocket | None = None
        self._connecting: ssl.SSLSocket | None = None
        self.presented: x509.Certificate | None = None
        """The certificate of the server, once connected."""
        self.handshake: Handshake | None = None
        """None before it is complete."""
        self._has_response = False
        self._ended = False

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    def with_its_session(self, address: tuple[str, int], server_name: str) -> LabClient:
        """Return a client that offers the session of this one to another server.

        The session is complete after a response (RFC 8446 4.6.1).
        """
        other = copy.copy(self)
        other._address, other._server_name = address, server_name
        other._session = None if self._socket is None else self._socket.session
        other._socket = other._connecting = other.presented = other.handshake = None
        other._has_response = other._ended = False
        return other

    @property
    def ended(self) -> bool:
        """True if the connection is closed."""
        return self._ended

    def close(self) -> None:
        """Close the connection; idempotent."""
        self._ended = True
        if self._socket:
            self._socket.close()

    def abort(self) -> None:
        """End the connection from another thread; a call that waits for the server then fails."""
        if (connecting := self._connecting) is not None:
            with contextlib.suppress(OSError):
                # SSLSocket.shutdown would also remove the TLS state that the other thread uses.
                socket.socket.shutdown(connecting, socket.SHUT_RDWR)

    def connect(self) -> ssl.SSLSocket:
        """Connect if not connected; return the socket."""
        if self._ended:
            raise ConnectionEnded("the connection had ended before this request")
        if self._socket is None:
            with self._namespace.inside():
                plain = socket.create_connection(self._address, self._timeout)
            plain.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            if self._connect_to is not None:
                _request_tunnel(plain, self._connect_to)
            began = time.perf_counter()
            self._connecting = connecting = self._context.wrap_socket(
                plain,
                server_hostname=self._server_name,
                do_handshake_on_connect=False,
                session=self._session,
            )
            try:
                connecting.do_handshake()
            except (ssl.SSLCertVerificationError, TimeoutError):
                connecting.close()
                raise
            except (ssl.SSLError, ConnectionError) as error:
                connecting.close()
                raise HandshakeRefused(_alert(error)) from error
            self._socket = connecting
            self.handshake = Handshake(
                tls_version(self._socket),
                bool(self._socket.session_reused),
                time.perf_counter() - began,
            )
            if der := self._socket.getpeercert(binary_form=True):
                self.presented = x509.load_der_x509_certificate(der)
        return self._socket

    def request(
        self,
        method: str,
        target: str,
        headers: Fields = (),
        body: bytes | None = None,
        version: str = "HTTP/1.1",
    ) -> Response:
        """Send a request; return the complete response."""
        with self._exchange(method, target, headers, body, version) as http_response:
            return _response(http_response, self._body(http_response))

    def _body(self, http_response: http.client.HTTPResponse) -> bytes:
        if self._max_body is None:
            return http_response.read()
        received = bytearray()
        for piece in _pieces(http_response):
            received += piece
            if len(received) > self._max_body:
                raise ConnectionEnded(f"the response body has more than {self._max_body:,} bytes")
        return bytes(received)

    def send(self, request: Request) -> Response:
        """Send a `Request`; return the complete response."""
        parts = (request.method, request.target, request.headers, request.body, request.version)
        return self.request(*parts)

    def download(self, target: str, headers: Fields = ()) -> tuple[Response, str, int]:
        """GET without storing the body; return the response, the body's SHA-256, and its length."""
        digest, length = hashlib.sha256(), 0
        with self.receiving(target, headers) as (response, pieces):
            for piece in pieces:
                digest.update(piece)
                length += len(piece)
            return response, digest.hexdigest(), length

    @contextlib.contextmanager
    def receiving(
        self, target: str, headers: Fields = ()
    ) -> Iterator[tuple[Response, Iterator[memoryview]]]:
        """GET: return the response, and an iterator over its body.

        A piece is valid until the next one. An incomplete read closes the connection.
        """
        with self._exchange("GET", target, headers, None) as http_response:
            yield _response(http_response, b""), _pieces(http_response)

    @contextlib.contextmanager
    def _exchange(
        self,
        method: str,
        target: str,
        headers: Fields,
        body: bytes | None,
        version: str = "HTTP/1.1",
    ) -> Iterator[http.client.HTTPResponse]:
        connection = self.connect()
        complete = False
        data = request_bytes(method, target, headers, body, self._server_name, version=version)
        try:
            # The server can refuse early; its response or alert can still be read.
            with contextlib.suppress(ssl.SSLError, ConnectionError):
                connection.sendall(data)
            with http.client.HTTPResponse(connection, method=method) as http_response:
                http_response.begin()
                yield http_response
                complete = http_response.isclosed() and not http_response.will_close
            self._has_response = True
        except http.client.HTTPException as error:
            raise ConnectionEnded(f"incomplete response: {error!r}") from error
        except (ssl.SSLError, ConnectionError) as error:
            alert = _alert(error)
            if alert and not self._has_response:
                raise HandshakeRefused(alert) from error
            raise ConnectionEnded(f"no response: {error}") from error
        finally:
            if not complete:
                self.close()


def _request_tunnel(connection: socket.socket, to: tuple[str, int]) -> None:
    """Request a tunnel from a web proxy (RFC 9110 9.3.6). ConnectionEnded if it refuses."""
    name = f"{to[0]}:{to[1]}"
    try:
        connection.sendall(request_bytes("CONNECT", name, (), None, name))
        response = http.client.HTTPResponse(connection, method="CONNECT")
        response.begin()
    except (http.client.HTTPException, OSError) as error:
        connection.close()
        raise ConnectionEnded(f"no response from the web proxy: {error!r}") from error
    response.close()
    if response.status != HTTPStatus.OK:
        connection.close()
        raise ConnectionEnded(f"the web proxy refuses: {response.status} {response.reason}")


def request_bytes(
    method: str,
    target: str,
    headers: Fields,
    body: bytes | None,
    host: str,
    *,
    version: str = "HTTP/1.1",
) -> bytes:
    """Encode a request."""
    fields = list(headers.items() if isinstance(headers, Mapping) else headers)
    given = {name.lower() for name, _ in fields}
    if "host" not in given:
        fields.insert(0, ("Host", host))
    if body is not None and not given & {"content-length", "transfer-encoding"}:
        fields.append(("Content-Length", str(len(body))))
    lines = [f"{method} {target} {version}", *(f"{name}: {value}" for name, value in fields)]
    return "\r\n".join([*lines, "", ""]).encode("latin-1") + (body or b"")


def plaintext_request(
    address: tuple[str, int], data: bytes, timeout: float = 10, namespace: Namespace = HERE
) -> bytes:
    """Send bytes over TCP, and read until the server closes or resets the connection."""
    received = bytearray()
    with namespace.inside():
        connection = socket.create_connection(address, timeout)
    with connection, contextlib.suppress(ConnectionError):
        connection.sendall(data)
        while chunk := connection.recv(65536):
            received += chunk
    return bytes(received)


def tls_version(connection: ssl.SSLSocket) -> str:
    """Return the version as people write it: `TLS 1.3`."""
    return (connection.version() or "TLS").replace("TLSv", "TLS ")


def load_credential(context: ssl.SSLContext, credential: LabCredential) -> None:
    """Load certificate and key into a TLS context; the ssl module needs a file for this."""
    # mkstemp creates the file with mode 0600; Windows cannot read it while it is open.
    handle, name = tempfile.mkstemp(suffix=".pem")
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(credential.key_pem() + credential.chain_pem())
        context.load_cert_chain(name)
    finally:
        Path(name).unlink()


def _pieces(http_response: http.client.HTTPResponse) -> Iterator[memoryview]:
    buffer = memoryview(bytearray(CHUNK))
    while count := http_response.readinto(buffer):
        yield buffer[:count]
    # readinto() returns 0 where read() would raise IncompleteRead.
    if http_response.length:
        raise ConnectionEnded(f"{http_response.length} bytes of the body are missing")


def _response(http_response: http.client.HTTPResponse, body: bytes) -> Response:
    return Response(
        http_response.status, http_response.reason, tuple(http_response.getheaders()), body
    )


def _alert(error: OSError) -> str | None:
    """`TLSV13_ALERT_CERTIFICATE_REQUIRED` -> `certificate required`."""
    reason = error.reason if isinstance(error, ssl.SSLError) else None
    # Some OpenSSL names lack the word ALERT: TLSV1_UNRECOGNIZED_NAME.
    named = re.fullmatch(r"(?:TLSV1\d?|SSLV3)_(?:ALERT_)?(.*)", reason or "")
    return named[1].replace("_", " ").lower() if named else None
