"""Stand-ins for a management point and a distribution point, on loopback.

How it works (section numbers are those of protocol.md):

1. A thread with its own event loop serves both. TLS asks for a client certificate and does not
   insist, as IIS does; one that is shown must lead to the lab's root and not be revoked.
2. A directory wants a certificate for client authentication, or answers 403. Its dangerous
   siblings (1.1, 7) answer everybody, and as in IIS paths are decoded and case does not matter:
   that is what the bridge is there for.
3. A method nobody knows is answered 200, so that what gets through is seen to get through.
4. Each request is recorded just before its answer is sent.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import re
import ssl
import tempfile
import threading
from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from dataclasses import dataclass
from hashlib import shake_256
from http import HTTPStatus
from posixpath import normpath
from socket import socket
from typing import NamedTuple, Self, cast
from urllib.parse import unquote
from xml.sax.saxutils import escape, quoteattr

from cryptography import x509
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import ExtendedKeyUsageOID
from tornado.http1connection import HTTP1Connection
from tornado.httpserver import HTTPServer
from tornado.httputil import HTTPHeaders, HTTPServerRequest, ResponseStartLine
from tornado.iostream import SSLIOStream, StreamClosedError
from tornado.netutil import add_accept_handler, bind_sockets

from ibcm_bridge.lab import ccm
from ibcm_bridge.lab.client import load_credential
from ibcm_bridge.lab.pki import LabPki
from ibcm_bridge.lab.replies import MessageReplies

NAMES = {
    "management-point": ("mp01.corp.example", "mp-tunnel.internet.example"),
    "distribution-point": ("dp01.corp.example", "dp-tunnel.internet.example"),
}
RECORDED = 1024 * 1024  # bytes of a body
KEPT = 16_384  # records, the latest ones
MAX_BODY = 64 * 1024 * 1024
CHUNK = 256 * 1024

ANYBODY = re.compile(r"(nocert|ccmtokenauth)_.*|.*_(altauth|tokenauth)|ccm_(client|sts)")
"""Directories that ask for no certificate (1.1, 4, 7)."""


READING = {"GET", "HEAD"}
XML = {"Content-Type": "text/xml"}
TEXT = {"Content-Type": "text/plain"}
ETAG = '"lab-1"'
VALIDATORS = {  # what BITS compares between the parts of a download (7)
    "Content-Type": "application/octet-stream",
    "Accept-Ranges": "bytes",
    "Last-Modified": "Thu, 01 Jan 2026 00:00:00 GMT",
    "ETag": ETAG,
}
ROOTS = {  # of what .sms_aut answers (4); all else is a policy
    **dict.fromkeys(("MPLIST", "MPLIST1", "MPLIST2"), "MPList"),
    **dict.fromkeys(("MPCERT", "MPCERT2"), "MPCertificates"),
    **dict.fromkeys(("MPKEYINFORMATION", "MPKEYINFORMATIONMEDIA"), "MPKEYINFORMATION"),
    "SITESIGNCERT": "X509Data",
}
NOISE = shake_256(b"ibcm-bridge lab").digest(2 * CHUNK)


class Address(NamedTuple):
    host: str
    port: int


@dataclass(frozen=True)
class Received:
    """A request that reached a site system; header fields in the order and spelling of the wire."""

    site_system: str
    method: str
    target: str
    headers: tuple[tuple[str, str], ...]
    body: bytes
    certificate_subject: str | None
    certificate_sha256: str | None
    peer_port: int
    status: int


@dataclass(frozen=True)
class Handshake:
    """A ClientHello that reached a site system, whatever became of the handshake."""

    site_system: str
    sni: str | None


class Answer(NamedTuple):
    """`body` as a range stands for that part of `content`."""

    status: int
    body: bytes | range
    fields: dict[str, str]


ANYTHING = Answer(200, b"stand-in accepts anything", TEXT)
NOT_FOUND = Answer(404, b"Not found", TEXT)


class SiteSystems:
    """Both stand-ins. Records may be read at any time, also after the end."""

    def __init__(
        self,
        pki: LabPki,
        *,
        download_bytes: int = 8 * 1024 * 1024,
        management_point_port: int = 0,
        distribution_point_port: int = 0,
    ) -> None:
        self._download_bytes = download_bytes
        self._received: deque[Received] = deque(maxlen=KEPT)
        self._handshakes: deque[Handshake] = deque(maxlen=KEPT)
        self._messages = MessageReplies()
        self._tasks: set[asyncio.Future[None]] = set()
        self._contexts = {name: self._context(name, pki) for name in NAMES}
        ports = (management_point_port, distribution_point_port)
        self._listeners = [bind_sockets(port, "127.0.0.1")[0] for port in ports]
        self.management_point, self.distribution_point = (
            Address(*listener.getsockname()) for listener in self._listeners
        )
        self._thread = threading.Thread(target=lambda: asyncio.run(self._serve()), daemon=True)
        self._running: Future[tuple[asyncio.AbstractEventLoop, asyncio.Event]] = Future()

    def __enter__(self) -> Self:
        # A refused handshake is what many tests are about, not something to report.
        logging.getLogger("tornado").setLevel(logging.CRITICAL)
        self._thread.start()
        self._running.result(timeout=10)
        return self

    def __exit__(self, *_: object) -> None:
        loop, stopped = self._running.result()
        loop.call_soon_threadsafe(stopped.set)
        self._thread.join()

    def received(self) -> tuple[Received, ...]:
        """Whole requests, in the order of their answers; a head or body cut short is none."""
        return tuple(self._received.copy())

    def handshakes(self) -> tuple[Handshake, ...]:
        return tuple(self._handshakes.copy())

    def clear(self) -> None:
        self._received.clear()
        self._handshakes.clear()

    def _context(self, name: str, pki: LabPki) -> ssl.SSLContext:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        load_credential(context, pki.server(*NAMES[name]))
        with tempfile.NamedTemporaryFile(suffix=".pem") as file:
            for one in (pki.root, *pki.crls()):
                file.write(one.public_bytes(Encoding.PEM))
            file.flush()
            context.load_verify_locations(file.name)
        context.verify_mode = ssl.CERT_OPTIONAL
        context.verify_flags |= ssl.VERIFY_CRL_CHECK_CHAIN | ssl.VERIFY_X509_STRICT
        context.set_alpn_protocols(["http/1.1"])

        def client_hello(_: ssl.SSLObject, sni: str | None, __: ssl.SSLContext) -> None:
            self._handshakes.append(Handshake(name, sni))

        context.sni_callback = client_hello
        return context

    async def _serve(self) -> None:
        stopped = asyncio.Event()
        pairs = zip(NAMES, self._listeners, strict=True)
        servers = [self._listen(name, listener) for name, listener in pairs]
        self._running.set_result((asyncio.get_running_loop(), stopped))
        await stopped.wait()
        for (server, stop_accepting), listener in zip(servers, self._listeners, strict=True):
            stop_accepting()
            listener.close()
            await server.close_all_connections()

    def _listen(self, name: str, listener: socket) -> tuple[HTTPServer, Callable[[], None]]:
        def answer(request: HTTPServerRequest) -> None:
            # The loop itself keeps only a weak reference to a task.
            task = asyncio.ensure_future(self._answer(name, request))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

        def accept(connection: socket, address: tuple[str, int]) -> None:
            try:
                tls = self._contexts[name].wrap_socket(
                    connection, server_side=True, do_handshake_on_connect=False
                )
            except OSError:  # already gone
                connection.close()
                return
            server.handle_stream(_Stream(tls, address[1]), address)

        server = HTTPServer(answer, max_body_size=MAX_BODY)
        return server, add_accept_handler(listener, accept)

    async def _answer(self, name: str, request: HTTPServerRequest) -> None:
        connection = cast(HTTP1Connection, request.connection)
        stream = cast(_Stream, connection.stream)
        method, target, certificate = request.method or "", request.uri or "", stream.certificate
        directory, rest, query = _place(target)
        if not (ANYBODY.fullmatch(directory) or _authenticates_client(certificate)):
            answer = Answer(403, b"Client certificate required", TEXT)
        elif name == "management-point":
            answer = self._management_point(method, directory, query, request.body)
        else:
            answer = self._distribution_point(method, directory, rest, query)
        if method == "GET" and answer.status == 200:  # RFC 9110, 14.2: for GET alone
            answer = _part(answer, request.headers)
        received = Received(
            name,
            method,
            target,
            stream.fields(),
            request.body[:RECORDED],
            certificate.subject.rfc4514_string() if certificate else None,
            certificate.fingerprint(SHA256()).hex() if certificate else None,
            stream.peer_port,
            answer.status,
        )
        self._received.append(received)
        fields = {"Server": "Microsoft-IIS/10.0", "Content-Length": str(len(answer.body))}
        start = ResponseStartLine("HTTP/1.1", answer.status, HTTPStatus(answer.status).phrase)
        with contextlib.suppress(StreamClosedError):  # the client has had enough
            await connection.write_headers(start, HTTPHeaders(fields | answer.fields))
            if method != "HEAD":
                for chunk in _chunks(answer.body):
                    await connection.write(chunk)
            connection.finish()

    def _management_point(self, method: str, directory: str, query: str, body: bytes) -> Answer:
        if method == "CCM_POST" and directory.startswith("ccm_system"):
            return Answer(200, self._messages.reply(body), {"Content-Type": ccm.CONTENT_TYPE})
        if method == "BITS_POST":
            return Answer(200, b"", {"BITS-Packet-Type": "Ack", "BITS-Session-Id": "{lab}"})
        if method not in READING:
            return ANYTHING
        if directory.startswith("sms_mp") and query:
            root = ROOTS.get(query.partition("&")[0].upper(), "Policy")
            return Answer(200, f"<{root} Query={quoteattr(unquote(query))}/>".encode(), XML)
        return NOT_FOUND

    def _distribution_point(self, method: str, directory: str, rest: str, query: str) -> Answer:
        if method == "PROPFIND":
            return Answer(207, _multistatus(directory, rest, self._download_bytes), XML)
        if method not in READING:
            return ANYTHING
        if rest.endswith("/sccm") and query.startswith("/"):
            return Answer(200, range(self._download_bytes), VALIDATORS)
        if rest.startswith(("datalib", "filelib")):
            return Answer(200, b"what a distribution point should not list", TEXT)
        if directory.endswith("sms_dp_smssig$") and rest.endswith(".tar"):
            return Answer(200, range(4096), VALIDATORS)
        return NOT_FOUND


def content(start: int, stop: int) -> bytes:
    """These bytes of any download. Each block has its number and another turn of the noise."""
    pieces: list[bytes] = []
    while start < stop:
        block, offset = divmod(start, CHUNK)
        turn = block * 7919 % CHUNK
        whole = block.to_bytes(8, "big") + NOISE[turn : turn + CHUNK - 8]
        pieces.append(whole[offset : offset + stop - start])
        start += len(pieces[-1])
    return b"".join(pieces)


class _Stream(SSLIOStream):
    """Keeps what Tornado does not: the head as it was sent, by whom and with what certificate."""

    def __init__(self, connection: ssl.SSLSocket, peer_port: int) -> None:
        super().__init__(connection, max_buffer_size=MAX_BODY + CHUNK)
        self.peer_port = peer_port
        self.certificate: x509.Certificate | None = None
        self._head = b""

    async def read_until_regex(self, regex: bytes, max_bytes: int | None = None) -> bytes:
        self._head = await super().read_until_regex(regex, max_bytes)
        if self.certificate is None and self.socket:
            der = self.socket.getpeercert(binary_form=True)
            self.certificate = x509.load_der_x509_certificate(der) if der else None
        return self._head

    def fields(self) -> tuple[tuple[str, str], ...]:
        lines = self._head.decode("latin-1").rstrip("\r\n").split("\r\n")[1:]
        parts = (line.partition(":") for line in lines)
        return tuple((name, value.strip()) for name, _, value in parts)


def _place(target: str) -> tuple[str, str, str]:
    """Directory, what is below it, and query, as IIS would understand the target."""
    path, _, query = re.sub(r"^https?://[^/]*", "", target).partition("?")
    plain = normpath(unquote(path, "latin-1").replace("\\", "/")).lower().strip("/")
    directory, _, rest = plain.partition("/")
    return directory, rest, query


def _authenticates_client(certificate: x509.Certificate | None) -> bool:
    # OpenSSL refuses another purpose by itself, but takes a certificate that names none.
    with contextlib.suppress(x509.ExtensionNotFound):
        if certificate:
            uses = certificate.extensions.get_extension_for_class(x509.ExtendedKeyUsage)
            return ExtendedKeyUsageOID.CLIENT_AUTH in uses.value
    return False


def _part(answer: Answer, asked: HTTPHeaders) -> Answer:
    """RFC 9110, 14: one range; anything else that Range may say is ignored, as it may be."""
    size = len(answer.body)
    wanted = re.fullmatch(r"bytes=(\d*)-(\d*)", asked.get("Range", ""))
    if not wanted or asked.get("If-Range", ETAG) != ETAG or wanted[0] == "bytes=-":
        return answer
    first, last = wanted.groups()
    start = int(first) if first else max(0, size - int(last))
    stop = min(size, int(last) + 1) if first and last else size
    if start >= stop:
        return Answer(416, b"", {"Content-Range": f"bytes */{size}"})
    fields = answer.fields | {"Content-Range": f"bytes {start}-{stop - 1}/{size}"}
    return Answer(206, answer.body[start:stop], fields)


def _chunks(body: bytes | range) -> Iterator[bytes]:
    if isinstance(body, bytes):
        yield body
    else:
        for start in range(body.start, body.stop, CHUNK):
            yield content(start, min(start + CHUNK, body.stop))


def _multistatus(directory: str, rest: str, size: int) -> bytes:
    """7: the names in it are absolute, with the intranet name of the distribution point."""
    where = f"https://{NAMES['distribution-point'][0]}/{directory}/{rest}"
    return (
        '<?xml version="1.0" encoding="utf-8"?><D:multistatus xmlns:D="DAV:"><D:response>'
        f"<D:href>{escape(where)}/sccm?/setup.exe</D:href><D:propstat>"
        f"<D:status>HTTP/1.1 200 OK</D:status><D:prop><D:getcontentlength>{size}"
        "</D:getcontentlength><D:iscollection>0</D:iscollection></D:prop></D:propstat>"
        "</D:response></D:multistatus>"
    ).encode()
