"""A site system that misbehaves: a script runs on each of its connections."""

from __future__ import annotations

import contextlib
import socket
import ssl
import threading
from collections.abc import Callable

from cryptography.hazmat.primitives.serialization import Encoding

from ibcm_bridge.lab.pki.authorities import LabPki
from ibcm_bridge.lab.pki.certificates import LabCredential
from ibcm_bridge.lab.protocol.client import load_credential
from ibcm_bridge.lab.site_systems.site_systems import Address
from tests.integration.reading import DEADLINE, read_exactly

MP_NAME = "mp01.corp.example"


class Peer:
    """A connection that a `RawSiteSystem` has accepted."""

    def __init__(self, connection: socket.socket) -> None:
        self.connection = connection
        self.received = bytearray()
        self.error: BaseException | None = None
        """What ended the script, if not its end: refused handshakes and closed connections too."""
        self.ended = threading.Event()

    def read_head(self) -> bytes:
        """Read a request head; empty when the other side closes instead."""
        start = len(self.received)
        while b"\r\n\r\n" not in self.received[start:]:
            chunk = self.connection.recv(65_536)
            if not chunk:
                return b""
            self.received += chunk
        return bytes(self.received[start:])

    def read_exactly(self, count: int) -> None:
        """Read so many bytes; EOFError when the other side closes before."""
        self.received += read_exactly(self.connection, count)

    def send(self, data: bytes) -> None:
        self.connection.sendall(data)

    def close_and_wait(self) -> None:
        """Close this side's direction, and wait until the other side closes, too."""
        self.connection.shutdown(socket.SHUT_WR)
        self.wait_for_end()

    def wait_for_end(self) -> None:
        """Read until the other side closes."""
        while chunk := self.connection.recv(65_536):
            self.received += chunk


type Script = Callable[[Peer], None]


class RawSiteSystem:
    """A TLS server (or a plain one) that runs a script on each connection, then closes it."""

    def __init__(self, pki: LabPki) -> None:
        self.pki = pki
        self.peers: list[Peer] = []
        self.trust = pki.root
        self.credential: LabCredential | None = None
        self.asks_late = False
        self.script: Script = Peer.wait_for_end
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.address = Address(*self._listener.getsockname())
        self._threads: list[threading.Thread] = []

    def __enter__(self) -> RawSiteSystem:
        self._start(self._accept)
        return self

    def __exit__(self, *_: object) -> None:
        # close() alone does not wake a thread that is in accept().
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        for peer in self.peers:
            with contextlib.suppress(OSError):
                peer.connection.shutdown(socket.SHUT_RDWR)
        for thread in self._threads:
            thread.join(DEADLINE)

    def behave(self, script: Script, credential: LabCredential | None = None) -> None:
        """What to do from now on; without a credential, without TLS."""
        self.peers.clear()
        self.script, self.credential = script, credential

    def respond_with(self, response: bytes, *pieces: int, close_notify: bool = False) -> None:
        """Send this response to each request, in one write or pieces of this size, then close."""

        def script(peer: Peer) -> None:
            peer.read_head()
            size = pieces[0] if pieces else len(response)
            for index in range(0, len(response), size):
                peer.send(response[index : index + size])
            if close_notify:
                assert isinstance(peer.connection, ssl.SSLSocket)
                with contextlib.suppress(OSError):
                    peer.connection.unwrap()

        self.behave(script, self.pki.server(MP_NAME))

    def check_scripts(self) -> None:
        """Connections may break; a script that is wrong is a broken test."""
        for peer in self.peers:
            assert peer.error is None or isinstance(peer.error, OSError | EOFError), peer.error

    def _start(self, work: Callable[..., None], *arguments: object) -> None:
        thread = threading.Thread(target=work, args=arguments, daemon=True)
        self._threads.append(thread)
        thread.start()

    def _accept(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                connection, _ = self._listener.accept()
                self._start(self._serve, connection, self.script, self.credential)

    def _serve(
        self, plain: socket.socket, script: Script, credential: LabCredential | None
    ) -> None:
        plain.settimeout(DEADLINE)
        plain.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        peer = Peer(plain)
        self.peers.append(peer)
        with plain:
            try:
                if credential:
                    peer.connection = self._shake_hands(plain, credential)
                script(peer)
            except BaseException as error:
                peer.error = error
            finally:
                with contextlib.suppress(OSError):
                    peer.connection.close()
                peer.ended.set()

    def _shake_hands(self, plain: socket.socket, credential: LabCredential) -> ssl.SSLSocket:
        tls = self._context(credential).wrap_socket(
            plain, server_side=True, do_handshake_on_connect=False
        )
        try:
            tls.do_handshake()
        except ssl.SSLError:
            # Closed with something still to be read, TCP would say RST and may lose the alert.
            with contextlib.suppress(OSError):
                socket.socket.shutdown(tls, socket.SHUT_WR)
                while socket.socket.recv(tls, 65_536):
                    pass
            tls.close()
            raise
        return tls

    def _context(self, credential: LabCredential) -> ssl.SSLContext:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        load_credential(context, credential)
        context.load_verify_locations(cadata=self.trust.public_bytes(Encoding.DER))
        context.verify_mode = ssl.CERT_REQUIRED
        # Together with CERT_REQUIRED: not in the handshake, but when the script says so.
        context.post_handshake_auth = self.asks_late
        return context
