"""Decides on each request head: `authorization.authorize`."""

from __future__ import annotations

from ibcm_bridge.addons.stages import HeadRead
from ibcm_bridge.decisions.denial import Deny
from ibcm_bridge.policy.roles import NeverPublished
from ibcm_bridge.request.authorization import Authorized, authorize


class RequestAuthorization:
    """Authorizes requests of clients that `authentication` accepted."""

    def __init__(self, never: NeverPublished) -> None:
        self._never = never

    def head_read(self, read: HeadRead) -> Authorized | Deny:
        """Decide on the head."""
        return authorize(read.client, read.publication, self._never, read.head)
