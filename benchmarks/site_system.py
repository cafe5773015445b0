"""The site system behind both proxies: TLS, prepared answers, and nothing else.

The lab's stand-in reads and verifies what it is sent and would be what is measured. This one, a
process of its own with a thread per connection, demands a client certificate, finds the end of
each request and answers with prepared bytes:

- CCM_POST: a reply of two parts, about 1 KB;
- GET below /SMS_DP_SMSPKG$: `content` bytes of noise, or the range asked for;
- anything else: an XML document of about 500 bytes.

It says `port N` on standard output when it listens, and ends when its standard input does.
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

NOISE = os.urandom(1_048_576)
CONTENT_PREFIX = b"/SMS_DP_SMSPKG$/"

_LENGTH = re.compile(rb"\r\ncontent-length: *([0-9]+)", re.IGNORECASE)
_RANGE = re.compile(rb"\r\nrange: *bytes=([0-9]+)-([0-9]+)", re.IGNORECASE)


def main() -> None:
    """Listen on a free port of loopback until standard input ends."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--chain", type=Path, required=True)
    parser.add_argument("--key", type=Path, required=True)
    parser.add_argument("--trust", type=Path, required=True)
    parser.add_argument("--content", type=int, required=True, help="bytes of the content")
    options = parser.parse_args()
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(options.chain, options.key)
    context.load_verify_locations(options.trust)
    context.verify_mode = ssl.CERT_REQUIRED
    context.set_alpn_protocols(["http/1.1"])
    listener = socket.create_server(("127.0.0.1", 0), backlog=256)
    answers = _Answers(options.content)
    threading.Thread(target=_accept, args=(listener, context, answers), daemon=True).start()
    print(f"port {listener.getsockname()[1]}", flush=True)
    sys.stdin.read()


class _Answers:
    """The prepared bytes."""

    def __init__(self, content: int) -> None:
        self.content = content
        self.message = _response(b"multipart/mixed", _reply_body())
        self.document = _response(b"text/xml", b"<MPList>" + b"<MP/>" * 100 + b"</MPList>")

    def send(self, connection: ssl.SSLSocket, head: bytes) -> None:
        """Answer a request."""
        if head.startswith(b"CCM_POST "):
            connection.sendall(self.message)
        elif head.startswith(b"GET " + CONTENT_PREFIX):
            self._send_content(connection, head)
        else:
            connection.sendall(self.document)

    def _send_content(self, connection: ssl.SSLSocket, head: bytes) -> None:
        first, last, status, extra = 0, self.content - 1, b"200 OK", b""
        if (asked := _RANGE.search(head)) is not None:
            first, last = int(asked[1]), min(int(asked[2]), last)
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


def _accept(listener: socket.socket, context: ssl.SSLContext, answers: _Answers) -> None:
    while True:
        plain, _ = listener.accept()
        threading.Thread(target=_serve, args=(plain, context, answers), daemon=True).start()


def _serve(plain: socket.socket, context: ssl.SSLContext, answers: _Answers) -> None:
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
                answers.send(connection, head)
    except OSError:
        # A proxy that has ended its connection: the load client will know whether it should have.
        plain.close()


def _response(media_type: bytes, body: bytes) -> bytes:
    return (
        b"HTTP/1.1 200 OK\r\nContent-Type: %b\r\nServer: Microsoft-IIS/10.0\r\n"
        b"Content-Length: %d\r\n\r\n%b" % (media_type, len(body), body)
    )


def _reply_body() -> bytes:
    plain = ASSIGNMENTS.encode("utf-16-le") + b"\0\0"
    header = ccm.message_header("SccmMessaging", len(plain))
    return ccm.raw_message(header, zlib.compress(plain))


if __name__ == "__main__":
    main()
