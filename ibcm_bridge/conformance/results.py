"""What a client receives: a response, a refusal, the end of the connection, or nothing in time."""

from __future__ import annotations

import contextlib
import http.client
import socket
import ssl
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass

from ibcm_bridge.conformance.pacing import MAX_RECEIVED
from ibcm_bridge.lab.comparison.outcomes import ClientRefused
from ibcm_bridge.lab.protocol.client import ConnectionEnded, HandshakeRefused, Response


@dataclass(frozen=True)
class Hang:
    """No complete response, and no end of the connection, within these seconds."""

    seconds: float


@dataclass(frozen=True)
class Unreachable:
    """No TCP connection, for this reason."""

    why: str


@dataclass(frozen=True)
class AuthorityNames:
    """A completed handshake without a request: the names of authorities that the server sent."""

    names: tuple[tuple[str, bytes], ...]
    """Each as text, and as in a certificate (DER)."""


type ClientResult = (
    Response
    | HandshakeRefused
    | ConnectionEnded
    | ClientRefused
    | Unreachable
    | Hang
    | AuthorityNames
)


def result_of(
    send: Callable[[], ClientResult], abort: Callable[[], None], seconds: float
) -> ClientResult:
    """Send, and return the result. After `seconds`, `abort` ends the connection."""
    # The timeout of a socket is for one call; a slow response can take any number of calls.
    watch = threading.Timer(seconds, abort)
    began = time.monotonic()
    watch.start()
    try:
        return send()
    except TimeoutError:
        return Hang(seconds)
    except ssl.SSLCertVerificationError as refused:
        return ClientRefused(refused.verify_message.rstrip("."))
    except (HandshakeRefused, ConnectionEnded) as ended:
        late = time.monotonic() - began >= seconds
        return Hang(seconds) if late else ended
    except OSError as error:
        return Unreachable(error.strerror or str(error))
    finally:
        watch.cancel()


def plaintext_result(
    address: tuple[str, int], data: bytes, method: str, seconds: float
) -> ClientResult:
    """Send a request without TLS, and return the result."""
    try:
        with socket.create_connection(address, seconds) as connection:
            watch = threading.Timer(seconds, connection.shutdown, (socket.SHUT_RDWR,))
            began = time.monotonic()
            watch.start()
            try:
                with contextlib.suppress(ConnectionError):
                    connection.sendall(data)
                with http.client.HTTPResponse(connection, method=method) as response:
                    response.begin()
                    body = response.read(MAX_RECEIVED)
                    headers = tuple(response.getheaders())
                    return Response(response.status, response.reason, headers, body)
            except (http.client.HTTPException, ConnectionError) as error:
                late = time.monotonic() - began >= seconds
                return Hang(seconds) if late else ConnectionEnded(f"no response: {error!r}")
            finally:
                watch.cancel()
    except TimeoutError:
        return Hang(seconds)
    except OSError as error:
        return Unreachable(error.strerror or str(error))
