"""TLS sessions with site systems, which later legs resume (RFC 8446 §2.2, RFC 5246 §7.3).

A site system that resumes a session sends no certificate, and OpenSSL verifies none. So a session
is offered only if its certification path would be accepted now: the dates and the revocation lists
are checked again. Otherwise the leg makes a full handshake, which accepts or refuses the
certificate that the site system has now. What else a full handshake verifies cannot change: a
session is kept for one publication of one policy, one address, one name and one set of TLS
settings.
"""

from __future__ import annotations

import time
from typing import NamedTuple

from OpenSSL import SSL

from ibcm_bridge.addons.tls.current_trust import JudgedPath
from ibcm_bridge.policy.addresses import Address
from ibcm_bridge.policy.tls_settings import TlsSettings

SESSION_SECONDS = 3_600.0
"""After this time a full handshake proves again that the site system has its key."""


class SessionKey(NamedTuple):
    """What a session may be used for."""

    address: Address
    server_name: str
    verify_name: str
    settings: TlsSettings


class Proof(NamedTuple):
    """The path that a full handshake has verified, and when."""

    path: JudgedPath
    when: float


class KeptSession:
    """The newest session with one site system."""

    def __init__(self) -> None:
        self._kept: tuple[SSL.Session, Proof] | None = None

    def offer(self, connection: SSL.Connection) -> Proof | None:
        """Offer the session to the site system, if its path would be accepted now."""
        if self._kept is None:
            return None
        session, proof = self._kept
        if not self._is_accepted(proof):
            self.forget()
            return None
        connection.set_session(session)
        return proof

    def keep(self, connection: SSL.Connection, proof: Proof) -> None:
        """Keep the session of a connection for later ones."""
        session = connection.get_session()
        if session is not None:
            self._kept = session, proof

    def forget(self) -> None:
        """Offer it no more."""
        self._kept = None

    def _is_accepted(self, proof: Proof) -> bool:
        if time.monotonic() - proof.when >= SESSION_SECONDS:
            return False
        return proof.path.is_accepted()


class KeptSessions:
    """The sessions of one publication. The policy limits how many site systems it has."""

    def __init__(self, *, resume: bool) -> None:
        self._resume = resume
        self._sessions: dict[SessionKey, KeptSession] = {}

    def of(self, key: SessionKey) -> KeptSession | None:
        """Return the place of the session with a site system; None if legs resume no session."""
        if not self._resume:
            return None
        if (found := self._sessions.get(key)) is None:
            found = self._sessions[key] = KeptSession()
        return found
