"""Client authentication in the handshake (BRIDGE-AUTH-COMPUTER, BRIDGE-AUTH-USER).

A client whose certificate is not accepted never finishes its handshake, and so never gets to send
a request; `identity` says who is accepted, `tls_contexts` how the refusal is told.
"""

from __future__ import annotations

from collections.abc import Iterable

from mitmproxy.tls import TlsData
from OpenSSL import SSL

from ibcm_bridge.addons import tls_contexts
from ibcm_bridge.addons.connections import ConnectionRecord, Connections
from ibcm_bridge.addons.endings import RefusedConnection
from ibcm_bridge.decisions import Deny, Reason
from ibcm_bridge.identity import (
    CertificateFacts,
    admit_anonymous,
    authenticate,
    may_be_anonymous,
)
from ibcm_bridge.policy import BridgePublication


class ClientAuthentication:
    """Gives each bridged connection the TLS context of its publication, and takes the result."""

    def __init__(self, connections: Connections, publications: Iterable[BridgePublication]) -> None:
        self._connections = connections
        self._contexts = {
            id(publication): tls_contexts.client_leg_context(
                publication.credential,
                publication.client_trust,
                self._judge,
                self._note,
                _alerted,
                required=not may_be_anonymous(publication),
            )
            for publication in publications
        }

    def tls_start_client(self, data: TlsData) -> None:
        """Begin the handshake with the context of the publication that was asked for."""
        record = self._connections.of(data.context.client)
        connection = SSL.Connection(self._contexts[id(record.publication)], None)
        connection.set_app_data(record)
        connection.set_accept_state()
        data.ssl_conn = connection

    def tls_established_client(self, data: TlsData) -> None:
        """The handshake is finished, so the client was accepted: keep who it is."""
        record = self._connections.of(data.context.client)
        assert isinstance(record.publication, BridgePublication)
        client = (
            admit_anonymous(record.publication)
            if record.certificate is None
            else authenticate(record.publication, record.certificate)
        )
        if isinstance(client, Deny) or record.handshake_refusal is not None:
            # The callback has refused it; a handshake that finished all the same is a defect.
            raise AssertionError("a handshake finished without an accepted certificate")
        record.authenticated = client

    def _judge(self, connection: SSL.Connection, certificate: CertificateFacts) -> Deny | None:
        record: ConnectionRecord = connection.get_app_data()
        assert isinstance(record.publication, BridgePublication)
        client = authenticate(record.publication, certificate)
        return client if isinstance(client, Deny) else None

    def _note(
        self,
        connection: SSL.Connection,
        certificate: CertificateFacts | None,
        refusal: Deny | None,
    ) -> None:
        record: ConnectionRecord = connection.get_app_data()
        # The first refusal is the one that ended the handshake.
        record.handshake_refusal = record.handshake_refusal or refusal
        if certificate is not None:
            record.certificate = certificate


def _alerted(connection: SSL.Connection, name: str) -> None:
    record: ConnectionRecord = connection.get_app_data()
    record.alert = name


def failed_handshake(record: ConnectionRecord, error: str | None) -> RefusedConnection:
    """Why a handshake failed: what the verify callback said, or what OpenSSL said."""
    if record.handshake_refusal is not None:
        denial = record.handshake_refusal
    elif error is not None and "peer did not return a certificate" in error:
        denial = Deny(Reason.CERTIFICATE_MISSING, "clients", "no certificate was presented")
    else:
        denial = Deny(Reason.HANDSHAKE_FAILED, "listener.tls", (error or "")[:200])
    return RefusedConnection(record, denial)
