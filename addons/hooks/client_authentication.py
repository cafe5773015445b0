"""Client authentication in the handshake (BRIDGE-AUTH-COMPUTER, BRIDGE-AUTH-USER).

A client whose certificate is refused cannot finish its handshake, and so cannot send a request.
`authentication` decides which clients are accepted, and `addons.tls` sends the refusal. A client
that the verify callback accepts is authenticated only after the handshake: before, it has not
proved that it has the key.

A client that resumes a session presents no certificate, and OpenSSL does not verify it; OpenSSL
stores only its end-entity certificate. So this addon verifies it again, with the current time and
lists, and refuses it before any of its data is read. For this, the authorities that the client sent
in its full handshake are stored at least as long as OpenSSL stores the session.
"""

from __future__ import annotations

from collections.abc import Sequence

from mitmproxy.tls import TlsData
from OpenSSL import SSL

from ibcm_bridge.addons.connections import ConnectionRecord, Connections
from ibcm_bridge.addons.tls import client_leg
from ibcm_bridge.addons.tls.connection import LegConnection
from ibcm_bridge.addons.tls.current_trust import Accepted, ClientTrust
from ibcm_bridge.addons.tls.publication_tls import PublicationTls
from ibcm_bridge.addons.tls.verification import CertificationPath
from ibcm_bridge.authentication.certificate import CertificateFacts, certificate_facts
from ibcm_bridge.authentication.client import admit_anonymous, authenticate
from ibcm_bridge.decisions.denial import Deny


class ClientAuthentication:
    """Sets the TLS context of each bridged connection, and stores the authenticated client."""

    def __init__(self, connections: Connections, tls: Sequence[PublicationTls]) -> None:
        self._connections = connections
        self._tls = tls

    def tls_start_client(self, data: TlsData) -> None:
        """Begin the handshake with the context of the requested publication."""
        record = self._connections.of(data.context.client)
        publication = record.publication
        record.tls = tls = next(tls for tls in self._tls if tls.publication is publication)
        record.tls_connection = connection = LegConnection(tls.client_context, None)
        connection.set_app_data(record)
        connection.set_accept_state()
        data.ssl_conn = connection

    def tls_established_client(self, data: TlsData) -> None:
        """Store the client after its handshake; the verify callback accepted it.

        If it resumed a session, verify it now. A refusal is stored in the record, and `front_door`
        closes the connection.
        """
        record = self._connections.of(data.context.client)
        record.client_hello = b""
        assert record.tls is not None
        assert data.ssl_conn is not None
        if client_leg.is_resumed(data.ssl_conn):
            record.resumed = True
            refusal = _verify_again(record, record.tls, data.ssl_conn)
            record.handshake_refusal = record.handshake_refusal or refusal
            if record.handshake_refusal is not None:
                client_leg.remove_session(data.ssl_conn)
                return
        anonymous = record.certificate is None
        client = admit_anonymous(record.tls.publication) if anonymous else record.accepted
        if client is None or isinstance(client, Deny) or record.handshake_refusal is not None:
            # The callback refused it, so a finished handshake is a defect.
            raise AssertionError("a handshake finished without an accepted certificate")
        if not record.admit(client):
            record.handshake_refusal = record.over
            client_leg.remove_session(data.ssl_conn)


def _verify_again(
    record: ConnectionRecord, tls: PublicationTls, connection: SSL.Connection
) -> Deny | None:
    certificate = connection.get_peer_certificate(as_cryptography=True)
    if certificate is None:
        return None  # the full handshake was anonymous too
    record.certificate = certificate_facts(certificate)
    trust = _trust(tls)
    record.authorities = trust.remembered(certificate)
    judged = trust.verify_again(certificate, record.authorities)
    return _accept(record, judged, record.certificate)


def _judge(
    connection: SSL.Connection, path: CertificationPath, certificate: CertificateFacts
) -> Deny | None:
    record: ConnectionRecord = connection.get_app_data()
    trust = _trust(record.tls)
    refusal = _accept(record, trust.judge(path), certificate)
    assert record.tls is not None
    if refusal is None and record.tls.publication.clients_resume:
        trust.remember(path)
    return refusal


def _accept(
    record: ConnectionRecord, judged: Accepted | Deny, certificate: CertificateFacts
) -> Deny | None:
    """Store the client that the certificate of a verified path names, or return the refusal."""
    assert record.tls is not None
    if isinstance(judged, Deny):
        return judged
    client = authenticate(record.tls.publication, certificate)
    if isinstance(client, Deny):
        return client
    record.judged(judged)
    # A newer policy came during the handshake: it decides before the first request.
    record.due = record.tls.replaced
    record.accepted = client
    return None


def _trust(tls: PublicationTls | None) -> ClientTrust:
    assert tls is not None
    assert tls.client_trust is not None
    return tls.client_trust


def _note(
    connection: SSL.Connection, certificate: CertificateFacts | None, refusal: Deny | None
) -> None:
    record: ConnectionRecord = connection.get_app_data()
    # The first refusal ended the handshake.
    record.handshake_refusal = record.handshake_refusal or refusal
    if certificate is not None:
        record.certificate = certificate


def _alert_sent(connection: SSL.Connection, name: str) -> None:
    record: ConnectionRecord = connection.get_app_data()
    record.alert = name


CALLBACKS = client_leg.Callbacks(_judge, _note, _alert_sent)
"""The callbacks of client-leg contexts. The app data of a connection is its record."""
