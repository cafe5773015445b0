"""Client authentication in the handshake (BRIDGE-AUTH-COMPUTER, BRIDGE-AUTH-USER).

A client whose certificate is not accepted never finishes its handshake, and so never gets to send
a request; `authentication` says who is accepted, `addons.tls` how the refusal is told.

A client that resumes a session shows no certificate and is not verified by OpenSSL, which has kept
its end-entity certificate and nothing else. So it is verified again here, by today's date and the
lists held now, and refused before anything it sends is read. The issuing authorities it sent when
it shook hands in full are remembered for that, longer than OpenSSL remembers its session.
"""

from __future__ import annotations

import collections
from collections.abc import Iterable

from cryptography import x509
from cryptography.hazmat.primitives.hashes import SHA256
from mitmproxy.tls import TlsData
from OpenSSL import SSL

from ibcm_bridge.addons.connections import ConnectionRecord, Connections
from ibcm_bridge.addons.tls import client_leg
from ibcm_bridge.addons.tls.current_trust import Clock, CurrentTrust, utc_now
from ibcm_bridge.addons.tls.verification import Path
from ibcm_bridge.authentication.certificate import CertificateFacts, certificate_facts
from ibcm_bridge.authentication.client import admit_anonymous, authenticate, may_be_anonymous
from ibcm_bridge.decisions.denial import Deny
from ibcm_bridge.policy.publications import BridgePublication

MAX_REMEMBERED = 20_480
"""Paths of clients that sent an authority we do not have, for one publication. OpenSSL keeps as
many sessions (SSL_CTX_sess_set_cache_size(3)), and each handshake adds one or two, so the oldest
path here is one whose sessions are gone."""


class ClientAuthentication:
    """Gives each bridged connection the TLS context of its publication, and takes the result."""

    def __init__(
        self,
        connections: Connections,
        publications: Iterable[BridgePublication],
        clock: Clock = utc_now,
    ) -> None:
        self._connections = connections
        self._contexts: dict[int, SSL.Context] = {}
        self._trusts: dict[int, CurrentTrust] = {}
        self._sent: dict[int, _Sent] = {}
        self.held: list[tuple[str, CurrentTrust]] = []
        """What is to be renewed, with the key of the policy file it is for."""
        for publication in publications:
            if publication.client_trust is not None:
                held = CurrentTrust(publication.client_trust, clock)
                self._trusts[id(publication)] = held
                self._sent[id(publication)] = _Sent(held)
                self.held.append((f"{publication.name}: clients.trust", held))
            self._contexts[id(publication)] = client_leg.client_leg_context(
                publication.credential,
                publication.client_trust,
                self._judge,
                self._note,
                _alerted,
                required=not may_be_anonymous(publication),
                send_ca_names=publication.send_ca_names,
                highest=publication.highest_client_tls,
            )

    def tls_start_client(self, data: TlsData) -> None:
        """Begin the handshake with the context of the publication that was asked for."""
        record = self._connections.of(data.context.client)
        connection = SSL.Connection(self._contexts[id(record.publication)], None)
        connection.set_app_data(record)
        connection.set_accept_state()
        data.ssl_conn = connection

    def tls_established_client(self, data: TlsData) -> None:
        """The handshake is finished, so the client was accepted: keep who it is.

        Where it resumed a session it is verified now; a refusal is left in the record, and
        `front_door` ends the connection.
        """
        record = self._connections.of(data.context.client)
        assert isinstance(record.publication, BridgePublication)
        assert data.ssl_conn is not None
        if client_leg.is_resumed(data.ssl_conn):
            record.resumed = True
            self._verify_again(record, record.publication, data.ssl_conn)
            if record.handshake_refusal is not None:
                client_leg.forget_session(data.ssl_conn)
                return
        client = (
            admit_anonymous(record.publication)
            if record.certificate is None
            else authenticate(record.publication, record.certificate)
        )
        if isinstance(client, Deny) or record.handshake_refusal is not None:
            # The callback has refused it; a handshake that finished all the same is a defect.
            raise AssertionError("a handshake finished without an accepted certificate")
        record.authenticated = client

    def _verify_again(
        self, record: ConnectionRecord, publication: BridgePublication, connection: SSL.Connection
    ) -> None:
        certificate = connection.get_peer_certificate(as_cryptography=True)
        if certificate is None:
            return  # whoever shook hands without one is as anonymous as before
        held = self._trusts[id(publication)]
        record.certificate = certificate_facts(certificate)
        authorities = self._sent[id(publication)].by(certificate)
        verified = held.verify_again((certificate, *authorities))
        if isinstance(verified, Deny):
            record.handshake_refusal = verified
            return
        record.notes = verified
        client = authenticate(publication, record.certificate)
        if isinstance(client, Deny):
            record.handshake_refusal = client

    def _judge(
        self, connection: SSL.Connection, path: Path, certificate: CertificateFacts
    ) -> Deny | None:
        record: ConnectionRecord = connection.get_app_data()
        publication = record.publication
        assert isinstance(publication, BridgePublication)
        held = self._trusts[id(publication)]
        judged = held.judge(path)
        if isinstance(judged, Deny):
            return judged
        client = authenticate(publication, certificate)
        if isinstance(client, Deny):
            return client
        record.notes = judged
        self._sent[id(publication)].remember(path)
        return None

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


class _Sent:
    """The authorities that only clients have shown us, by end-entity certificate."""

    def __init__(self, held: CurrentTrust) -> None:
        self._ours = {*held.trust.anchors, *held.trust.intermediates}
        self._paths: collections.OrderedDict[bytes, Path] = collections.OrderedDict()

    def remember(self, path: Path) -> None:
        """Keep what will be needed to build this path again."""
        sent = tuple(one for one in path[1:] if one not in self._ours)
        if not sent:
            return
        self._paths[key := path[0].fingerprint(SHA256())] = sent
        self._paths.move_to_end(key)
        if len(self._paths) > MAX_REMEMBERED:
            self._paths.popitem(last=False)

    def by(self, certificate: x509.Certificate) -> Path:
        """What came with it; a resumed session is a new one, so it counts as new here."""
        key = certificate.fingerprint(SHA256())
        if key in self._paths:
            self._paths.move_to_end(key)
        return self._paths.get(key, ())


def _alerted(connection: SSL.Connection, name: str) -> None:
    record: ConnectionRecord = connection.get_app_data()
    record.alert = name
