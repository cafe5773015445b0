"""The names of authorities in a handshake, by which some clients select their certificate."""

from __future__ import annotations

import contextlib
import socket

from OpenSSL import SSL, crypto

from ibcm_bridge.conformance.results import AuthorityNames, ClientResult
from ibcm_bridge.lab.pki.certificates import LabCredential
from ibcm_bridge.lab.protocol.client import HandshakeRefused


class NamesClient:
    """A TLS client that reads the CertificateRequest, and sends no request.

    The ssl module does not have these names (RFC 8446 4.2.4, RFC 5246 7.4.4).
    """

    def __init__(
        self, address: tuple[str, int], server_name: str, credential: LabCredential, seconds: float
    ) -> None:
        self._address = address
        self._server_name = server_name
        self._credential = credential
        self._seconds = seconds
        self._socket: socket.socket | None = None
        self._aborted = False

    def names(self) -> ClientResult:
        """Complete a handshake, and return the names. OSError, HandshakeRefused."""
        context = SSL.Context(SSL.TLS_CLIENT_METHOD)
        # Only the names matter here. Other exchanges verify the server's certificate.
        context.set_verify(SSL.VERIFY_NONE)
        context.use_certificate(self._credential.certificate)
        context.use_privatekey(self._credential.key)
        with socket.create_connection(self._address, self._seconds) as plain:
            self._socket = plain
            if self._aborted:
                raise TimeoutError("aborted before the connection was open")
            plain.setblocking(True)  # pyOpenSSL does not wait for a socket with a timeout
            connection = SSL.Connection(context, plain)
            connection.set_tlsext_host_name(self._server_name.encode())
            connection.set_connect_state()
            try:
                connection.do_handshake()
            except SSL.Error as error:
                raise HandshakeRefused(None) from error
            return AuthorityNames(
                tuple((_text(name), name.der()) for name in connection.get_client_ca_list())
            )

    def abort(self) -> None:
        """End the connection from another thread."""
        self._aborted = True
        if self._socket is not None:
            with contextlib.suppress(OSError):  # it has ended already
                self._socket.shutdown(socket.SHUT_RDWR)


def _text(name: crypto.X509Name) -> str:
    return ",".join(f"{key.decode()}={value.decode()}" for key, value in name.get_components())
