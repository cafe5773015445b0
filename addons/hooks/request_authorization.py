"""Decides on each request head: `requestheaders` -> `authorization.authorize`."""

from __future__ import annotations

from mitmproxy.http import HTTPFlow

from ibcm_bridge.addons.connections import exchange_of
from ibcm_bridge.policy.publications import HttpPublication
from ibcm_bridge.policy.roles import NeverPublished
from ibcm_bridge.request.authorization import Authorized, authorize


class RequestAuthorization:
    """Needs a client that `authentication` has let in, whatever TLS did."""

    def __init__(self, never: NeverPublished) -> None:
        self._never = never

    def requestheaders(self, flow: HTTPFlow) -> None:
        """Decide on the head."""
        exchange = exchange_of(flow)
        connection = exchange.connection
        assert isinstance(connection.publication, HttpPublication)
        assert connection.authenticated is not None
        assert exchange.head is not None
        decision = authorize(
            connection.authenticated,
            connection.publication,
            self._never,
            exchange.head,
        )
        exchange.decision = decision
        if isinstance(decision, Authorized):
            exchange.authorized = decision
