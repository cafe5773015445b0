"""Judges each ended request by another policy: `run --shadow`.

It has no effect on the request: the response was sent before. An exception is logged once, and
every one is an outcome of its own in the audit and the metrics.
"""

from __future__ import annotations

import logging
from typing import Self

from ibcm_bridge.addons.clock import Clock
from ibcm_bridge.addons.connections import ConnectionRecord
from ibcm_bridge.addons.hooks.bindings import Bindings
from ibcm_bridge.audit.shadow import Judged, JudgedRequest, Outcome, Shadow
from ibcm_bridge.authentication.client import AuthenticatedClient
from ibcm_bridge.decisions import rules
from ibcm_bridge.decisions.denial import Deny, Reason
from ibcm_bridge.policy.policy import Policy
from ibcm_bridge.request.head import RequestHead

logger = logging.getLogger(__name__)


class ShadowJudgement:
    """The other policy of one generation."""

    def __init__(self, shadow: Shadow, bindings: Bindings, clock: Clock) -> None:
        self._shadow = shadow
        self._bindings = bindings
        self._clock = clock
        self._failed = False

    @classmethod
    def of(cls, policy: Policy, bindings: Bindings, clock: Clock) -> Self | None:
        """Return the judge by the shadow of a policy; None if it has none."""
        if policy.shadow is None:
            return None
        return cls(Shadow(policy, policy.shadow), bindings, clock)

    def judge(
        self, connection: ConnectionRecord, head: RequestHead, body: bytes, judged: Judged
    ) -> Outcome | None:
        """Return the outcome if it differs, or is not known. Never raises."""
        try:
            request = _request(connection, head, body, judged)
            return self._shadow.judge(request, self._bindings.at_hand, self._clock())
        except (KeyboardInterrupt, SystemExit):
            raise
        except BaseException as error:  # also a panic of an extension module
            kind = type(error).__name__
            if not self._failed:
                self._failed = True
                text = "defect in the judgement by the shadow policy: %s; requests are not affected"
                logger.error(text, kind)
            denial = Deny(Reason.BRIDGE_DEFECT, rules.DEFECT_IN.of("shadow"), kind)
            return Outcome(denial, enforced=True)


def _request(
    connection: ConnectionRecord, head: RequestHead, body: bytes, judged: Judged
) -> JudgedRequest:
    is_authenticated = isinstance(connection.authenticated, AuthenticatedClient)
    return JudgedRequest(
        connection.listener.address,
        connection.server_name,
        connection.certificate if is_authenticated else None,
        head,
        body,
        judged,
    )
