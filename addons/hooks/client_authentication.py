"""Client authentication in the handshake (BRIDGE-AUTH-COMPUTER, BRIDGE-AUTH-USER).

A client whose certificate is not accepted never finishes its handshake, and so never gets to send
a request; `authentication` says who is accepted, `addons.tls` how the refusal is told. Who is
accepted in the verify callback counts only once the handshake is finished: until then the client
has not proved that it has the key.

A client that resumes a session shows no certificate and is not verified by OpenSSL, which has kept
its end-entity certificate and nothing else. So it is verified again here, by today's date and the
current lists, and refused before anything it sends is read. The issuing authorities it sent when
it shook hands in full are remembered for that, longer than OpenSSL remembers its session.
"""

from __future__ import annotations

from collections.abc import Sequence

from mitmproxy.tls import TlsData
from OpenSSL import SSL

from ibcm_bridge.addons.connections import ConnectionRecord, Connections
from ibcm_bridge.addons.tls import client_leg
from ibcm_bridge.addons.tls.current_trust import ClientTrust
from ibcm_bridge.addons.tls.published_legs import PublishedLegs
from ibcm_bridge.addons.tls.verification import CertificationPath
from ibcm_bridge.authentication.certificate import CertificateFacts, certificate_facts
from ibcm_bridge.authentication.client import admit_anonymous, authenticate
from ibcm_bridge.authentication.revocation import Notes
from ibcm_bridge.decisions.denial import Deny


class ClientAuthentication:
    """Gives each bridged connection the legs of its publication, and takes the result."""

    def __init__(self, connections: Connections, legs: Sequence[PublishedLegs]) -> None:
        self._connections = connections
        self._legs = legs

    def tls_start_client(self, data: TlsData) -> None:
        """Begin the handshake with the context of the publication that was asked for."""
        record = self._connections.of(data.context.client)
        publication = record.publication
        record.legs = legs = next(one for one in self._legs if one.publication is publication)
        connection = SSL.Connection(legs.client_context, None)
        connection.set_app_data(record)
        connection.set_accept_state()
        data.ssl_conn = connection

    def tls_established_client(self, data: TlsData) -> None:
        """The handshake is finished, so the client was accepted: keep who it is.

        Where it resumed a session it is verified now; a refusal is left in the record, and
        `front_door` ends the connection.
        """
        record = self._connections.of(data.context.client)
        assert record.legs is not None
        assert data.ssl_conn is not None
        if client_leg.is_resumed(data.ssl_conn):
            record.resumed = True
            refusal = _verify_again(record, record.legs, data.ssl_conn)
            record.handshake_refusal = record.handshake_refusal or refusal
            if record.handshake_refusal is not None:
                client_leg.remove_session(data.ssl_conn)
                return
        anonymous = record.certificate is None
        client = admit_anonymous(record.legs.publication) if anonymous else record.accepted
        if client is None or isinstance(client, Deny) or record.handshake_refusal is not None:
            # The callback has refused it; a handshake that finished all the same is a defect.
            raise AssertionError("a handshake finished without an accepted certificate")
        record.authenticated = client


def _verify_again(
    record: ConnectionRecord, legs: PublishedLegs, connection: SSL.Connection
) -> Deny | None:
    certificate = connection.get_peer_certificate(as_cryptography=True)
    if certificate is None:
        return None  # whoever shook hands without one is as anonymous as before
    record.certificate = certificate_facts(certificate)
    return _accept(record, _trust(legs).verify_again(certificate), record.certificate)


def _judge(
    connection: SSL.Connection, path: CertificationPath, certificate: CertificateFacts
) -> Deny | None:
    record: ConnectionRecord = connection.get_app_data()
    trust = _trust(record.legs)
    refusal = _accept(record, trust.judge(path), certificate)
    if refusal is None:
        trust.remember(path)
    return refusal


def _accept(
    record: ConnectionRecord, judged: Notes | Deny, certificate: CertificateFacts
) -> Deny | None:
    """Whom the certificate of a verified path names, for the record; or why it is refused."""
    assert record.legs is not None
    if isinstance(judged, Deny):
        return judged
    client = authenticate(record.legs.publication, certificate)
    if isinstance(client, Deny):
        return client
    record.notes, record.accepted = judged, client
    return None


def _trust(legs: PublishedLegs | None) -> ClientTrust:
    assert legs is not None
    assert legs.client_trust is not None
    return legs.client_trust


def _note(
    connection: SSL.Connection, certificate: CertificateFacts | None, refusal: Deny | None
) -> None:
    record: ConnectionRecord = connection.get_app_data()
    # The first refusal is the one that ended the handshake.
    record.handshake_refusal = record.handshake_refusal or refusal
    if certificate is not None:
        record.certificate = certificate


def _alerted(connection: SSL.Connection, name: str) -> None:
    record: ConnectionRecord = connection.get_app_data()
    record.alert = name


CALLBACKS = client_leg.Callbacks(_judge, _note, _alerted)
"""What the contexts of client legs call; the app data of a connection is its record."""
