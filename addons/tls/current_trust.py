"""A trust while the bridge runs: with the newest revocation lists."""

from __future__ import annotations

import datetime
from collections.abc import Callable

from ibcm_bridge.addons.tls.verification import Path, verify_client_path
from ibcm_bridge.authentication.certification_path import judge_path
from ibcm_bridge.authentication.revocation import Notes, lists_of
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
        self.lists = lists_of(trust, clock())

    def judge(self, path: Path) -> Notes | Deny:
        """A path that OpenSSL has built in a handshake."""
        return judge_path(self.trust, self.lists, path, self.clock())

    def verify_again(self, certificates: Path) -> Notes | Deny:
        """A client that has shaken hands before, from its end-entity certificate up."""
        return verify_client_path(self.trust, certificates, self.lists, self.clock())
