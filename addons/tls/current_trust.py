"""The trust of a leg at run time, with its newest revocation lists."""

from __future__ import annotations

import collections

from cryptography import x509
from cryptography.hazmat.primitives.hashes import SHA256

from ibcm_bridge.addons.clock import Clock, utc_now
from ibcm_bridge.addons.tls.verification import CertificationPath, client_verifier
from ibcm_bridge.authentication.certification_path import judge_path
from ibcm_bridge.authentication.revocation import Notes, judge_revocation, loaded_lists
from ibcm_bridge.decisions.denial import Deny
from ibcm_bridge.policy.trust import Trust


class CurrentTrust:
    """Judges certification paths of one leg. A renewal replaces `lists` as a whole."""

    def __init__(self, trust: Trust, clock: Clock = utc_now) -> None:
        self.trust = trust
        self.clock = clock
        self.lists = loaded_lists(trust, clock())

    def judge(self, path: CertificationPath) -> Notes | Deny:
        """Judge a path that OpenSSL built in a handshake."""
        return judge_path(self.trust, self.lists, path, self.clock())

    def judge_again(self, path: CertificationPath) -> Notes | Deny:
        """Judge the revocation of a path that was judged before; the rest cannot change."""
        return judge_revocation(self.trust, self.lists, path, self.clock())


MAX_REMEMBERED = 20_480
"""The number of paths stored per publication, of clients that sent an unconfigured authority.
OpenSSL stores as many sessions (SSL_CTX_sess_set_cache_size(3)) and each handshake adds one or two,
so the sessions of the oldest path have already been removed."""


class ClientTrust(CurrentTrust):
    """The trust of a client leg, and the unconfigured authorities that clients sent."""

    def __init__(self, trust: Trust, clock: Clock = utc_now) -> None:
        super().__init__(trust, clock)
        self._verifier = client_verifier(trust)
        self._configured = {*trust.anchors, *trust.intermediates}
        self._sent: collections.OrderedDict[bytes, CertificationPath] = collections.OrderedDict()
        """Authorities by the SHA-256 fingerprint of the end-entity certificate, oldest first."""

    def remember(self, path: CertificationPath) -> None:
        """Store the authorities that are needed to build this path again."""
        sent = tuple(issuer for issuer in path[1:] if issuer not in self._configured)
        if not sent:
            return
        self._sent[key := path[0].fingerprint(SHA256())] = sent
        self._sent.move_to_end(key)
        if len(self._sent) > MAX_REMEMBERED:
            self._sent.popitem(last=False)

    def verify_again(self, certificate: x509.Certificate) -> Notes | Deny:
        """Verify the client of a resumed session, from its end-entity certificate up."""
        key = certificate.fingerprint(SHA256())
        sent = self._sent.get(key, ())
        if sent:
            # Resumption creates a new session, so this path is the newest again.
            self._sent.move_to_end(key)
        if self._verifier.trust is not self.trust:
            self._verifier = client_verifier(self.trust)
        return self._verifier.verify((certificate, *sent), self.lists, self.clock())
