"""Decides for whom each request speaks: `request` -> `identity.approval` (BRIDGE-IDENTITY).

And learns from what a management point answers: `reply_collected` -> `identity.learning`.
"""

from __future__ import annotations

import datetime
import logging
from collections.abc import Callable

from mitmproxy.http import HTTPFlow

from ibcm_bridge.addons.connections import Exchange, exchange_of
from ibcm_bridge.authentication.client import Client
from ibcm_bridge.decisions import rules
from ibcm_bridge.decisions.denial import Deny, Reason
from ibcm_bridge.identity.approval import Approved, approve
from ibcm_bridge.identity.bindings import Binding, Standing
from ibcm_bridge.identity.learning import learned_binding, updated_binding
from ibcm_bridge.inspection.body import Inspected
from ibcm_bridge.messages.registration_reply import (
    RegistrationStatus,
    gives_policy,
    read_registration_reply,
)
from ibcm_bridge.policy.message_rules import Enforcement, MessageRules
from ibcm_bridge.storage.binding_registry import Registry, RegistryError

logger = logging.getLogger(__name__)

_RECOGNIZED = frozenset((Standing.FIRST, Standing.RENEWED))


def _is_bound(decided: Approved | Deny) -> bool:
    return isinstance(decided, Approved) and decided.identity.standing is Standing.BOUND


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
            if isinstance(decided, Approved) and decided.identity.standing in _RECOGNIZED:
                self._hold_to_its_key(decided.identity.guid, client)
                again = self._approve(inspected, client)
                # Another may have been quicker: then it is that one's.
                if not _is_bound(again):
                    decided = again
        except RegistryError as error:
            decided = Deny(Reason.IDENTITY_UNAVAILABLE, rules.MESSAGES_BINDINGS, str(error)[:200])
        exchange.decision = decided

    def reply_collected(self, flow: HTTPFlow) -> None:
        """Learn whose client GUID it is, now that a management point has accepted it."""
        exchange = exchange_of(flow)
        approved, reply = exchange.decision, exchange.reply
        if not isinstance(approved, Approved) or reply is None:
            return
        registered = read_registration_reply(reply)
        learnt = (
            registered.guid
            if registered is not None and registered.status is RegistrationStatus.REGISTERED
            else ""
        )
        try:
            doubt = self._learn(exchange, approved, learnt, gives_policy=gives_policy(reply))
        except RegistryError as error:
            # The site has accepted it; the next answer is learnt from just as well.
            logger.warning("nothing learnt of a client GUID: %s", error)
            return
        if doubt is None:
            return
        if self._rules.identity is Enforcement.ENFORCE:
            exchange.decision = doubt
        else:
            exchange.observed += (f"{doubt.reason.value}: {doubt.detail}",)

    def _learn(
        self, exchange: Exchange, approved: Approved, registered: str, *, gives_policy: bool
    ) -> Deny | None:
        client, guid = exchange.connection.authenticated, registered or approved.identity.guid
        assert client is not None
        binding = self._registry.find(guid) if guid else None
        new = learned_binding(
            approved,
            client,
            binding,
            registered=registered,
            gives_policy=gives_policy,
            renewal=self._rules.renewal,
            now=self._clock(),
        )
        if not isinstance(new, Binding):
            return new
        if binding is None:
            self._registry.add(new)
        else:
            self._registry.replace(binding, new)
        return None

    def _approve(self, inspected: Inspected, client: Client) -> Approved | Deny:
        return approve(inspected, client, self._registry.find, self._rules, self._clock())

    def _hold_to_its_key(self, guid: str, client: Client) -> None:
        binding = self._registry.find(guid)
        new = binding and updated_binding(binding, client, self._rules.renewal, self._clock())
        if binding is not None and new is not None:
            self._registry.replace(binding, new)
