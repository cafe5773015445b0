"""Decides for whom each request speaks: `request` -> `speaker.approval` (BRIDGE-IDENTITY)."""

from __future__ import annotations

import datetime
from collections.abc import Callable

from mitmproxy.http import HTTPFlow

from ibcm_bridge.addons.connections import exchange_of
from ibcm_bridge.decisions import Approved, Deny, Inspected, Reason
from ibcm_bridge.identity import Client
from ibcm_bridge.policy import MessageRules
from ibcm_bridge.speaker.approval import approve
from ibcm_bridge.speaker.bindings import Standing
from ibcm_bridge.speaker.learning import recognized
from ibcm_bridge.speaker.registry import Registry, RegistryError

_RECOGNIZED = frozenset((Standing.FIRST, Standing.RENEWED))


class ClientIdentity:
    """The last to decide on a request: without it nothing is approved."""

    def __init__(
        self,
        registry: Registry,
        rules: MessageRules,
        clock: Callable[[], datetime.datetime],
    ) -> None:
        self._registry = registry
        self._rules = rules
        self._clock = clock

    def request(self, flow: HTTPFlow) -> None:
        """Approve what has been inspected, or refuse it."""
        exchange = exchange_of(flow)
        inspected = exchange.decision
        if not isinstance(inspected, Inspected):
            return
        client = exchange.connection.authenticated
        assert client is not None
        try:
            decided = self._approve(inspected, client)
            if isinstance(decided, Approved) and decided.speaker.standing in _RECOGNIZED:
                self._hold_to_its_key(decided.speaker.guid, client)
                # Another may have been quicker: then it is that one's.
                decided = self._approve(inspected, client)
        except RegistryError as error:
            decided = Deny(Reason.IDENTITY_UNAVAILABLE, "messages.bindings", str(error)[:200])
        exchange.decision = decided

    def _approve(self, inspected: Inspected, client: Client) -> Approved | Deny:
        return approve(inspected, client, self._registry.find, self._rules, self._clock())

    def _hold_to_its_key(self, guid: str, client: Client) -> None:
        binding = self._registry.find(guid)
        new = binding and recognized(binding, client, self._rules.renewal, self._clock())
        if binding is not None and new is not None:
            self._registry.replace(binding, new)
