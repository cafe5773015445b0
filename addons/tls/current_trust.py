"""A trust while the bridge runs: with the newest revocation lists."""

from __future__ import annotations

import collections
import datetime
from collections.abc import Callable

from cryptography import x509
from cryptography.hazmat.primitives.hashes import SHA256

from ibcm_bridge.addons.tls.verification import Path, verify_client_path
from ibcm_bridge.authentication.certification_path import judge_path
from ibcm_bridge.authentication.revocation import Notes, loaded_lists
from ibcm_bridge.decisions.denial import Deny
from ibcm_bridge.policy.trust import Trust

Clock = Callable[[], datetime.datetime]


def utc_now() -> datetime.datetime:
    """The machine's clock."""
    return datetime.datetime.now(datetime.UTC)


class CurrentTrust:
    """Answers for the authorities of one leg; `lists` is replaced as a whole when renewed."""

    def __init__(self, trust: Trust, clock: Clock = utc_now) -> None:
        self.trust = trust
        self.clock = clock
        self.lists = loaded_lists(trust, clock())

    def judge(self, path: Path) -> Notes | Deny:
        """A path that OpenSSL has built in a handshake."""
        return judge_path(self.trust, self.lists, path, self.clock())


MAX_REMEMBERED = 20_480
"""Paths of clients that sent an authority we do not have, for one publication. OpenSSL keeps as
many sessions (SSL_CTX_sess_set_cache_size(3)), and each handshake adds one or two, so the oldest
path here is one whose sessions are gone."""


class ClientTrust(CurrentTrust):
    """The trust of a client leg, and the authorities that only clients have sent."""

    def __init__(self, trust: Trust, clock: Clock = utc_now) -> None:
        super().__init__(trust, clock)
        self._ours = {*trust.anchors, *trust.intermediates}
        self._sent: collections.OrderedDict[bytes, Path] = collections.OrderedDict()
        """By the fingerprint of the end-entity certificate; the oldest first."""

    def remember(self, path: Path) -> None:
        """Keep what will be needed to build this path again."""
        sent = tuple(one for one in path[1:] if one not in self._ours)
        if not sent:
            return
        self._sent[key := path[0].fingerprint(SHA256())] = sent
        self._sent.move_to_end(key)
        if len(self._sent) > MAX_REMEMBERED:
            self._sent.popitem(last=False)

    def verify_again(self, certificate: x509.Certificate) -> Notes | Deny:
        """The client of a resumed session, from its end-entity certificate up."""
        key = certificate.fingerprint(SHA256())
        sent = self._sent.get(key, ())
        if sent:
            # A resumed session is a new one, so the path counts as new here.
            self._sent.move_to_end(key)
        return verify_client_path(self.trust, (certificate, *sent), self.lists, self.clock())
