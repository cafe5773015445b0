"""Decides which client GUID a request may use: `identity.approval` (BRIDGE-IDENTITY).

1. Read the client GUIDs that the request claims.
2. Get their bindings, and wait for them if they are in a database (`bindings`).
3. Decide, by these alone.

It also learns bindings from the replies of management points: `identity.learning`.
"""

from __future__ import annotations

import logging
from collections.abc import Coroutine
from typing import Any, TypeGuard

from ibcm_bridge.addons.clock import Clock
from ibcm_bridge.addons.hooks.bindings import Bindings
from ibcm_bridge.addons.stages import BodyInspected, Identified, Learned, ReplyAllowed
from ibcm_bridge.authentication.client import Client
from ibcm_bridge.decisions import rules
from ibcm_bridge.decisions.denial import Deny, Reason
from ibcm_bridge.decisions.observing import Observation
from ibcm_bridge.identity.approval import Approved, FoundBindings, approve_claim
from ibcm_bridge.identity.bindings import Binding, BindingStatus
from ibcm_bridge.identity.claims import Claim, read_claim
from ibcm_bridge.identity.learning import changes_bindings, learned_binding, updated_binding
from ibcm_bridge.messages.registration_reply import (
    RegistrationStatus,
    gives_policy,
    read_registration_reply,
)
from ibcm_bridge.policy.message_policy import Enforcement, MessagePolicy
from ibcm_bridge.storage.binding_registry import RegistryError

logger = logging.getLogger(__name__)

_RECOGNIZED = frozenset((BindingStatus.NEWLY_BOUND, BindingStatus.RENEWED))


def _is_recognized(decided: Approved | Deny) -> TypeGuard[Approved]:
    """Return whether the client's binding must be updated."""
    if not isinstance(decided, Approved) or not changes_bindings(decided):
        return False
    return decided.identity.binding_status in _RECOGNIZED


def _is_bound(decided: Approved | Deny) -> bool:
    return isinstance(decided, Approved) and decided.identity.binding_status is BindingStatus.BOUND


_TRIES = 3
"""Attempts to store a binding that others change at the same time."""

type Later[Result] = Result | Coroutine[Any, Any, Result]
"""A decision, or the wait for it."""


