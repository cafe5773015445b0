"""Decides which client GUID a request may use: `identity.approval` (BRIDGE-IDENTITY).

It also learns bindings from the replies of management points: `identity.learning`.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Coroutine
from typing import Any, TypeGuard

from ibcm_bridge.addons.clock import Clock
from ibcm_bridge.addons.hooks.binding_writes import BindingWrites
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


type Later[Result] = Result | Coroutine[Any, Any, Result]
"""A decision, or the wait for it."""


class ClientIdentification:
    """Makes the last decision on a request; only this approves it."""

    def __init__(
        self,
        registry: Registry,
        message_policy: MessagePolicy,
        clock: Clock,
        writes: BindingWrites | None = None,
    ) -> None:
        """`writes` is for a registry in a file. Without it, changes are made at once."""
        self._registry = registry
        self._message_policy = message_policy
        self._clock = clock
        self._writes = writes

    def body_inspected(self, known: BodyInspected) -> Later[Approved | Deny]:
        """Approve or refuse an inspected request."""
        try:
            decided = self._approve(known.inspected, known.client)
        except RegistryError as error:
            return _unavailable(error)
        return self._now(self._recognized(known, decided)) if _is_recognized(decided) else decided

    async def _recognized(self, known: BodyInspected, decided: Approved) -> Approved | Deny:
        inspected, client = known.inspected, known.client
        try:
            await self._update_binding(decided.identity.guid, client)
            again = self._approve(inspected, client)
        except RegistryError as error:
            return _unavailable(error)
        # Another client may have been bound in between.
        return decided if _is_bound(again) else again

    def reply_allowed(self, known: ReplyAllowed) -> Later[Learned | Deny]:
        """Learn a binding from the reply of a management point that accepted the client."""
        try:
            lesson = self._lesson(known)
        except RegistryError as error:
            return _not_recorded(error)
        if lesson is not None and not isinstance(lesson, Deny):
            return self._now(self._learn(known, *lesson))
        return self._learned(known, lesson)

    async def _learn(
        self, known: ReplyAllowed, before: Binding | None, new: Binding
    ) -> Learned | Deny:
        stored: Binding | None
        try:
            if before is None:
                stored = await self._write(lambda registry: registry.add(new))
            else:
                stored = await self._write(lambda registry: registry.replace(before, new))
            # Another client may have been bound in between.
            lesson = None if stored == new else self._lesson(known)
        except RegistryError as error:
            return _not_recorded(error)
        return self._learned(known, lesson if isinstance(lesson, Deny) else None)

    def _learned(self, known: ReplyAllowed, doubt: Deny | None) -> Learned | Deny:
        if doubt is None:
            return Learned()
        if self._message_policy.identity is Enforcement.OBSERVE:
            return Learned((f"{doubt.reason.value}: {doubt.detail}",))
        observation = Observation(known.approved.authorized.observing)
        refusal = observation.enforce(doubt)
        return Learned(would_refuse=observation.found) if refusal is None else refusal

    def _lesson(self, known: ReplyAllowed) -> tuple[Binding | None, Binding] | Deny | None:
        """Return the binding before, and the one that a reply confirms."""
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
        return (binding, new) if isinstance(new, Binding) else new

    async def _write[Result](self, change: Callable[[Registry], Result]) -> Result:
        if self._writes is None:
            return change(self._registry)
        return await self._writes.do(change)

    def _now[Result](self, work: Coroutine[Any, Any, Result]) -> Later[Result]:
        """Return the result of work that waits for nothing, or else the work."""
        if self._writes is not None:
            return work
        try:
            work.send(None)
        except StopIteration as done:
            result: Result = done.value
            return result
        raise AssertionError("a change in memory does not wait")

    def _approve(self, inspected: Inspected, client: Client) -> Approved | Deny:
        return approve(inspected, client, self._registry.find, self._message_policy, self._clock())

    async def _update_binding(self, guid: str, client: Client) -> None:
        binding = self._registry.find(guid)
        renewal = self._message_policy.renewal
        new = binding and updated_binding(binding, client, renewal, self._clock())
        if binding is not None and new is not None:
            before, after = binding, new
            await self._write(lambda registry: registry.replace(before, after))


def _unavailable(error: RegistryError) -> Deny:
    return Deny(Reason.IDENTITY_UNAVAILABLE, rules.MESSAGES_BINDINGS, str(error)[:200])


def _not_recorded(error: RegistryError) -> Learned:
    """The site accepted the client. A later reply can be used as well."""
    logger.warning("cannot record a client GUID binding: %s", error)
    return Learned()
