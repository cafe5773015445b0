"""The trust of a leg at run time, with its newest revocation lists."""

from __future__ import annotations

import collections
import datetime
from collections.abc import Callable
from typing import NamedTuple

from cryptography import x509
from cryptography.hazmat.primitives.hashes import SHA256

from ibcm_bridge.addons.clock import Clock, utc_now
from ibcm_bridge.addons.tls.verification import CertificationPath, client_verifier
from ibcm_bridge.authentication.certification_path import accepted_until, is_in_time, judge_path
from ibcm_bridge.authentication.revocation import Lists, Notes, judge_revocation, loaded_lists
from ibcm_bridge.decisions.denial import Deny
from ibcm_bridge.policy.trust import Trust


class Accepted(NamedTuple):
    """A path that was accepted."""

    notes: Notes
    until: datetime.datetime
    """When it must be judged again. A newer list or policy can require that earlier."""


WITHOUT_END = Accepted((), datetime.datetime.max.replace(tzinfo=datetime.UTC))
"""The acceptance of a client without a certificate."""


def _nothing() -> None:
    pass


class CurrentTrust:
    """Judges certification paths of one leg. A renewal replaces `lists` as a whole."""

    def __init__(self, trust: Trust, clock: Clock = utc_now) -> None:
        self.trust = trust
        self.clock = clock
        self.lists = loaded_lists(trust, clock())
        self.renewed: Callable[[], None] = _nothing
        """Called after each renewal."""

    def renew(self, lists: Lists) -> None:
        """Use newer lists."""
        self.lists = lists
        self.renewed()

    def judge(self, path: CertificationPath) -> Accepted | Deny:
        """Judge a path that OpenSSL built in a handshake."""
        now = self.clock()
        judged = judge_path(self.trust, self.lists, path, now)
        if isinstance(judged, Deny):
            return judged
        return Accepted(judged, accepted_until(self.trust, self.lists, path, now))


class JudgedPath:
    """A path that a handshake has verified, and whether it would be accepted now."""

    __slots__ = ("_judged_by", "_trust", "_until", "path")

    def __init__(self, trust: CurrentTrust, path: CertificationPath, until: datetime.datetime):
        self.path = path
        self._trust = trust
        self._judged_by = trust.lists
        self._until = until

    def is_accepted(self) -> bool:
        """Return whether the path would be accepted by its dates and the newest lists."""
        trust, now = self._trust, self._trust.clock()
        if self._judged_by is trust.lists and now < self._until:
            return True
        if not is_in_time(self.path, now):
            return False
        if isinstance(judge_revocation(trust.trust, trust.lists, self.path, now), Deny):
            return False
        self._judged_by = trust.lists
        self._until = accepted_until(trust.trust, trust.lists, self.path, now)
        return True


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

    def remembered(self, certificate: x509.Certificate) -> CertificationPath:
        """Return the authorities that the client of a resumed session sent in its first one."""
        key = certificate.fingerprint(SHA256())
        sent = self._sent.get(key, ())
        if sent:
            # Resumption creates a new session, so this path is the newest again.
            self._sent.move_to_end(key)
        return sent

    def verify_again(
        self, certificate: x509.Certificate, sent: CertificationPath
    ) -> Accepted | Deny:
        """Verify a client without a handshake, from its certificate and what it sent with it."""
        if self._verifier.trust is not self.trust:
            self._verifier = client_verifier(self.trust)
        path = self._verifier.path((certificate, *sent), self.clock())
        return path if isinstance(path, Deny) else self.judge(path)
