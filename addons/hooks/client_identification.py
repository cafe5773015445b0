"""Decides which client GUID a request may use: `identity.approval` (BRIDGE-IDENTITY).

It also learns bindings from the replies of management points: `identity.learning`.
"""

from __future__ import annotations

import logging
from typing import TypeGuard

from ibcm_bridge.addons.clock import Clock
from ibcm_bridge.addons.stages import BodyInspected, Learned, ReplyAllowed
from ibcm_bridge.authentication.client import Client
from ibcm_bridge.decisions import rules
from ibcm_bridge.decisions.denial import Deny, Reason
from ibcm_bridge.decisions.observing import Observation
from ibcm_bridge.identity.approval import Approved, approve
from ibcm_bridge.identity.bindings import Binding, BindingStatus
from ibcm_bridge.identity.learning import learned_binding, updated_binding
from ibcm_bridge.inspection.verdict import Inspected
from ibcm_bridge.messages.registration_reply import (
    RegistrationStatus,
    gives_policy,
    read_registration_reply,
)
from ibcm_bridge.policy.message_policy import Enforcement, MessagePolicy
from ibcm_bridge.storage.binding_registry import Registry, RegistryError

logger = logging.getLogger(__name__)

_RECOGNIZED = frozenset((BindingStatus.NEWLY_BOUND, BindingStatus.RENEWED))


def _is_recognized(decided: Approved | Deny) -> TypeGuard[Approved]:
    """Return whether the client's binding must be updated. An observed request changes nothing."""
    if not isinstance(decided, Approved) or decided.would_refuse:
        return False
    return decided.identity.binding_status in _RECOGNIZED


def _is_bound(decided: Approved | Deny) -> bool:
    return isinstance(decided, Approved) and decided.identity.binding_status is BindingStatus.BOUND


class ClientIdentification:
    """Makes the last decision on a request; only this approves it."""

    def __init__(
        self,
        registry: Registry,
        message_policy: MessagePolicy,
        clock: Clock,
    ) -> None:
        self._registry = registry
        self._message_policy = message_policy
        self._clock = clock

    def body_inspected(self, known: BodyInspected) -> Approved | Deny:
        """Approve or refuse an inspected request."""
        inspected, client = known.inspected, known.client
        try:
            decided = self._approve(inspected, client)
            if _is_recognized(decided):
                self._update_binding(decided.identity.guid, client)
                again = self._approve(inspected, client)
                # Another client may have been bound in between.
                if not _is_bound(again):
                    decided = again
        except RegistryError as error:
            return Deny(Reason.IDENTITY_UNAVAILABLE, rules.MESSAGES_BINDINGS, str(error)[:200])
        return decided

    def reply_allowed(self, known: ReplyAllowed) -> Learned | Deny:
        """Learn a binding from the reply of a management point that accepted the client."""
        try:
            doubt = self._learn(known)
        except RegistryError as error:
            # The site accepted the client. A later reply can be used as well.
            logger.warning("cannot record a client GUID binding: %s", error)
            return Learned()
        if doubt is None:
            return Learned()
        if self._message_policy.identity is Enforcement.OBSERVE:
            return Learned((f"{doubt.reason.value}: {doubt.detail}",))
        observation = Observation(known.approved.authorized.observing)
        refusal = observation.enforce(doubt)
        return Learned(would_refuse=observation.found) if refusal is None else refusal

    def _learn(self, known: ReplyAllowed) -> Deny | None:
        reply = read_registration_reply(known.message)
        registered = (
            reply.guid
            if reply is not None and reply.status is RegistrationStatus.REGISTERED
            else ""
        )
        guid = registered or known.approved.identity.guid
        binding = self._registry.find(guid) if guid else None
        new = learned_binding(
            known.approved,
            known.client,
            binding,
            registered=registered,
            gives_policy=gives_policy(known.message),
            renewal=self._message_policy.renewal,
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
        return approve(inspected, client, self._registry.find, self._message_policy, self._clock())

    def _update_binding(self, guid: str, client: Client) -> None:
        binding = self._registry.find(guid)
        renewal = self._message_policy.renewal
        new = binding and updated_binding(binding, client, renewal, self._clock())
        if binding is not None and new is not None:
            self._registry.replace(binding, new)
