"""The addons that are called for a hook and for a decision, and their order."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from ibcm_bridge.addons.events import ReplyShownHook
from ibcm_bridge.addons.server.hook_dispatch import Hooks
from ibcm_bridge.addons.stages import Stage
from ibcm_bridge.decisions import rules
from ibcm_bridge.decisions.denial import Deny, Reason

DENY = Deny(Reason.BRIDGE_DEFECT, rules.EXCHANGE)


class Known(Stage[str]):
    """Replaces a stage."""

    hook = "head_read"


class Decider:
    def __init__(self, decide: Callable[[Any], Any]) -> None:
        self.stages: list[Any] = []
        self._decide = decide

    def head_read(self, known: Any) -> Any:
        self.stages.append(known)
        return self._decide(known)


def later(decide: Callable[[Any], Any]) -> Callable[[Any], Awaitable[Any]]:
    async def wait_and_decide(known: Any) -> Any:
        await asyncio.sleep(0)
        return decide(known)

    return wait_and_decide


def decided(*addons: object, observers: tuple[object, ...] = ()) -> Any:
    reply = Hooks(addons, observers).call(Known())
    return asyncio.run(reply) if asyncio.iscoroutine(reply) else reply


def at_once(decide: Callable[[Any], Any]) -> Callable[[Any], Any]:
    return decide


WAYS = pytest.mark.parametrize("way", [at_once, later])


@WAYS
def test_each_decider_gets_the_result_of_the_one_before(
    way: Callable[[Callable[[Any], Any]], Callable[[Any], Any]],
) -> None:
    second = Decider(way(lambda known: (known, "second")))
    third = Decider(lambda known: (known, "third"))
    assert decided(Decider(way(lambda _: "first")), second, third) == (("first", "second"), "third")
    assert second.stages == ["first"]


@WAYS
def test_a_refusal_ends_the_decision(
    way: Callable[[Callable[[Any], Any]], Callable[[Any], Any]],
) -> None:
    after = Decider(lambda _: "allowed")
    assert decided(Decider(way(lambda _: DENY)), after) is DENY
    assert decided(Decider(lambda known: known), Decider(way(lambda _: DENY)), after) is DENY
    assert not after.stages


def test_a_watcher_never_decides() -> None:
    observers = Decider(lambda _: "allowed")
    assert decided(Decider(lambda _: DENY), observers=(observers,)) is DENY
    assert decided(Decider(lambda _: "first"), observers=(observers,)) == "first"
    assert not observers.stages


def test_without_a_decider_there_is_no_decision() -> None:
    assert isinstance(decided(), Known)


def test_watchers_are_called_after_the_other_addons() -> None:
    called: list[str] = []

    class Addon:
        def __init__(self, name: str) -> None:
            self._name = name

        def reply_shown(self, _: object) -> None:
            called.append(self._name)

    hooks = Hooks([Addon("ours")], [Addon("observers")])
    assert hooks.has("reply_shown")
    assert not hooks.has("request")
    assert hooks.call(ReplyShownHook(None)) is None  # type: ignore[arg-type]
    assert called == ["ours", "observers"]