class ClientIdentification:
    """Makes the last decision on a request; only this approves it."""

    def __init__(self, bindings: Bindings, message_policy: MessagePolicy, clock: Clock) -> None:
        self._bindings = bindings
        self._message_policy = message_policy
        self._clock = clock

    def body_inspected(self, known: BodyInspected) -> Later[Identified | Deny]:
        """Approve or refuse an inspected request."""
        claim = read_claim(known.inspected)
        if isinstance(claim, Deny):
            return claim
        found = self._find(claim.guid, claim.mentioned)
        if isinstance(found, Coroutine):
            return self._identify_later(claim, known.client, found)
        return self._identify(claim, known.client, found)

    async def _identify_later(
        self, claim: Claim, client: Client, waiting: Coroutine[Any, Any, FoundBindings]
    ) -> Identified:
        identified = self._identify(claim, client, await _read(waiting))
        return await identified if isinstance(identified, Coroutine) else identified

    def _identify(
        self, claim: Claim, client: Client, found: FoundBindings | Deny
    ) -> Later[Identified]:
        decided = self._decide(claim, client, found)
        if isinstance(found, Deny) or not _is_recognized(decided):
            return Identified(decided, found)
        return self._now(self._recognized(claim, client, found, decided))

    async def _recognized(
        self, claim: Claim, client: Client, found: FoundBindings, decided: Approved
    ) -> Identified:
        guid = decided.identity.guid
        try:
            await self._update_binding(found[guid], client)
            now = await self._found(guid, claim.mentioned)
        except RegistryError as error:
            unavailable = _unavailable(error)
            return Identified(self._decide(claim, client, unavailable), unavailable)
        again = self._decide(claim, client, now)
        # Another client may have been bound in between.
        return Identified(decided, found) if _is_bound(again) else Identified(again, now)

    def reply_allowed(self, known: ReplyAllowed) -> Later[Learned | Deny]:
        """Learn a binding from the reply of a management point that accepted the client."""
        registered = _registered(known)
        if not registered and not gives_policy(known.message):
            return Learned()  # it confirms no binding
        guid = registered or known.approved.identity.guid
        found = self._find(guid, ())
        if isinstance(found, Coroutine):
            return self._learn_later(known, registered, found)
        return self._learn(known, registered, found)

    async def _learn_later(
        self, known: ReplyAllowed, registered: str, waiting: Coroutine[Any, Any, FoundBindings]
    ) -> Learned | Deny:
        learned = self._learn(known, registered, await _read(waiting))
        return await learned if isinstance(learned, Coroutine) else learned

    def _learn(
        self, known: ReplyAllowed, registered: str, found: FoundBindings | Deny
    ) -> Later[Learned | Deny]:
        if isinstance(found, Deny):
            return self._not_stored(known, found)
        before, lesson = self._lesson(known, registered, found)
        if isinstance(lesson, Binding):
            return self._now(self._store(known, registered, before, lesson))
        return self._learned(known, lesson)

    async def _store(
        self, known: ReplyAllowed, registered: str, before: Binding | None, new: Binding
    ) -> Learned | Deny:
        try:
            for _ in range(_TRIES):
                if await self._stored(before, new) == new:
                    return self._learned(known, None)
                # Another binding was stored in between, or this one was removed.
                found = await self._found(new.guid, ())
                before, lesson = self._lesson(known, registered, found)
                if not isinstance(lesson, Binding):
                    return self._learned(known, lesson)
                new = lesson
            error = RegistryError(f"the binding of {new.guid} changes all the time")
        except RegistryError as raised:
            error = raised
        return self._not_stored(known, _unavailable(error))

    async def _stored(self, before: Binding | None, new: Binding) -> Binding | None:
        if before is None:
            return await self._bindings.add(new)
        return await self._bindings.replace(before, new)

    def _not_stored(self, known: ReplyAllowed, unavailable: Deny) -> Learned | Deny:
        """Decide on a reply that confirms a binding which cannot be stored, or not be compared.

        With `enforce` the client must not believe that it is registered: the bridge would know
        neither that its client GUID is taken, nor the key of its signatures. It registers again.
        """
        logger.warning("cannot record a client GUID binding: %s", unavailable.detail)
        return self._learned(known, unavailable)

    def _learned(self, known: ReplyAllowed, doubt: Deny | None) -> Learned | Deny:
        if doubt is None:
            return Learned()
        if self._message_policy.identity is Enforcement.OBSERVE:
            return Learned((f"{doubt.reason.value}: {doubt.detail}",))
        observation = Observation(known.approved.authorized.observing)
        refusal = observation.enforce(doubt)
        return Learned(would_refuse=observation.found) if refusal is None else refusal

    def _lesson(
        self, known: ReplyAllowed, registered: str, found: FoundBindings
    ) -> tuple[Binding | None, Binding | Deny | None]:
        """Return the binding before, and the one that a reply confirms."""
        guid = registered or known.approved.identity.guid
        binding = found[guid] if guid else None
        new = learned_binding(
            known.approved,
            known.client,
            binding,
            registered=registered,
            gives_policy=gives_policy(known.message),
            renewal=self._message_policy.renewal,
            now=self._clock(),
        )
        return binding, new

    def _find(
        self, guid: str, mentioned: tuple[str, ...]
    ) -> FoundBindings | Deny | Coroutine[Any, Any, FoundBindings]:
        try:
            return self._bindings.find(guid, mentioned)
        except RegistryError as error:
            return _unavailable(error)

    async def _found(self, guid: str, mentioned: tuple[str, ...]) -> FoundBindings:
        found = self._bindings.find(guid, mentioned)
        return await found if isinstance(found, Coroutine) else found

    def _now[Result](self, work: Coroutine[Any, Any, Result]) -> Later[Result]:
        """Return the result of work that waits for nothing, or else the work."""
        if self._bindings.waits:
            return work
        try:
            work.send(None)
        except StopIteration as done:
            result: Result = done.value
            return result
        raise AssertionError("a change in memory does not wait")

    def _decide(self, claim: Claim, client: Client, found: FoundBindings | Deny) -> Approved | Deny:
        find = found if isinstance(found, Deny) else found.get
        return approve_claim(claim, client, find, self._message_policy, self._clock())

    async def _update_binding(self, binding: Binding | None, client: Client) -> None:
        renewal = self._message_policy.renewal
        new = binding and updated_binding(binding, client, renewal, self._clock())
        if binding is not None and new is not None:
            await self._bindings.replace(binding, new)


async def _read(waiting: Coroutine[Any, Any, FoundBindings]) -> FoundBindings | Deny:
    try:
        return await waiting
    except RegistryError as error:
        return _unavailable(error)


def _registered(known: ReplyAllowed) -> str:
    """The client GUID in the reply to a registration; empty without one."""
    reply = read_registration_reply(known.message)
    is_registered = reply is not None and reply.status is RegistrationStatus.REGISTERED
    return reply.guid if reply is not None and is_registered else ""


def _unavailable(error: RegistryError) -> Deny:
    return Deny(Reason.IDENTITY_UNAVAILABLE, rules.MESSAGES_BINDINGS, str(error)[:200])
