"""The site system of both proxies: TLS and prepared responses.

The lab's stand-in parses and verifies each request, which would dominate the measurement. This one
is a separate process with a thread per connection. It requires a client certificate, finds the end
of each request and sends prepared bytes:

- CCM_POST: a reply of two parts, about 1 KB
- GET below /SMS_DP_SMSPKG$: `content` random bytes, or the requested range
- anything else: an XML document of about 500 bytes

It prints `port N` when it listens, and ends when its standard input is closed.
"""

from __future__ import annotations

import argparse
import os
import re
import socket
import ssl
import sys
import threading
import zlib
from pathlib import Path

from ibcm_bridge.lab.protocol import ccm
from ibcm_bridge.lab.protocol.reply_documents import ASSIGNMENTS
from ibcm_bridge.storage.open_files import raise_open_file_limit

NOISE = os.urandom(1_048_576)
CONTENT_PREFIX = b"/SMS_DP_SMSPKG$/"

_LENGTH = re.compile(rb"\r\ncontent-length: *([0-9]+)", re.IGNORECASE)
_RANGE = re.compile(rb"\r\nrange: *bytes=([0-9]+)-([0-9]+)", re.IGNORECASE)


def main() -> None:
    """Listen on a free loopback port until standard input is closed."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--chain", type=Path, required=True)
    parser.add_argument("--key", type=Path, required=True)
    parser.add_argument("--trust", type=Path, required=True)
    parser.add_argument("--content", type=int, required=True, help="size of a download in bytes")
    options = parser.parse_args()
    raise_open_file_limit()
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(options.chain, options.key)
    context.load_verify_locations(options.trust)
    context.verify_mode = ssl.CERT_REQUIRED
    context.set_alpn_protocols(["http/1.1"])
    listener = socket.create_server(("127.0.0.1", 0), backlog=1024)
    responses = _Responses(options.content)
    threading.Thread(target=_accept, args=(listener, context, responses), daemon=True).start()
    print(f"port {listener.getsockname()[1]}", flush=True)
    sys.stdin.read()


class _Responses:
    """The prepared responses."""

    def __init__(self, content: int) -> None:
        self.content = content
        self.message = _response(b"multipart/mixed", _reply_body())
        self.document = _response(b"text/xml", b"<MPList>" + b"<MP/>" * 100 + b"</MPList>")

    def send(self, connection: ssl.SSLSocket, head: bytes) -> None:
        """Send the response to a request."""
        if head.startswith(b"CCM_POST "):
            connection.sendall(self.message)
        elif head.startswith(b"GET " + CONTENT_PREFIX):
            self._send_content(connection, head)
        else:
            connection.sendall(self.document)

    def _send_content(self, connection: ssl.SSLSocket, head: bytes) -> None:
        first, last, status, extra = 0, self.content - 1, b"200 OK", b""
        if (requested := _RANGE.search(head)) is not None:
            first, last = int(requested[1]), min(int(requested[2]), last)
            status = b"206 Partial Content"
            extra = b"Content-Range: bytes %d-%d/%d\r\n" % (first, last, self.content)
        remaining = last - first + 1
        connection.sendall(
            b"HTTP/1.1 %b\r\nContent-Type: application/octet-stream\r\n"
            b"Accept-Ranges: bytes\r\n%bContent-Length: %d\r\n\r\n" % (status, extra, remaining)
        )
        noise = memoryview(NOISE)
        while remaining:
            piece = noise[: min(remaining, len(noise))]
            connection.sendall(piece)
            remaining -= len(piece)


def _accept(listener: socket.socket, context: ssl.SSLContext, responses: _Responses) -> None:
    while True:
        plain, _ = listener.accept()
        threading.Thread(target=_serve, args=(plain, context, responses), daemon=True).start()


def _serve(plain: socket.socket, context: ssl.SSLContext, responses: _Responses) -> None:
    plain.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    try:
        with context.wrap_socket(plain, server_side=True) as connection:
            received = b""
            while True:
                while (end := received.find(b"\r\n\r\n")) < 0:
                    if not (more := connection.recv(65_536)):
                        return
                    received += more
                head, received = received[: end + 2], received[end + 4 :]
                length = int(found[1]) if (found := _LENGTH.search(head)) else 0
                while len(received) < length:
                    if not (more := connection.recv(65_536)):
                        return
                    received += more
                received = received[length:]
                responses.send(connection, head)
    except OSError:
        # The proxy has closed its connection; the load client detects it if that was an error.
        plain.close()


def _response(media_type: bytes, body: bytes) -> bytes:
    return (
        b"HTTP/1.1 200 OK\r\nContent-Type: %b\r\nServer: Microsoft-IIS/10.0\r\n"
        # A proxy that adds a missing Date would change the response every second.
        b"Date: Thu, 01 Jan 2026 00:00:00 GMT\r\n"
        b"Content-Length: %d\r\n\r\n%b" % (media_type, len(body), body)
    )


def _reply_body() -> bytes:
    plain = ASSIGNMENTS.encode("utf-16-le") + b"\0\0"
    header = ccm.message_header("SccmMessaging", len(plain))
    return ccm.raw_message(header, zlib.compress(plain))


if __name__ == "__main__":
    main()
